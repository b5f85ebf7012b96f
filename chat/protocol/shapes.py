"""What a row looks like on the wire. Times are ISO 8601 in UTC with Z, ids are UUIDs named for their noun.

The types are those of Python; what is annotated beside them is for the schema.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NotRequired, TypeVar

from pydantic import Field
from typing_extensions import TypedDict

T = TypeVar("T")


def one_of(*words: str) -> Any:
    return Field(json_schema_extra={"enum": list(words)})


Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_or_none(at: datetime | None) -> str | None:
    return None if at is None else time(at)


def text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


class UserData(TypedDict):
    user_id: Id
    username: str
    name: str


class AuthorData(TypedDict):
    kind: Annotated[str, one_of("user", "agent", "system")]
    name: str
    title: str
    avatar: str
    color: str


class MemberData(UserData):
    role: Annotated[str, one_of("owner", "member", "viewer")]
    created_at: Time


class AgentData(TypedDict):
    name: str
    title: str
    avatar: str
    color: str
    instructions: str
    llm: str  # empty: the server's own
    fallbacks: list[str] | None  # asked in this order when it fails; null: the server's own
    mode: str
    tools: list[str]
    context: dict[str, Any]  # tokens, summary
    run_limit: dict[str, Any]  # steps, seconds, cost_usd
    interrupt_expires_s: int  # 0: never
    visibility: Annotated[str, one_of("everyone", "staff")]
    enabled: bool
    created_at: Time
    updated_at: Time


class ToolData(TypedDict):
    name: str
    description: str  # as the LLM is told it
    args_schema: dict[str, Any]  # a JSON schema
    access: Annotated[str, one_of("read", "write")]
    effect: Annotated[str, one_of("pure", "idempotent", "once")]
    needs_approval: bool


class LLMData(TypedDict):
    name: str
    default: bool  # of agents that name none


class ApiKeyData(TypedDict):
    key_id: Id
    name: str
    start: str  # of the key, to recognise it by
    created_at: Time
    used_at: Time | None


class SessionData(TypedDict):
    session_id: Id
    title: str
    status: Annotated[str, one_of("new", "active", "interrupted", "waiting", "completed", "closed")]
    agent: str
    incident_id: Id | None
    parent_id: Id | None
    metadata: dict[str, Any]
    on_busy: Annotated[str, one_of("queue", "join", "interrupt", "rollback", "reject")]
    my_role: Annotated[str, one_of("owner", "member", "viewer")] | None
    last_seq: int
    created_at: Time
    updated_at: Time


class MessageData(TypedDict):
    message_id: Id
    session_id: Id
    run_id: Id | None  # of a user's message: the run that it started; null where it joined one (data.joined)
    parent_id: Id | None
    key: str | None  # shown to its author alone
    role: Annotated[str, one_of("user", "assistant", "system", "tool")]
    author: AuthorData
    kind: str  # text, error, notice, …
    category: str  # chat or agent
    content: str
    data: dict[str, Any]
    attachments: list[Any]
    created_at: Time
    updated_at: Time
    deleted_at: Time | None


class UsageData(TypedDict):
    input_tokens: int
    output_tokens: int
    cost_usd: float


class RunErrorData(TypedDict):
    code: str
    message: str
    temporary: bool


RunStatus = Annotated[str, one_of("queued", "running", "interrupted", "succeeded", "failed", "cancelled")]


class RunData(TypedDict):
    run_id: Id
    session_id: Id
    message_id: Id | None  # of its answer, reserved when the run starts; null before
    question_id: Id  # the message that it answers
    status: RunStatus
    position: int  # the order among the runs of its session
    attempt: int
    crashes: int
    agent: str
    llm: str
    fallback_status: str | None
    usage: UsageData
    error: RunErrorData | None
    queued_at: Time
    started_at: Time | None
    interrupted_at: Time | None
    succeeded_at: Time | None
    failed_at: Time | None
    cancelled_at: Time | None


class ToolErrorData(TypedDict):
    code: str
    message: str


class ToolCallData(TypedDict):
    """Of tool.called and tool.returned, and of the message that shows the call (as `data.tool_call`)."""

    tool_call_id: Id
    tool: str
    args: dict[str, Any]
    status: Annotated[
        str,
        one_of("waiting", "held", "called", "returned", "failed", "refused", "skipped", "unknown", "cancelled"),
    ]
    access: Annotated[str, one_of("read", "write")]
    result: NotRequired[Any]
    error: NotRequired[ToolErrorData]
    duration_s: NotRequired[float]


class InterruptData(TypedDict):
    interrupt_id: Id
    session_id: Id
    run_id: Id
    reason: Annotated[str, one_of("approval", "question", "choice")]
    prompt: str
    payload: dict[str, Any]  # of an approval: tool, args, args_schema (to edit them by); of a choice: choices
    answer_schema: dict[str, Any]  # of the whole answer; empty: whatever its reason allows
    status: Annotated[str, one_of("open", "resolved", "expired", "withdrawn")]
    answer: dict[str, Any] | None
    resolved_by: Id | None
    expires_at: Time | None
    created_at: Time


class FrameData(TypedDict):
    type: str
    session_id: Id | None
    run_id: Id | None
    seq: int | None  # of what is in the log
    at: Time | None
    data: dict[str, Any]


class ErrorData(TypedDict):
    code: str
    message: str  # for people
    temporary: bool
    retry_after_s: NotRequired[float]
    fields: NotRequired[dict[str, str]]  # what is wrong with which


# --- what only HTTP answers -------------------------------------------------------------------------------------------
class ErrorBody(TypedDict):
    error: ErrorData


class PageData(TypedDict, Generic[T]):
    results: list[T]
    next: str | None
    previous: str | None


class MeData(UserData):
    is_staff: bool


class TokensData(TypedDict):
    access: str
    refresh: str
    expires_in_s: int  # of the access token


class TicketData(TypedDict):
    ticket: str
    expires_at: Time


class NewApiKeyData(ApiKeyData):
    key: str  # this once


class SessionPageData(SessionData):
    messages: list[MessageData]  # the newest, oldest first
    runs: list[RunData]  # the open ones
    interrupts: list[InterruptData]  # the open ones


class PostedData(TypedDict):
    message_id: Id
    run_id: Id
    duplicate: bool


class AnsweredData(PostedData):
    run: RunData
    reply: MessageData | None


class RunChangeData(TypedDict):
    run_id: Id
    status: RunStatus


class ResolvedData(TypedDict):
    interrupt_id: Id
    run_id: Id


class EventsData(TypedDict):
    results: list[FrameData]
    last_seq: int


class AliveData(TypedDict):
    status: Annotated[str, one_of("ok")]


class CheckData(TypedDict):
    status: Annotated[str, one_of("ok", "down")]
    latency_ms: float
    detail: str


class ReadyData(TypedDict):
    status: Annotated[str, one_of("ok", "degraded", "down")]
    checks: dict[str, CheckData]
