"""The ledger of tool calls: how an entry changes, and how each change is told."""

from dataclasses import dataclass, field
from typing import Any

from chat.actions.events import Log
from chat.models import Message, Run, ToolCall
from chat.prepared import Asked, Given, Prepared, together

Status = ToolCall.Status


@dataclass(slots=True)
class Change:
    """What becomes of a call, as it was last seen."""

    call: ToolCall
    columns: dict[str, Any] = field(default_factory=dict)

    def apply(self) -> None:
        for name, value in self.columns.items():
            setattr(self.call, name, value)


_AS_SEEN = Prepared(
    lambda: ToolCall.objects.filter(pk=Given("pk"), status=Given("seen_status"), calls=Given("seen_calls"))
)
_NOW = Prepared(lambda: ToolCall.objects.filter(pk=Given("pk")))
_MESSAGE = Prepared(lambda: Message.objects.filter(pk=Given("pk")))


def changed(change: Change) -> Asked[ToolCall]:
    """The update of an entry. It changes nothing where that was done before."""
    call = change.call
    return _AS_SEEN.change(change.columns, pk=call.pk, seen_status=call.status, seen_calls=call.calls)


def tell(log: Log, calls: list[ToolCall], *, over: bool = False) -> None:
    """Tell of calls that have changed: by the messages that show them, and by an event of their own.

    `over`: they are settled, even if nobody knows how they ended.
    """
    now = [_NOW.ask(pk=call.pk) for call in calls]
    messages = [_MESSAGE.ask(pk=call.pk) for call in calls]
    together(*now, *messages)
    updates = []
    for asked, shown in zip(now, messages, strict=True):
        call, message = asked.first, shown.first
        assert call is not None and message is not None
        message.data, message.updated_at = {**message.data, "tool_call": call.as_data()}, log.now
        updates.append(_MESSAGE.change({"data": message.data, "updated_at": log.now}, pk=message.pk))
        log.append_event("message.updated", message.as_data(), run_id=call.run_id)
        tell_moved(log, call, over=over)
    together(*updates)


def tell_moved(log: Log, call: ToolCall, *, over: bool = False) -> None:
    """Tell that a call was begun, or is over."""
    if call.status == Status.CALLED:
        log.append_event("tool.called", call.as_data(), run_id=call.run_id)
    elif over or call.status not in ToolCall.UNFINISHED:
        log.append_event("tool.returned", call.as_data(), run_id=call.run_id)


def step_data(run: Run, index: int, status: str) -> dict[str, Any]:
    """A step of a run, as events tell it."""
    step = run.state["steps"][index]
    return {
        "step_id": step["step_id"],
        "name": step["name"],
        "index": index,
        "status": status,
        "data": {"tool_call_ids": step["tool_call_ids"]},
    }


def end_calls(log: Log, run: Run, outcome: str) -> None:
    """Settle what a run leaves open that ends now, `cancelled` or `failed`.

    What was called and is not pure may have happened, and nobody can tell.
    """
    if not run.state.get("steps"):
        return
    calls = list(ToolCall.objects.unfinished().filter(run_id=run.pk).in_order())
    if not calls:
        return
    ended = []
    for call in calls:
        is_lost = call.status == Status.CALLED and call.effect != ToolCall.Effect.PURE
        status = Status.UNKNOWN if is_lost or call.status == Status.UNKNOWN else Status.CANCELLED
        ended.append(changed(Change(call, {"status": status, "ended_at": log.now})))
    together(*ended)
    tell(log, calls, over=True)
    log.append_event("step.finished", step_data(run, calls[-1].step, outcome), run_id=run.pk)
