"""Commands in: what a client may say, on the socket and in the bodies of HTTP. Anything else is `invalid_input`."""

import json
import math
import re
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    ValidationError,
)

from chat.clean import Cleaned, clean_json
from chat.errors import InvalidInput

CONTENT_MAX = 10_000  # characters
INSTRUCTIONS_MAX = 100_000
FRAME_MAX_BYTES = 128 * 1024
JSON_MAX = 16 * 1024  # characters of metadata or context, as JSON
ARGS_MAX = 50_000  # characters of a tool's arguments as JSON, whether an LLM wrote them or a person edited them
CHOICE_MAX = 200  # characters


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > JSON_MAX:
        raise ValueError(f"must not be longer than {JSON_MAX} characters as JSON")
    return value


def _as_args(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) > ARGS_MAX:  # as briefly as an LLM writes
        raise ValueError(f"must not be longer than {ARGS_MAX} characters as JSON")
    return value


def _is_there(value: object) -> object:
    if value is None:
        raise ValueError("leave it out to change nothing")  # a null may be a form that lost what was typed
    return value


def _as_written(value: object) -> object:
    if isinstance(value, Cleaned):
        raise ValueError("must have no NUL and no half of a surrogate pair")
    return value


def _with_dashes(value: object) -> object:
    if isinstance(value, str) and not _UUID.fullmatch(value):
        raise ValueError("must be a UUID, in digits and dashes")
    return value


_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

NotNull = BeforeValidator(_is_there)  # of what may be left out and has no nothing
AsWritten = BeforeValidator(_as_written)  # of what is compared: cleaned, one would pass for another
Id = Annotated[UUID, Strict(False), BeforeValidator(_with_dashes)]
Content = Annotated[str, StringConstraints(min_length=1, max_length=CONTENT_MAX), AfterValidator(_not_blank)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=128), AsWritten]
Username = Annotated[str, StringConstraints(min_length=1, max_length=150), AsWritten]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Title = Annotated[str, StringConstraints(max_length=200)]
OnBusy = Literal["queue", "join", "interrupt", "rollback", "reject"]
LLMName = Annotated[str, StringConstraints(max_length=200)]
Json = Annotated[dict[str, Any], AfterValidator(_small)]
Args = Annotated[dict[str, Any], AfterValidator(_as_args)]


# --- bodies, shared by the socket and HTTP ----------------------------------------------------------------------------
class NewMessage(Body):
    content: Content
    key: Key | None = None
    agent: Name | None = None
    attachments: Annotated[list[Any], Field(max_length=0)] = []
    context: Json | None = None
    llm: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    on_busy: OnBusy | None = None  # else the session's
    parent_id: Id | None = None


class NewSession(Body):
    title: Title = ""
    agent: Name | None = None
    metadata: Json = Field(default_factory=dict)
    on_busy: OnBusy = "queue"
    parent_id: Id | None = None
    incident_id: Id | None = None


class SessionChange(Body):
    """What is left out stays as it is."""

    title: Annotated[Title | None, NotNull] = None
    agent: Annotated[Name | None, NotNull] = None
    metadata: Annotated[Json | None, NotNull] = None
    on_busy: Annotated[OnBusy | None, NotNull] = None
    status: Annotated[Literal["completed"] | None, NotNull] = None


class AgentChange(Body):
    """What is left out stays as it is. The name is not among it: talk refers to it."""

    title: Annotated[str, StringConstraints(max_length=120)] = ""
    avatar: Annotated[str, StringConstraints(max_length=200)] = ""
    color: Annotated[str, StringConstraints(max_length=20)] = ""
    instructions: Annotated[str, StringConstraints(max_length=INSTRUCTIONS_MAX)] = ""
    llm: LLMName = ""
    fallbacks: Annotated[list[LLMName], Field(max_length=20)] | None = None
    mode: Annotated[str, StringConstraints(max_length=32)] = "direct"
    tools: Annotated[list[Name], Field(max_length=200)] = []
    context: Json = Field(default_factory=dict)
    run_limit: Json = Field(default_factory=dict)
    interrupt_expires_s: Annotated[int, Field(ge=0, lt=2**31)] = 1800
    visibility: Literal["everyone", "staff"] = "everyone"
    enabled: bool = True


class NewAgent(AgentChange):
    name: Name


class NewApiKey(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=120), AfterValidator(_not_blank)]


class NewMember(Body):
    username: Username
    role: Literal["owner", "member", "viewer"] = "member"


class MessageChange(Body):
    content: Content


class RunMove(Body):
    before: Id | None


def _is_bool(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # to Python 1 == True, and a 1 is no yes
    return value


class Approved(Body):
    approved: Annotated[Literal[True], BeforeValidator(_is_bool)]
    args: Annotated[Args | None, NotNull] = None


class Refused(Body):
    approved: Annotated[Literal[False], BeforeValidator(_is_bool)]
    reason: Annotated[str, StringConstraints(max_length=2000)] | None = None


class Told(Body):
    text: Content


class Chosen(Body):
    choice: Annotated[str, StringConstraints(min_length=1, max_length=CHOICE_MAX)]


def _kind_of_answer(value: object) -> str | None:
    """Which of the answers somebody means, by its key: so that only what is wrong with that one is told."""
    if isinstance(value, Body):
        return _kind_of_answer(value.model_dump())
    if not isinstance(value, dict):
        return None
    if "approved" in value:
        return "<refused>" if value["approved"] is False else "<approved>"
    return next((f"<{kind}>" for kind in ("text", "choice") if kind in value), None)


Answer = Annotated[
    Annotated[Approved, Tag("<approved>")]
    | Annotated[Refused, Tag("<refused>")]
    | Annotated[Told, Tag("<text>")]
    | Annotated[Chosen, Tag("<choice>")],
    Discriminator(_kind_of_answer, "answer", "is one of approved: true, approved: false, text and choice"),
]


class Resolution(Body):
    answer: Answer


# --- what the data of each command holds ------------------------------------------------------------------------------
class Nothing(Body):
    pass


class Subscribe(Body):
    session_id: Id
    after: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Unsubscribe(Body):
    session_id: Id


class Send(NewMessage):
    session_id: Id


class Update(MessageChange):
    message_id: Id


class OneRun(Body):
    run_id: Id


class Move(RunMove):
    run_id: Id


class Resolve(Resolution):
    interrupt_id: Id


class Typing(Body):
    session_id: Id
    active: bool


COMMANDS: dict[str, type[Body]] = {
    "session.subscribe": Subscribe,
    "session.unsubscribe": Unsubscribe,
    "message.send": Send,
    "message.update": Update,
    "run.cancel": OneRun,
    "run.retry": OneRun,
    "run.move": Move,
    "interrupt.resolve": Resolve,
    "typing": Typing,
    "ping": Nothing,
}


class Command(BaseModel):
    """One parsed frame of a client."""

    type: str
    ref: str | None
    data: Any


class Unreadable(InvalidInput):
    """A frame that is no command; `ref` is the frame's own, where it had a usable one."""

    def __init__(self, message: str, ref: str | None = None, fields: dict[str, str] | None = None) -> None:
        super().__init__(message, fields=fields)
        self.ref = ref


B = TypeVar("B", bound=Body)


def read_command(text: str) -> Command:
    """Raises `Unreadable`."""
    frame = read_json(text)
    if not isinstance(frame, dict):
        raise Unreadable("A frame is a JSON object.")
    ref = frame.get("ref")
    # A cleaned one, echoed, would not be known by whoever sent it.
    if ref is not None and (not isinstance(ref, str) or isinstance(ref, Cleaned) or len(ref) > 64):
        told = "a string of at most 64 characters, without NUL and halves of surrogate pairs"
        raise Unreadable(f"ref is {told}.", fields={"ref": told})
    if unknown := sorted(set(frame) - {"type", "ref", "data"}):
        raise Unreadable("Unknown keys.", ref, {name[:64]: "unknown" for name in unknown[:10]})
    kind = str(frame.get("type"))
    shape = COMMANDS.get(kind)
    if shape is None:
        raise Unreadable("Unknown type of command.", ref, {"type": "unknown"})
    data = frame.get("data", {})
    try:
        return Command(type=kind, ref=ref, data=read_body(shape, data))
    except InvalidInput as problem:
        raise Unreadable(str(problem), ref, problem.fields) from None


def read_body(shape: type[B], value: object) -> B:
    """Check a JSON value, as `read_json` gave it, against a shape. Raises `InvalidInput` with its fields."""
    if not isinstance(value, dict):
        raise InvalidInput("A JSON object is expected.")
    try:
        return shape.model_validate(value)
    except ValidationError as problem:
        fields = {}
        for one in problem.errors(include_url=False, include_context=False, include_input=False)[:10]:
            # A part in <> is the name that a choice of shapes has here, and nothing that a client wrote.
            name = ".".join(str(part) for part in one["loc"] if not str(part).startswith("<"))[:100]
            fields[name] = "unknown" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
        raise InvalidInput("The input is not valid: " + ", ".join(fields) + ".", fields=fields) from None


def read_json(text: str | bytes) -> Any:
    """JSON as it can be stored: no NaN or infinity, no NUL (Postgres refuses it), no half of a surrogate pair."""
    try:
        value = json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
        return clean_json(value)
    except (ValueError, RecursionError):
        raise Unreadable("This is not valid JSON.") from None


def _refuse_number(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value
