"""What people do with a run: cancel it, ask for it again, move it in the queue."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings

from chat import jobs, limits, stream
from chat.actions.endings import Following, keep_partial
from chat.actions.events import Log, action, on_commit
from chat.actions.members import locked_by, writer
from chat.actions.questions import withdraw
from chat.actions.tool_calls import end_calls
from chat.database import reading, writing
from chat.errors import Conflict, InvalidInput, NotFound, SessionClosed, TooManyWaiting
from chat.failpoints import failpoint
from chat.models import Agent, ChatSession, Message, Run, User
from chat.prepared import Given, Prepared, together
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


_VISIBLE = Prepared(lambda: Run.objects.filter(session__members__user=Given("user_id"), pk=Given("pk")))
_ANY = Prepared(lambda: Run.objects.filter(pk=Given("pk")))
NOW = Prepared(lambda: Run.objects.select_related("agent").filter(pk=Given("pk")))
_AS_SEEN = Prepared(
    lambda: Run.objects.filter(pk=Given("pk"), status=Given("seen_status"), attempt=Given("seen_attempt"))
)


def run_for(user: User, run_id: UUID, *, by_operator: bool = False) -> Run:
    """A run that a user may change; an operator, whom the admin has let in, any. Raises `NotFound`, `NotAllowed`."""
    run = _ANY.first(pk=run_id) if by_operator else _VISIBLE.first(user_id=user.pk, pk=run_id)
    if run is None:
        raise NotFound
    if not by_operator:
        writer(user, run.session_id)
    return run


async def cancel_run(user: User, run_id: UUID) -> Outcome:
    """Stop a run: after this its log takes nothing more of it. What was shown of the answer is kept.

    Redis is asked where a slow one holds up nobody who writes. Raises `NotFound`, `NotAllowed`.
    """
    while True:
        seen = await reading(_see, user, run_id)
        if outcome := await writing(_cancel, user, *seen):
            return outcome


def cancel_as_operator(user: User, run_id: UUID) -> Outcome:
    """`cancel_run` for somebody whom the admin has let in, of any run. In a database thread."""
    while True:
        seen = _see(user, run_id, by_operator=True)
        if outcome := _cancel(user, *seen, by_operator=True):
            return outcome


def _see(user: User, run_id: UUID, *, by_operator: bool = False) -> tuple[Run, dict[str, str]]:
    """A run that is to be stopped, and what it has shown. Raises `NotFound`, `NotAllowed`."""
    run = run_for(user, run_id, by_operator=by_operator)
    return run, shown_by(run)


def shown_by(run: Run) -> dict[str, str]:
    """Hold the deltas of a run, and take what it has shown. Not inside a transaction: it asks Redis."""
    if run.status != Status.RUNNING or not run.drafts:
        return {}
    failpoint("cancel.take")
    return stream.take(run.session_id, run.pk, run.drafts) or {}


@action
def _cancel(user: User, seen: Run, partial: dict[str, str], *, by_operator: bool = False) -> Outcome | None:
    """Cancel a run with what was taken of its drafts; None where it has others by now."""
    now = NOW.ask(pk=seen.pk)
    with locked_by(user, seen.session_id, now, by_operator=by_operator) as log:
        run = now.first
        if run is None:
            raise NotFound
        if not run.is_open:
            return Outcome(run, [])
        if run.drafts != seen.drafts:
            return None  # it was started, or put back, in between: something else is shown
        if run.status == Status.QUEUED and not run.attempt and _is_the_only_answer(run):
            _withdraw_question(log, run)
        following = stop(log, run, partial)
        following.ring(log)
        tell_stopped(log, run)
        failpoint("cancel.commit")
    return Outcome(run, log.frames)


def stop(log: Log, run: Run, partial: dict[str, str] | None) -> Following:
    """Cancel an open run, under the lock. `partial=None`: keep nothing of what was shown.

    The caller must then call `following.ring(log)` and `tell_stopped`.
    """
    drafts, worker_id = run.drafts, run.worker_id
    following = Following.after(run)
    changes = {"cancelled_at": log.now, "drafts": [], "checkpoint": "", "worker_id": None, "slot": None}
    changed = _AS_SEEN.change(
        changes | {"status": Status.CANCELLED}, pk=run.pk, seen_status=run.status, seen_attempt=run.attempt
    )
    together(changed, *following.asked)
    if not changed.count:
        raise Conflict
    if partial is not None:
        shown = next((partial[one] for one in drafts if one in partial), None)
        text = run.checkpoint if shown is None else shown
        if text.strip() and run.answer_id:
            keep_partial(log, run, text, complete=shown is not None)
    if run.status == Status.INTERRUPTED:
        withdraw(log, run)
    run.status, run.cancelled_at, run.drafts = Status.CANCELLED, log.now, []
    end_calls(log, run, "cancelled")
    on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, drafts))
    if worker_id:
        on_commit(lambda: stream.nudge(worker_id, run.pk))
    return following


def tell_stopped(log: Log, run: Run, discarded: Collection[str] = ()) -> None:
    log.append_event("run.cancelled", run.as_data(), run_id=run.pk, extra={"discarded": list(discarded)})


def _is_the_only_answer(run: Run) -> bool:
    """Whether no other run has begun to answer its question, or is to."""
    others = Run.objects.filter(message_id=run.message_id).exclude(pk=run.pk)
    return not others.exclude(status=Status.CANCELLED, attempt=0).exists()


def _withdraw_question(log: Log, run: Run) -> None:
    """Nobody has begun to answer it, and nobody is to: it stays said, and no LLM reads it later."""
    message = Message.objects.get(pk=run.message_id)
    _change_question(log, message, {**message.data, "withdrawn": True})


def _change_question(log: Log, message: Message, data: dict[str, Any]) -> None:
    message.data, message.updated_at = data, log.now
    message.save(update_fields=["data", "updated_at"])
    log.append_event("message.updated", message.as_data(), run_id=message.run_id, author_id=message.user_id)


async def retry_run(user: User, run_id: UUID) -> Outcome:
    """Ask again for an answer that failed or was cancelled: a new run of the same message, last in the queue.

    It costs what a message costs. Raises `NotFound`, `NotAllowed`, `RateLimited`, `Conflict`, `InvalidInput`,
    `SessionClosed`, `TooManyWaiting`.
    """
    session_id = (await reading(run_for, user, run_id)).session_id
    spent = await limits.spend_message(user.pk, session_id, uuid4().hex)
    try:
        outcome = await writing(_retry, user, session_id, run_id)
    except Exception:
        await limits.giving_back(spent)
        raise
    if not outcome.frames:
        await limits.giving_back(spent)
    return outcome


def retry_as_operator(user: User, run_id: UUID) -> Outcome:
    """`retry_run` for somebody whom the admin has let in: it costs nothing, and stays the run of who asked before.

    In a database thread.
    """
    return _retry(user, run_for(user, run_id, by_operator=True).session_id, run_id, by_operator=True)


def refuse_to_wait(statuses: Iterable[str]) -> None:
    """Raises `TooManyWaiting` where a session, by the statuses of its open runs, has as many waiting as it may."""
    waiting = list(statuses).count(Status.QUEUED)
    if settings.CHAT_WAITING_PER_SESSION and waiting >= settings.CHAT_WAITING_PER_SESSION:
        raise TooManyWaiting


def check_llm(name: str | None, agent: Agent) -> None:
    """Only what the operator offers: an LLM costs money, and its name may hold an address. Raises `InvalidInput`."""
    if name and name not in {settings.CHAT_LLM, agent.llm, *settings.CHAT_LLMS}:
        raise InvalidInput("This LLM is not offered here.", fields={"llm": "unknown"})


@action
def _retry(user: User, session_id: UUID, run_id: UUID, *, by_operator: bool = False) -> Outcome:
    with locked_by(user, session_id, by_operator=by_operator) as log:
        old = Run.objects.select_related("agent", "message").get(pk=run_id)
        if old.is_open:
            raise Conflict("The run is still open.")
        if old.status == Status.SUCCEEDED:
            raise Conflict("The run has succeeded.")
        if old.message.deleted_at is not None:
            raise Conflict("What it was to answer was taken back.")
        if log.session.status == ChatSession.Status.CLOSED:
            raise SessionClosed
        again = Run.objects.open().filter(retry_of=old).first()
        if again is not None:
            return Outcome(again, [])
        if old.agent_id != log.session.agent_id and not by_operator and not old.agent.is_visible_to(user):
            raise InvalidInput("There is no such agent.", fields={"agent": "unknown"})
        if not old.agent.enabled:
            raise InvalidInput("The agent is switched off.", fields={"agent": "unknown"})
        check_llm(old.first_llm, old.agent)
        refuse_to_wait(Run.objects.open().filter(session_id=session_id).values_list("status", flat=True))
        log.touch()
        if log.session.status != ChatSession.Status.INTERRUPTED:
            log.set_status(ChatSession.Status.ACTIVE)
        if old.message.data.get("withdrawn"):
            kept = {name: value for name, value in old.message.data.items() if name != "withdrawn"}
            _change_question(log, old.message, kept)
        run = Run.objects.create(
            session_id=old.session_id,
            message_id=old.message_id,
            user_id=old.user_id if by_operator else user.pk,
            agent=old.agent,
            llm=old.first_llm,
            chosen_llm=old.first_llm,
            retry_of=old,
            position=log.next_seq,
            queued_at=log.now,
        )
        log.append_event("run.queued", run.as_data(), run_id=run.pk)
        on_commit(lambda: jobs.run_agent(run.pk, run.session_id))
    return Outcome(run, log.frames)


@action
def move_run(user: User, run_id: UUID, before: UUID | None) -> Outcome:
    """Put a waiting run before another waiting one of its session, or last. Raises `Conflict` where it has begun."""
    session_id = run_for(user, run_id).session_id
    with locked_by(user, session_id) as log:
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
                Message.objects.filter(run_id=one.pk).update(position=place)
                log.append_event("run.moved", one.as_data(), run_id=one.pk)
    return Outcome(run, log.frames)
