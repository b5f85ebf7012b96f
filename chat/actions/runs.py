"""What people do with a run: cancel it, ask for it again, move it in the queue."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Exists, OuterRef

from chat import jobs, limits, stream
from chat.actions.events import Log, action, locked, on_commit
from chat.actions.members import writer
from chat.actions.sessions import settle
from chat.errors import Conflict, InvalidInput, NotFound, SessionClosed, TooManyWaiting
from chat.failpoints import failpoint
from chat.models import ChatSession, Message, Run, User
from chat.protocol import Frame
from chat.protocol.shapes import RunChangeData

Status = Run.Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did to a run, and the frames that told it."""

    run: Run
    frames: list[Frame]

    def as_data(self) -> RunChangeData:
        return {"run_id": str(self.run.pk), "status": self.run.status}


def run_for(user: User, run_id: UUID, *, by_operator: bool = False) -> Run:
    """A run that a user may change; an operator, whom the admin has let in, any. Raises `NotFound`, `NotAllowed`."""
    run = (Run.objects if by_operator else Run.objects.visible_to(user)).filter(pk=run_id).first()
    if run is None:
        raise NotFound
    if not by_operator:
        writer(user, run.session_id)
    return run


def cancel_run(user: User, run_id: UUID, *, by_operator: bool = False) -> Outcome:
    """Stop a run: after this its log takes nothing more of it. What was shown of the answer is kept."""
    while True:
        run = run_for(user, run_id, by_operator=by_operator)
        partial: dict[str, str] = {}
        if run.status == Status.RUNNING and run.drafts:
            failpoint("cancel.take")
            partial = stream.take(run.session_id, run.pk, run.drafts) or {}
        outcome = _cancel(run, partial)
        if outcome is not None:
            return outcome


@action
def _cancel(seen: Run, partial: dict[str, str]) -> Outcome | None:
    """Cancel a run with what was taken of its drafts; None where it has others by now."""
    with locked(seen.session_id) as log:
        run = Run.objects.select_related("agent").filter(pk=seen.pk).first()
        if run is None:
            raise NotFound
        if not run.is_open:
            return Outcome(run, [])
        if run.drafts != seen.drafts:
            return None  # it was started, or put back, in between: something else is shown
        drafts, worker_id = run.drafts, run.worker_id
        shown = next((partial[one] for one in drafts if one in partial), None)
        text = run.checkpoint if shown is None else shown
        changed = Run.objects.filter(pk=run.pk, status=run.status, attempt=run.attempt).update(
            status=Status.CANCELLED, cancelled_at=log.now, drafts=[], checkpoint="", worker=None, slot=None
        )
        if not changed:
            raise Conflict
        if text.strip() and run.answer_id:
            keep_partial(log, run, text, complete=shown is not None)
        run.status, run.cancelled_at, run.drafts = Status.CANCELLED, log.now, []
        ring_next(log, run)
        log.append_event("run.cancelled", run.as_data(), run_id=run.pk, extra={"discarded": []})
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, drafts))
        if worker_id:
            on_commit(lambda: stream.nudge(worker_id, run.pk))
        failpoint("cancel.commit")
    return Outcome(run, log.frames)


def keep_partial(log: Log, run: Run, text: str, *, complete: bool = True) -> None:
    """Store what was shown of an answer that will not be finished, under the id that it was shown with."""
    data: dict[str, Any] = {"interrupted": True}
    if not complete:
        data["incomplete"] = True  # more may have been shown than could be saved
    say(log, run, message_id=run.answer_id, content=text, data=data)


def say(
    log: Log,
    run: Run,
    *,
    content: str,
    message_id: UUID | None = None,
    role: str = Message.Role.ASSISTANT,
    kind: str = "text",
    data: dict[str, Any] | None = None,
) -> Message:
    """Write a message of a run: its agent's, or the system's."""
    system = {"kind": "system", "name": "system", "title": "", "avatar": "", "color": ""}
    message = Message.objects.create(
        id=message_id or uuid4(),
        session_id=run.session_id,
        seq=log.next_seq,
        run_id=run.pk,
        parent_id=run.message_id,
        role=role,
        author=system if role == Message.Role.SYSTEM else run.agent.as_author(),
        kind=kind,
        content=content,
        data=data or {},
        created_at=log.now,
        updated_at=log.now,
    )
    log.append_event("message.created", message.as_data(), run_id=run.pk)
    log.touch()
    return message


def ring_next(log: Log, ended: Run) -> None:
    """Ring for what may go on when a run ends or is put back, in its session and its user's others; settle the status.

    Call it after the change and before the event that tells it: that one is to be the last.
    """
    open_runs = list(
        Run.objects.open().filter(session_id=ended.session_id).order_by("position").values_list("pk", "status")
    )
    settle(log, {status for _, status in open_runs})
    if open_runs and open_runs[0][1] == Status.QUEUED:
        first = open_runs[0][0]
        on_commit(lambda: jobs.run_agent(first))
    if not settings.CHAT_RUNS_PER_USER:
        return  # nobody is held for want of a slot
    busy = Run.objects.filter(session_id=OuterRef("session_id"), status__in=(Status.RUNNING, Status.INTERRUPTED))
    held = (
        Run.objects.filter(user_id=ended.user_id, status=Status.QUEUED)
        .exclude(session_id=ended.session_id)
        .exclude(Exists(busy))
        .order_by("queued_at")
        .values_list("pk", flat=True)
        .first()
    )
    if held is not None:
        on_commit(lambda: jobs.run_agent(held))


def retry_run(user: User, run_id: UUID, *, by_operator: bool = False) -> Outcome:
    """Ask again for an answer that failed or was cancelled: a new run of the same message, last in the queue.

    It costs what a message costs; an operator's costs nothing, and is still that of the person who asked. Raises
    `NotFound`, `NotAllowed`, `RateLimited`, `Conflict`, `SessionClosed`, `TooManyWaiting`.
    """
    session_id = run_for(user, run_id, by_operator=by_operator).session_id
    spent = None if by_operator else limits.spend_message(user.pk, session_id, uuid4().hex)
    try:
        outcome = _retry(user, session_id, run_id, by_operator=by_operator)
    except BaseException:
        limits.give_back(spent)
        raise
    if not outcome.frames:
        limits.give_back(spent)
    return outcome


def refuse_to_wait(statuses: Iterable[str]) -> None:
    """Raises `TooManyWaiting` where a session, by the statuses of its open runs, has as many waiting as it may."""
    waiting = list(statuses).count(Status.QUEUED)
    if settings.CHAT_WAITING_PER_SESSION and waiting >= settings.CHAT_WAITING_PER_SESSION:
        raise TooManyWaiting


@action
def _retry(user: User, session_id: UUID, run_id: UUID, *, by_operator: bool) -> Outcome:
    with locked(session_id) as log:
        old = Run.objects.select_related("agent").get(pk=run_id)
        if old.is_open:
            raise Conflict("The run is still open.")
        if old.status == Status.SUCCEEDED:
            raise Conflict("The run has succeeded.")
        if log.session.status == ChatSession.Status.CLOSED:
            raise SessionClosed
        again = Run.objects.open().filter(retry_of=old).first()
        if again is not None:
            return Outcome(again, [])
        refuse_to_wait(Run.objects.open().filter(session_id=session_id).values_list("status", flat=True))
        log.touch()
        if log.session.status != ChatSession.Status.INTERRUPTED:
            log.set_status(ChatSession.Status.ACTIVE)
        run = Run.objects.create(
            session_id=old.session_id,
            message_id=old.message_id,
            user_id=old.user_id if by_operator else user.pk,
            agent=old.agent,
            llm=old.llm,
            retry_of=old,
            position=log.next_seq,
            queued_at=log.now,
        )
        log.append_event("run.queued", run.as_data(), run_id=run.pk)
        on_commit(lambda: jobs.run_agent(run.pk))
    return Outcome(run, log.frames)


@action
def move_run(user: User, run_id: UUID, before: UUID | None) -> Outcome:
    """Put a waiting run before another waiting one of its session, or last. Raises `Conflict` where it has begun."""
    session_id = run_for(user, run_id).session_id
    with locked(session_id) as log:
        waiting = list(Run.objects.filter(session_id=session_id, status=Status.QUEUED).order_by("position"))
        by_id = {run.pk: run for run in waiting}
        run = by_id.get(run_id)
        if run is None:
            raise Conflict("The run no longer waits.")
        if before is not None and before not in by_id:
            raise InvalidInput("That run does not wait in this session.", fields={"before": "not waiting"})
        places = [one.position for one in waiting]
        order = [one for one in waiting if one is not run]
        index = len(order) if before is None or before == run_id else order.index(by_id[before])
        if before == run_id:
            return Outcome(run, [])
        order.insert(index, run)
        for one, place in zip(order, places, strict=True):
            if one.position != place:
                one.position = place
                Run.objects.filter(pk=one.pk).update(position=place)
                log.append_event("run.moved", one.as_data(), run_id=one.pk)
    return Outcome(run, log.frames)
