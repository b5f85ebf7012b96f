"""A step of a run: what its LLM wrote and called, saved before anything takes effect, and what each call came to.

Every write is conditional on the attempt. One that is done a second time, since its COMMIT was heard of too late,
changes nothing and tells nothing.
"""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from chat import stream, tracing
from chat.actions.endings import say
from chat.actions.events import Log, action, on_commit
from chat.actions.fence import held, hold, locked_for
from chat.actions.tool_calls import Change, Status, changed, step_data, tell, tell_moved
from chat.failpoints import failpoint
from chat.models import Interrupt, Message, Run, ToolCall
from chat.prepared import Given, Prepared, together

_KNOWN = Prepared(lambda: ToolCall.objects.filter(pk=Given("pk")).values_list("pk"))
_UNFINISHED = Prepared(
    lambda: (
        ToolCall.objects.filter(run_id=Given("run_id"), step=Given("step"), status__in=list(ToolCall.UNFINISHED))
        .order_by("index")
        .values_list("pk")[:1]
    )
)


def calls_of(run: Run) -> list[ToolCall]:
    """All calls of a run, in order."""
    return list(ToolCall.objects.filter(run_id=run.pk).in_order())


def asked_of(run: Run) -> dict[UUID, Interrupt]:
    """The newest question about each call of a run."""
    rows = Interrupt.objects.filter(run_id=run.pk, tool_call__isnull=False).order_by("created_at")
    return {row.tool_call_id: row for row in rows if row.tool_call_id}


def is_held(run: Run) -> bool:
    """Whether the run is still this attempt's."""
    row = held(run)
    together(row)
    return row.first is not None


@tracing.spanned("begin_step")
@action
def begin_step(run: Run, state: dict[str, Any], text: str, answer_id: UUID, calls: Sequence[ToolCall]) -> None:
    """Save what the LLM wrote, and the calls that it asks for, before any of them takes effect. Raises `Fenced`.

    `state` is the run's with this step, its last; `answer_id` is reserved for what follows: the text before the calls
    becomes a message under the present one. Those of the calls that are `called` may be made as soon as this is saved.
    """
    with locked_for(run) as log:
        known = _KNOWN.ask(pk=calls[0].pk)
        moved = answer_id != run.answer_id
        columns: dict[str, Any] = {"state": state, "answer_id": answer_id, "drafts": [str(answer_id)], "checkpoint": ""}
        hold(run, columns, known)
        failpoint("step.fenced")
        if not known.rows:
            now = copy.copy(run)
            for name, value in columns.items():
                setattr(now, name, value)
            if moved:
                say(log, run, message_id=run.answer_id, content=text)
            _tell_begun(log, now, calls)
            if moved:
                log.append_event("run.updated", now.as_data(), run_id=run.pk)
                on_commit(partial(stream.raise_fence, run.session_id, run.pk, run.attempt, run.drafts))  # it is written
    failpoint("step.committed")


def _tell_begun(log: Log, run: Run, calls: Sequence[ToolCall]) -> None:
    for call in calls:
        call.created_at = log.now
        call.called_at = log.now if call.status == Status.CALLED else None
        call.ended_at = log.now if call.status not in ToolCall.UNFINISHED else None
    log.add_row(*calls)
    index = calls[0].step
    message_id = {"message_id": str(run.answer_id)}
    log.append_event("step.started", step_data(run, index, "running"), run_id=run.pk, extra=message_id)
    for call in calls:
        data: dict[str, Any] = {"tool_call": call.as_data()}
        say(log, run, message_id=call.pk, role=Message.Role.TOOL, category="agent", content="", data=data)
        tell_moved(log, call)
    if all(call.status not in ToolCall.UNFINISHED for call in calls):
        log.append_event("step.finished", step_data(run, index, "succeeded"), run_id=run.pk)


@tracing.spanned("record_calls")
@action
def record_calls(run: Run, changes: Sequence[Change]) -> None:
    """Write what becomes of calls of the run's last step; with the last of them the step is finished. Raises `Fenced`.

    What is `called` by this may be called as soon as it is saved.
    """
    with locked_for(run) as log:
        for change in changes:
            status = change.columns["status"]
            if status == Status.CALLED:
                change.columns["called_at"] = log.now
            elif status not in ToolCall.UNFINISHED:
                change.columns["ended_at"] = log.now
        updates = [changed(change) for change in changes]
        step = changes[0].call.step
        left = _UNFINISHED.ask(run_id=run.pk, step=step)
        hold(run, {"attempt": run.attempt}, *updates, left)  # changes nothing of the run: it is the fence
        failpoint("calls.fenced")
        done = [change.call for change, update in zip(changes, updates, strict=True) if update.count]
        if done:
            tell(log, done)
            if not left.rows:
                log.append_event("step.finished", step_data(run, step, "succeeded"), run_id=run.pk)
    failpoint("calls.committed")
