"""What a worker does with a run: claim it, finish it, fail it, hand it back; and what a sweep does for a dead one.

Every write is conditional on (worker, attempt, running): a worker that lost its claim changes no row.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Count, Exists, OuterRef, Q
from django.db.models.functions import Now

from chat import stream
from chat.actions.events import Log, action, locked, on_commit
from chat.actions.runs import keep_partial, ring_next, say
from chat.errors import Fenced, NotFound
from chat.failpoints import failpoint
from chat.models import Message, Run, Usage, Worker

Status = Run.Status


@dataclass(slots=True)
class Spending:
    """What an attempt cost."""

    llm: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@contextmanager
def locked_for(run: Run) -> Iterator[Log]:
    """The lock of a run's session. Raises `Fenced` where it was deleted: the claim went with it."""
    try:
        with locked(run.session_id) as log:
            yield log
    except NotFound:
        raise Fenced from None


@action
def claim_run(worker_id: UUID, session_id: UUID) -> Run | None:
    """Start the oldest claimable run of a session, or None: one runs already, a question is open, no slot is free.

    Raises `NotFound` where the session was deleted meanwhile.
    """
    if not Run.objects.filter(session_id=session_id, status=Status.QUEUED).exists():
        return None
    with locked(session_id) as log:
        open_runs = list(
            Run.objects.open().select_related("agent", "message").filter(session_id=session_id).order_by("position")
        )
        if not open_runs or open_runs[0].status != Status.QUEUED:
            return None
        if any(run.status == Status.RUNNING for run in open_runs):
            return None
        run = open_runs[0]
        slot = _free_slot(run)
        if slot is None and settings.CHAT_RUNS_PER_USER:
            return None
        failpoint("claim.slot")
        answer_id = uuid4()
        changes: dict[str, Any] = {
            "status": Status.RUNNING,
            "attempt": max(run.attempt, 1),
            "worker_id": worker_id,
            "slot": slot,
            "answer_id": answer_id,
            "drafts": [str(answer_id)],
            "checkpoint": "",
            "started_at": log.now,
        }
        if not Run.objects.filter(pk=run.pk, status=Status.QUEUED, attempt=run.attempt).update(**changes):
            return None
        for name, value in changes.items():
            setattr(run, name, value)
        log.append_event("run.started", run.as_data(), run_id=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt))
        failpoint("claim.commit")
    failpoint("claim.committed")
    return run


def _free_slot(run: Run) -> int | None:
    """Two claims may choose the same: the unique index lets one through, and the other looks again."""
    taken = set(Run.objects.filter(user_id=run.user_id, status=Status.RUNNING).values_list("slot", flat=True))
    return next((slot for slot in range(1, settings.CHAT_RUNS_PER_USER + 1) if slot not in taken), None)


def _end(run: Run, log: Log, **changes: Any) -> Run:
    """Take a run out of its worker's hands, or raise `Fenced`.

    A statement of its own: folded into another as a subquery, Postgres would judge it by an older snapshot.
    """
    assert run.worker_id is not None
    changes |= {"drafts": [], "checkpoint": "", "worker_id": None, "slot": None, "read": run.read}
    if Run.objects.held_by(run.worker_id, run.attempt).filter(pk=run.pk).update(**changes) != 1:
        raise Fenced
    failpoint("attempt.fenced")
    ended = copy.copy(run)  # the fence has shown that the row was as we know it
    for name, value in changes.items():
        setattr(ended, name, value)
    return ended


@action
def finish_run(run: Run, text: str, spent: Spending) -> Run:
    """Store the answer and end the run. Raises `Fenced`."""
    with locked_for(run) as log:
        ended = _end(
            run,
            log,
            status=Status.SUCCEEDED,
            succeeded_at=log.now,
            llm=spent.llm,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.cost_usd,
        )
        say(log, ended, message_id=run.answer_id, content=text)
        _spend(run, spent)
        ring_next(log, ended)
        log.append_event("run.succeeded", ended.as_data(), run_id=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
    failpoint("finish.committed")
    return ended


@action
def fail_run(run: Run, error: dict[str, Any], partial: str, spent: Spending) -> Run:
    """End a run with an error that people are told of; what was shown of its answer is kept. Raises `Fenced`."""
    with locked_for(run) as log:
        ended = _end(
            run,
            log,
            status=Status.FAILED,
            failed_at=log.now,
            error=error,
            llm=spent.llm,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_usd=spent.cost_usd,
        )
        if partial.strip():
            keep_partial(log, ended, partial)
        _spend(run, spent)
        _tell_failure(log, ended)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
    return ended


def _tell_failure(log: Log, run: Run) -> None:
    assert run.error is not None
    say(log, run, role=Message.Role.SYSTEM, kind="error", content=run.error["message"], data={"error": run.error})
    ring_next(log, run)
    log.append_event("run.failed", run.as_data(), run_id=run.pk)


def _spend(run: Run, spent: Spending) -> None:
    Usage.objects.bulk_create(
        [
            Usage(
                run_id=run.pk,
                attempt=run.attempt,
                llm=spent.llm,
                input_tokens=spent.input_tokens,
                output_tokens=spent.output_tokens,
                cost_usd=spent.cost_usd,
            )
        ],
        ignore_conflicts=True,  # an attempt is accounted for once
    )


def record_usage(run: Run, spent: Spending) -> None:
    """Store what an attempt cost and read that ended otherwise: allowed after the end, and no event."""
    with suppress(IntegrityError):  # the session was deleted
        _spend(run, spent)
    if run.read is not None:  # whoever cancelled it could not know
        Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.CANCELLED).update(read=run.read)


def keep_checkpoint(run: Run, text: str) -> None:
    """Save the text so far, while Redis cannot. Raises `Fenced`."""
    assert run.worker_id is not None
    if Run.objects.held_by(run.worker_id, run.attempt).filter(pk=run.pk).update(checkpoint=text) != 1:
        raise Fenced


def put_back(run: Run, reason: str, *, stuck: bool = False) -> Run | None:
    """Queue a running run again: `drained` by its own worker, or `worker_lost`, where the lease ran out.

    A run that is `stuck` is taken from a worker whose lease holds, and counts as lost. None where it is no longer this
    attempt's: somebody was faster.
    """
    try:
        return _put_back(run, reason, stuck)
    except Fenced:
        return None


@action
def _put_back(seen: Run, reason: str, stuck: bool) -> Run:
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
        if claim.update(**changes) != 1:
            raise Fenced
        back = Run.objects.select_related("agent").get(pk=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
        if poisonous:
            _tell_failure(log, back)
        else:
            ring_next(log, back)
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


def stuck_runs(older_than_s: float) -> list[Run]:
    """Runs that are older than any run may be, whatever their worker's lease says."""
    before = Now() - timedelta(seconds=older_than_s)
    return list(Run.objects.filter(status=Status.RUNNING, started_at__lt=before)[:100])


def claimable_sessions(waiting_for_s: float) -> list[UUID]:
    """Sessions with a queued run that nobody took although it may go on, in the order of their waiting.

    One row a session, and none of a user without a free slot: one user's thousand waiting runs hide nobody else's.
    """
    before = Now() - timedelta(seconds=waiting_for_s)
    ahead = Run.objects.filter(session_id=OuterRef("session_id")).filter(
        Q(status__in=(Status.RUNNING, Status.INTERRUPTED)) | Q(status=Status.QUEUED, position__lt=OuterRef("position"))
    )
    found = Run.objects.filter(status=Status.QUEUED, queued_at__lte=before).exclude(Exists(ahead))
    if settings.CHAT_RUNS_PER_USER:
        running = Run.objects.filter(status=Status.RUNNING).values("user_id").annotate(count=Count("pk"))
        full = running.filter(count__gte=settings.CHAT_RUNS_PER_USER)
        found = found.exclude(user_id__in=full.values("user_id"))
    return list(found.order_by("queued_at").values_list("session_id", flat=True)[:200])
