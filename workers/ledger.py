"""What is to be done next with the calls of a step: the one place that decides what is called, and what never again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chat.actions.questions import Question, args_hash
from chat.actions.tool_calls import Change
from chat.models import Interrupt, ToolCall
from workers.tools import Tool
from workers.tools.base import BadArgs

Status, Effect = ToolCall.Status, ToolCall.Effect
Asked = Mapping[UUID, Interrupt]

HAPPENED, AGAIN, LEAVE = "It happened", "It did not happen: call it", "Leave it"

REFUSED = "A person refused this call. Do not ask for it again unless you are told to."
UNANSWERED = "Nobody answered in time, so this was not called."
SKIPPED = "This was not called, because a call before it was refused."
CHANGED = "This was not called: it is not what was approved."
GONE = "There is no such tool any more."
TOOK_EFFECT = "A person says that this took effect. What it gave is not known."
NOBODY_KNOWS = "Nobody knows whether this took effect, and a person chose to leave it. Do not call it again."

APPROVAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "args": {"type": "object"}, "reason": {"type": "string"}},
    "required": ["approved"],
    "additionalProperties": False,
}


@dataclass(slots=True)
class Plan:
    """What to write, what to call once that is written, and what to ask people when nothing is left to be called."""

    settled: list[Change] = field(default_factory=list)
    started: list[Change] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


def plan(calls: Sequence[ToolCall], asked: Asked, attempt: int, tools: Mapping[str, Tool]) -> Plan:
    """Decide on the calls of a step, in order.

    Reads that follow each other start together, each write alone. A call that needs a person holds up the later ones
    that need none; if it is refused, those are skipped.
    """
    made = Plan()
    may_start: list[Change] = []
    held_up = refused = False
    for call in calls:
        change, question = _next(call, asked.get(call.pk), attempt, tools)
        if call.status == Status.HELD and refused:
            change = _settled(call, Status.SKIPPED, SKIPPED)
        if question is not None:
            made.questions.append(question)
            held_up = True
        if change is None:
            refused = refused or call.status == Status.REFUSED
        elif change.columns["status"] == Status.CALLED:
            if not held_up:
                may_start.append(change)
        else:
            made.settled.append(change)
            refused = refused or change.columns["status"] == Status.REFUSED
    for change in may_start:
        if made.started and "write" in (change.call.access, made.started[0].call.access):
            break
        made.started.append(change)
    return made


def _next(
    call: ToolCall, interrupt: Interrupt | None, attempt: int, tools: Mapping[str, Tool]
) -> tuple[Change | None, Question | None]:
    """What becomes of one call if nothing before it stands in the way; and what is to be asked about it."""
    is_settled = interrupt is not None and interrupt.status != Interrupt.Status.OPEN
    stricter = _stricter(call, tools.get(call.tool))
    if call.status == Status.HELD:
        if stricter.get("needs_approval"):
            return Change(call, {"status": Status.WAITING, **stricter}), _question(call, tools)
        return _start(call, attempt, tools), None
    if call.status == Status.CALLED and call.attempt < attempt:  # its worker died, or had to go
        if Effect.ONCE in (call.effect, stricter.get("effect")):
            return Change(call, {"status": Status.UNKNOWN, "error": LOST, **stricter}), _doubt(call)
        return _start(call, attempt, tools), None
    if call.status == Status.UNKNOWN:
        if interrupt is None or not is_settled or not _is_doubt(interrupt, call):
            return None, _doubt(call)
        return _cleared_up(call, interrupt, attempt, tools), None
    if call.status == Status.WAITING:
        if interrupt is None or not is_settled:
            return None, _question(call, tools)
        return _answered(call, interrupt, attempt, tools), None
    return None, None


_BY_HARM = [Effect.PURE, Effect.IDEMPOTENT, Effect.ONCE]


def _stricter(call: ToolCall, tool: Tool | None) -> dict[str, Any]:
    """What a tool says of itself that is stricter than what it said when the call was written down; as columns.

    A server is upgraded while a call waits.
    """
    columns: dict[str, Any] = {}
    if tool is not None and _BY_HARM.index(Effect(tool.effect)) > _BY_HARM.index(Effect(call.effect)):
        columns["effect"] = tool.effect
    if tool is not None and tool.needs_approval and not call.needs_approval:
        columns["needs_approval"] = True
    return columns


LOST = {"code": "unknown", "message": "The tool was called, and its worker was lost before it returned."}
DOUBTED = {"code": "unknown", "message": "An answer that was broken off called this, and did not see it return."}


def _start(call: ToolCall, attempt: int, tools: Mapping[str, Tool], args: dict[str, Any] | None = None) -> Change:
    """Call it, if it still can be."""
    tool = tools.get(call.tool)
    if tool is None:
        return _settled(call, Status.FAILED, GONE, code="unknown_tool")
    try:
        checked = tool.check_args(call.args if args is None else args)
    except BadArgs as problem:
        return _settled(call, Status.FAILED, str(problem), code="bad_args")
    columns = {"status": Status.CALLED, "calls": call.calls + 1, "attempt": attempt, "args": checked, "error": None}
    return Change(call, columns | _stricter(call, tool))


def _settled(call: ToolCall, status: str, text: str, *, code: str = "", result: Any = None) -> Change:
    error = {"code": code or status, "message": text} if status != Status.RETURNED else None
    return Change(call, {"status": status, "text": text, "error": error, "result": result})


def _answered(call: ToolCall, interrupt: Interrupt, attempt: int, tools: Mapping[str, Tool]) -> Change:
    """What the answer to an approval, or to the call that is a question, makes of it."""
    answer = interrupt.answer or {}
    if interrupt.status != Interrupt.Status.RESOLVED:
        return _settled(call, Status.REFUSED, UNANSWERED)
    if interrupt.reason != Interrupt.Reason.APPROVAL:
        said = str(answer.get("text") or answer.get("choice") or "")
        return _settled(call, Status.RETURNED, said, result=said)
    if answer.get("approved") is not True:
        reason = str(answer.get("reason") or "")
        return _settled(call, Status.REFUSED, f"{REFUSED} The reason: {reason}" if reason else REFUSED)
    edited = answer.get("args")
    args = call.args if edited is None else edited
    if args_hash(call.tool, args) != interrupt.args_hash:
        return _settled(call, Status.REFUSED, CHANGED)
    start = _start(call, attempt, tools, args)
    # A tool that was changed meanwhile may make something else of the same arguments: a new one of its own, say.
    if edited is None and start.columns["status"] == Status.CALLED and not tools[call.tool].keeps(args):
        return _settled(call, Status.REFUSED, CHANGED)
    return start


def _cleared_up(call: ToolCall, interrupt: Interrupt, attempt: int, tools: Mapping[str, Tool]) -> Change:
    """What a person's word makes of a call that may have happened."""
    choice = (interrupt.answer or {}).get("choice") if interrupt.status == Interrupt.Status.RESOLVED else LEAVE
    if choice == AGAIN:
        return _start(call, attempt, tools)
    if choice == HAPPENED:
        return _settled(call, Status.RETURNED, TOOK_EFFECT, result=TOOK_EFFECT)
    return _settled(call, Status.FAILED, NOBODY_KNOWS, code="unknown")


# --- what people are asked --------------------------------------------------------------------------------------------
def _question(call: ToolCall, tools: Mapping[str, Tool]) -> Question | None:
    tool = tools.get(call.tool)
    payload: dict[str, Any] = {"tool_call_id": str(call.pk), "tool": call.tool, "args": call.args}
    if tool is not None and tool.asks:
        choices = call.args.get("choices")
        reason = Interrupt.Reason.CHOICE if choices else Interrupt.Reason.QUESTION
        if choices:
            payload["choices"] = choices
        return Question(
            reason, str(call.args["question"]), payload, _choice(choices) if choices else TEXT_SCHEMA, call.pk
        )
    payload |= {"access": call.access, "effect": call.effect}
    if tool is not None:
        payload |= {"description": tool.description, "args_schema": tool.args_schema}
    return Question(
        Interrupt.Reason.APPROVAL,
        f"May {call.tool} be called?",
        payload,
        APPROVAL_SCHEMA,
        call.pk,
    )


def _doubt(call: ToolCall) -> Question:
    choices = [HAPPENED, AGAIN, LEAVE]
    return Question(
        Interrupt.Reason.CHOICE,
        f"{call.tool} was called, and nobody knows whether it took effect. Please look, and say how to go on.",
        # What is answered about one call that was lost says nothing about the next one.
        {"tool_call_id": str(call.pk), "tool": call.tool, "args": call.args, "choices": choices, "calls": call.calls},
        _choice(choices),
        call.pk,
    )


def _is_doubt(interrupt: Interrupt, call: ToolCall) -> bool:
    return bool(interrupt.payload.get("calls") == call.calls)


TEXT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1}},
    "required": ["text"],
    "additionalProperties": False,
}


def _choice(choices: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"choice": {"enum": list(choices)}},
        "required": ["choice"],
        "additionalProperties": False,
    }
