"""What a row looks like on the wire. Times are ISO 8601 in UTC with Z, ids are UUIDs named for their noun."""

from datetime import UTC, datetime
from typing import Any, TypedDict


def time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_or_none(at: datetime | None) -> str | None:
    return None if at is None else time(at)


def text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


class UserData(TypedDict):
    user_id: str
    username: str
    name: str


class AuthorData(TypedDict):
    kind: str  # user, agent or system
    name: str
    title: str
    avatar: str
    color: str


class MemberData(UserData):
    role: str  # owner, member or viewer
    created_at: str


class AgentData(TypedDict):
    name: str
    title: str
    avatar: str
    color: str
    instructions: str
    llm: str  # empty: the server's own
    mode: str
    enabled: bool
    created_at: str
    updated_at: str


class ApiKeyData(TypedDict):
    key_id: str
    name: str
    start: str  # of the key, to recognise it by
    created_at: str
    used_at: str | None


class SessionData(TypedDict):
    session_id: str
    title: str
    status: str  # new, active, interrupted, waiting, completed or closed
    agent: str
    incident_id: str | None
    parent_id: str | None
    metadata: dict[str, Any]
    my_role: str | None
    last_seq: int
    created_at: str
    updated_at: str


class MessageData(TypedDict):
    message_id: str
    session_id: str
    run_id: str | None  # of a user's message: the run that it started
    parent_id: str | None
    key: str | None  # shown to its author alone
    role: str  # user, assistant, system or tool
    author: AuthorData
    kind: str  # text, error, notice, …
    category: str  # chat or agent
    content: str
    data: dict[str, Any]
    attachments: list[Any]
    created_at: str
    updated_at: str
    deleted_at: str | None


class UsageData(TypedDict):
    input_tokens: int
    output_tokens: int
    cost_usd: float


class RunData(TypedDict):
    run_id: str
    session_id: str
    message_id: str | None  # of its answer, reserved when the run starts; null before
    status: str  # queued, running, interrupted, succeeded, failed or cancelled
    position: int  # the order among the runs of its session
    attempt: int
    crashes: int
    agent: str
    llm: str
    fallback_status: str | None
    usage: UsageData
    error: dict[str, Any] | None  # code, message, temporary
    queued_at: str
    started_at: str | None
    interrupted_at: str | None
    succeeded_at: str | None
    failed_at: str | None
    cancelled_at: str | None
