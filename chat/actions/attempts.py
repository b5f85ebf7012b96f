"""What a worker does with a run that it has claimed: finish it, fail it, ask people, hand it back.

And what a sweep does for a dead worker.

Every write is conditional on (worker, attempt, running): a worker that lost its claim changes no row.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q
from django.db.models.functions import Now

from chat import jobs, stream, tracing
from chat.actions.endings import Following, keep_partial, say
from chat.actions.events import Log, action, on_commit
from chat.actions.fence import held, hold, locked_for
from chat.actions.questions import Question, ask
from chat.actions.tool_calls import end_calls
from chat.actions.usage import BESIDE, Spending, bill, cost_of, cost_with, keep_bill
from chat.errors import Fenced
from chat.failpoints import failpoint
from chat.models import Message, Run, Usage, Worker
from chat.prepared import insert, together

Status = Run.Status


def _end(log: Log, run: Run, spent: Sequence[Spending], **changes: Any) -> tuple[Run, Following]:
    """Take a run out of its worker's hands, with what that attempt cost; the LLM asked last is its LLM.

    Gives it as it is now, and what it has to ring for. Raises `Fenced`.
    """
    following = Following.after(run)
    changes |= {"drafts": [], "checkpoint": "", "worker_id": None, "slot": None, "read": run.read}
    changes |= cost_with(run, spent)
    if spent:
        changes["llm"] = spent[-1].llm
    hold(run, changes, *following.asked)
    failpoint("attempt.fenced")
    ended = copy.copy(run)  # the fence has shown that the row was as we know it
    for name, value in changes.items():
        setattr(ended, name, value)
    keep_bill(log, run, spent)
    on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
    return ended, following


@tracing.spanned("finish_run")
@action
def finish_run(
    run: Run,
    text: str,
    *spent: Spending,
    fallback_status: str | None = None,
    error: dict[str, Any] | None = None,
    cut: str | None = None,
) -> Run:
    """Store the answer and end the run. Raises `Fenced`.

    An answer may have an error: it is the text for emergencies then, and this is why. `cut` is why its LLM did not come
    to its end.
    """
    data = {"emergency": True} if error else {"cut": cut} if cut else None
    with locked_for(run) as log:
        ended, following = _end(
            log,
            run,
            spent,
            status=Status.SUCCEEDED,
            succeeded_at=log.now,
            fallback_status=fallback_status,
            error=error,
        )
        say(log, ended, message_id=run.answer_id, content=text, data=data)
        following.ring(log)
        log.append_event("run.succeeded", ended.as_data(), run_id=run.pk)
        if not log.session.is_titled and error is None and settings.CHAT_TITLE_LLM != "none":
            on_commit(lambda: jobs.title_session(run.pk))  # lost, it is asked for after the next answer
    failpoint("finish.committed")
    return ended


@tracing.spanned("fail_run")
@action
def fail_run(
    run: Run, error: dict[str, Any], partial: str, *spent: Spending, fallback_status: str | None = None
) -> Run:
    """End a run with an error that people are told of; what was shown of its answer is kept. Raises `Fenced`.

    A worker that is out of time waits for nothing: a step of its may have been saved that it has not heard of. So the
    run is taken as the row has it. If the row already promises another message id, none of that message was shown.
    """
    row = held(run)
    with locked_for(run, row) as log:
        now = row.first
        if now is None:
            raise Fenced
        now.agent, now.read = run.agent, run.read
        ended, following = _end(
            log,
            now,
            spent,
            status=Status.FAILED,
            failed_at=log.now,
            error=error,
            fallback_status=fallback_status,
        )
        if partial.strip() and now.answer_id == run.answer_id:  # else it is a message by now
            keep_partial(log, ended, partial)
        _tell_failure(log, ended, following)
    return ended


@tracing.spanned("interrupt_run")
@action
def interrupt_run(
    run: Run,
    questions: Sequence[Question],
    *spent: Spending,
    seconds: float | None = None,
    fallback_status: str | None = None,
) -> Run:
    """Ask people, and let go of the run until they have answered: nothing waits in memory. Raises `Fenced`.

    `seconds` is for how long it was worked on so far: the next attempt has what is left of its limit.
    It keeps its place in the session, so nothing behind it starts; its user's slot is free. Nothing may be promised to
    people that is not written yet: what was shown of an unwritten message is dropped.
    """
    assert questions, "a run that asks nothing would wait for ever"
    with locked_for(run) as log:
        waiting, following = _end(
            log,
            run,
            spent,
            status=Status.INTERRUPTED,
            interrupted_at=log.now,
            fallback_status=fallback_status,
            answer_id=None,
            state=_with_seconds(run, seconds),
        )
        ask(log, waiting, questions)
        following.ring(log)
        log.append_event("run.interrupted", waiting.as_data(), run_id=run.pk)
    failpoint("interrupt.committed")
    return waiting


def _with_seconds(run: Run, seconds: float | None) -> dict[str, Any]:
    return run.state if seconds is None else {**run.state, "seconds": round(seconds, 3)}


def _tell_failure(log: Log, run: Run, following: Following) -> None:
    assert run.error is not None
    end_calls(log, run, "failed")
    say(log, run, role=Message.Role.SYSTEM, kind="error", content=run.error["message"], data={"error": run.error})
    following.ring(log)
    log.append_event("run.failed", run.as_data(), run_id=run.pk)


@action
def record_usage(run: Run, *spent: Spending) -> None:
    """Store what an attempt cost and read after something else ended it. This needs no claim, and makes no event.

    None is needed: whoever follows the log no longer looks at an ended run.
    """
    with suppress(Fenced), locked_for(run):  # else the session was deleted
        if rows := bill(run, spent):
            together(insert(*rows, ignore_conflicts=True))
        # If another attempt is open by now, its next event will carry the new totals.
        totals = cost_of(Usage.objects.filter(run_id=run.pk).exclude(attempt=BESIDE))
        Run.objects.filter(pk=run.pk).exclude(status__in=Run.OPEN).update(**totals)
        if run.read is not None:  # whoever cancelled it could not know
            Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.CANCELLED).update(read=run.read)


def keep_checkpoint(run: Run, answer_id: UUID | str | None, text: str) -> None:
    """Save the text so far of an answer, while Redis cannot. Raises `Fenced`.

    A late one changes nothing: by then a step has stored that text as a message, and a stop would store it again.
    """
    assert run.worker_id is not None
    mine = Run.objects.held_by(run.worker_id, run.attempt).filter(pk=run.pk)
    if not mine.filter(answer_id=answer_id).update(checkpoint=text) and not mine.exists():
        raise Fenced


def put_back(run: Run, reason: str, *spent: Spending, stuck: bool = False, seconds: float | None = None) -> Run | None:
    """Queue a running run again: `drained` by its own worker, or `worker_lost`, where the lease ran out.

    `spent` is what the attempt cost, and `seconds` for how long the run was worked on, as far as that is known.

    A run that is `stuck` is taken from a worker whose lease holds, and counts as lost. None where it is no longer this
    attempt's: somebody was faster.
    """
    try:
        return _put_back(run, reason, spent, stuck, seconds)
    except Fenced:
        return None


@action
def _put_back(seen: Run, reason: str, spent: Sequence[Spending], stuck: bool, seconds: float | None) -> Run:
    lost = reason == "worker_lost"
    with locked_for(seen) as log:
        claim = Run.objects.filter(pk=seen.pk, status=Status.RUNNING, attempt=seen.attempt)
        run = claim.first()  # as it is now, under the lock: what it promised is what is discarded
        if run is None:
            raise Fenced
        if lost and not stuck:
            claim = claim.filter(_lease_is_out())
        crashes = run.crashes + lost
        poisonous = lost and 0 < settings.CHAT_CRASHES_MAX <= crashes
        changes: dict[str, Any] = {"worker_id": None, "slot": None, "drafts": [], "checkpoint": "", "crashes": crashes}
        if poisonous:
            changes |= {"status": Status.FAILED, "failed_at": log.now, "error": WORKER_LOST}
        else:
            # The next attempt begins here, so nothing of this one passes the fence from now on.
            changes |= {"status": Status.QUEUED, "attempt": run.attempt + 1, "answer_id": None}
            changes["state"] = _with_seconds(run, seconds)
        if claim.update(**changes, **cost_with(seen, spent)) != 1:
            raise Fenced
        keep_bill(log, seen, spent)
        back = Run.objects.select_related("agent").get(pk=run.pk)
        following = Following.after(run)
        together(*following.asked)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
        if poisonous:
            _tell_failure(log, back, following)
        else:
            following.ring(log)
            log.append_event(
                "run.restarted",
                back.as_data(),
                run_id=run.pk,
                extra={"reason": reason, "discarded": run.drafts},
            )
    return back


WORKER_LOST = {
    "code": "worker_lost",
    "message": "The answer was given up: its worker died again and again.",
    "temporary": True,
}


def _lease_is_out() -> Q:
    alive = Worker.objects.filter(pk=OuterRef("worker_id"), lease_until__gt=Now())
    return ~Q(Exists(alive))


def lost_runs() -> list[Run]:
    """Runs whose worker's lease ran out."""
    return list(Run.objects.filter(_lease_is_out(), status=Status.RUNNING).order_by("started_at")[:100])


def stuck_runs(over_s: float, limit_of: Callable[[dict[str, Any]], float]) -> list[Run]:
    """Runs in an attempt that is so much older than their agent lets it be, whatever their worker's lease says.

    All that have run for longer are looked at, with no more than the look needs: some of them may take as long as they
    like, and must hide no other.
    """
    age = ExpressionWrapper(Now() - F("started_at"), DurationField())  # by the database's clock
    long = Run.objects.filter(status=Status.RUNNING, started_at__lt=Now() - timedelta(seconds=over_s))
    aged = long.annotate(age=age).values_list("pk", "age", "agent__run_limit")
    stuck = [run_id for run_id, age, limit in aged if age.total_seconds() > limit_of(limit) + over_s]
    # Filter by age again: a run that was put back and claimed in between is young.
    return list(long.filter(pk__in=stuck[:100]).select_related("agent")) if stuck else []
