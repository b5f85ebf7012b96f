"""What a worker does with a run: claim it, finish it, fail it, hand it back; and what a sweep does for a dead one.

Every write is conditional on (worker, attempt, running): a worker that lost its claim changes no row.
"""

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Count, DecimalField, Exists, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Now

from chat import stream, tracing
from chat.actions.events import Log, action, locked, on_commit
from chat.actions.runs import OPEN_RUNS, Following, keep_partial, say
from chat.errors import Fenced, NotFound
from chat.failpoints import failpoint
from chat.models import Message, Run, Usage, Worker
from chat.prepared import Given, Prepared, insert, together

Status = Run.Status
SMALLEST_USD = Decimal("0.000001")  # what a column holds of it


@dataclass(slots=True)
class Spending:
    """What one LLM cost in an attempt; None: nobody knows its price."""

    llm: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None


@contextmanager
def locked_for(run: Run) -> Iterator[Log]:
    """The lock of a run's session. Raises `Fenced` where it was deleted: the claim went with it."""
    try:
        with locked(run.session_id) as log:
            yield log
    except NotFound:
        raise Fenced from None


_FIRST_OPEN = Prepared(
    lambda: (
        Run.objects.open()
        .select_related("agent", "message")
        .filter(session_id=Given("session_id"))
        .order_by("position")[:1]
    )
)
# Of everybody who waits in a session: whose turn it is shows only under the lock.
_TAKEN_SLOTS = Prepared(
    lambda: Run.objects.filter(
        status=Status.RUNNING,
        user_id__in=Run.objects.open().filter(session_id=Given("session_id")).values("user_id"),
    ).values_list("user_id", "slot")
)
_WAITING = Prepared(lambda: Run.objects.filter(pk=Given("pk"), status=Status.QUEUED, attempt=Given("seen_attempt")))
_HELD = Prepared(lambda: Run.objects.held_by(Given("held_by"), Given("held_attempt")).filter(pk=Given("pk")))


def claim_run(worker_id: UUID, session_id: UUID) -> Run | None:
    """Start the oldest claimable run of a session, or None: one runs already, a question is open, no slot is free.

    The run comes with its agent and the message that it answers.
    """
    try:
        run = _claim(worker_id, session_id)
    except NotFound:
        return None  # the session was deleted meanwhile
    if run is not None:
        failpoint("claim.committed")
    return run


@action
def _claim(worker_id: UUID, session_id: UUID) -> Run | None:
    first = _FIRST_OPEN.ask(session_id=session_id)
    open_runs = OPEN_RUNS.ask(session_id=session_id)
    taken = _TAKEN_SLOTS.ask(session_id=session_id)
    with locked(session_id, first, open_runs, taken) as log:
        run = first.first
        if run is None or run.status != Status.QUEUED:
            return None
        if any(status == Status.RUNNING for _, status in open_runs.rows):
            return None
        slot = _free_slot({slot for user_id, slot in taken.rows if user_id == run.user_id})
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
        claim = _WAITING.change(changes, pk=run.pk, seen_attempt=run.attempt)
        together(claim)
        if not claim.count:
            return None
        for name, value in changes.items():
            setattr(run, name, value)
        log.append_event("run.started", run.as_data(), run_id=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt))
        failpoint("claim.commit")
    return run


def _free_slot(taken: Collection[int | None]) -> int | None:
    """Two claims may choose the same: the unique index lets one through, and the other looks again."""
    return next((slot for slot in range(1, settings.CHAT_RUNS_PER_USER + 1) if slot not in taken), None)


def _end(run: Run, following: Following, **changes: Any) -> Run:
    """Take a run out of its worker's hands, or raise `Fenced`.

    A statement of its own: folded into another as a subquery, Postgres would judge it by an older snapshot.
    """
    assert run.worker_id is not None
    changes |= {"drafts": [], "checkpoint": "", "worker_id": None, "slot": None, "read": run.read}
    fence = _HELD.change(changes, pk=run.pk, held_by=run.worker_id, held_attempt=run.attempt)
    together(fence, *following.asked)
    if fence.count != 1:
        raise Fenced
    failpoint("attempt.fenced")
    ended = copy.copy(run)  # the fence has shown that the row was as we know it
    for name, value in changes.items():
        setattr(ended, name, value)
    return ended


@tracing.spanned("finish_run")
@action
def finish_run(
    run: Run, text: str, *spent: Spending, fallback_status: str | None = None, error: dict[str, Any] | None = None
) -> Run:
    """Store the answer and end the run; the LLM that was asked last is its LLM. Raises `Fenced`.

    An answer may have an error: it is the text for emergencies then, and this is why.
    """
    with locked_for(run) as log:
        following = Following.after(run)
        ended = _end(
            run,
            following,
            status=Status.SUCCEEDED,
            succeeded_at=log.now,
            fallback_status=fallback_status,
            error=error,
            **_cost_with(run, spent),
            **({"llm": spent[-1].llm} if spent else {}),
        )
        say(log, ended, message_id=run.answer_id, content=text, data={"emergency": True} if error else None)
        _keep_bill(log, run, spent)
        following.ring(log)
        log.append_event("run.succeeded", ended.as_data(), run_id=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
    failpoint("finish.committed")
    return ended


@tracing.spanned("fail_run")
@action
def fail_run(
    run: Run, error: dict[str, Any], partial: str, *spent: Spending, fallback_status: str | None = None
) -> Run:
    """End a run with an error that people are told of; what was shown of its answer is kept. Raises `Fenced`."""
    with locked_for(run) as log:
        following = Following.after(run)
        ended = _end(
            run,
            following,
            status=Status.FAILED,
            failed_at=log.now,
            error=error,
            fallback_status=fallback_status,
            **_cost_with(run, spent),
            **({"llm": spent[-1].llm} if spent else {}),
        )
        if partial.strip():
            keep_partial(log, ended, partial)
        _keep_bill(log, run, spent)
        _tell_failure(log, ended, following)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt + 1, run.drafts))
    return ended


def _tell_failure(log: Log, run: Run, following: Following) -> None:
    assert run.error is not None
    say(log, run, role=Message.Role.SYSTEM, kind="error", content=run.error["message"], data={"error": run.error})
    following.ring(log)
    log.append_event("run.failed", run.as_data(), run_id=run.pk)


def _bill(run: Run, spent: Sequence[Spending]) -> list[Usage]:
    """A row for each LLM that an attempt asked. An attempt is accounted for once: a second time it is ignored."""
    return [
        Usage(
            run_id=run.pk,
            attempt=run.attempt,
            llm=one.llm,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cost_usd=one.cost_usd,
        )
        for one in spent
    ]


def _keep_bill(log: Log, run: Run, spent: Sequence[Spending]) -> None:
    if rows := _bill(run, spent):
        log.add_row(*rows, ignore_conflicts=True)


def _cost_with(run: Run, spent: Sequence[Spending]) -> dict[str, Any]:
    """What a run has cost by now, with what this attempt does: as columns."""
    totals: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0)}
    if run.attempt > 1:
        totals = _cost_of(Usage.objects.filter(run_id=run.pk).exclude(attempt=run.attempt))
    for one in spent:
        totals["input_tokens"] += one.input_tokens
        totals["output_tokens"] += one.output_tokens
        totals["cost_usd"] += (one.cost_usd or Decimal(0)).quantize(SMALLEST_USD)
    return totals


def _cost_of(rows: "QuerySet[Usage]") -> dict[str, Any]:
    return rows.aggregate(
        input_tokens=Coalesce(Sum("input_tokens"), 0),
        output_tokens=Coalesce(Sum("output_tokens"), 0),
        cost_usd=Coalesce(Sum("cost_usd"), Value(Decimal(0)), output_field=DecimalField()),
    )


@action
def record_usage(run: Run, *spent: Spending) -> None:
    """Store what an attempt cost and read that ended otherwise: allowed after its end, and no event tells it.

    Nothing is told because nothing is shown: whoever follows the log sees an ended run no more.
    """
    with suppress(Fenced), locked_for(run):  # else the session was deleted
        if rows := _bill(run, spent):
            together(insert(*rows, ignore_conflicts=True))
        # Where it is open again, in another attempt, its next event tells the sum.
        totals = _cost_of(Usage.objects.filter(run_id=run.pk))
        Run.objects.filter(pk=run.pk).exclude(status__in=Run.OPEN).update(**totals)
        if run.read is not None:  # whoever cancelled it could not know
            Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.CANCELLED).update(read=run.read)


def keep_checkpoint(run: Run, text: str) -> None:
    """Save the text so far, while Redis cannot. Raises `Fenced`."""
    assert run.worker_id is not None
    if Run.objects.held_by(run.worker_id, run.attempt).filter(pk=run.pk).update(checkpoint=text) != 1:
        raise Fenced


def put_back(run: Run, reason: str, *spent: Spending, stuck: bool = False) -> Run | None:
    """Queue a running run again: `drained` by its own worker, or `worker_lost`, where the lease ran out.

    `spent` is what the attempt cost, as far as that is known.

    A run that is `stuck` is taken from a worker whose lease holds, and counts as lost. None where it is no longer this
    attempt's: somebody was faster.
    """
    try:
        return _put_back(run, reason, spent, stuck)
    except Fenced:
        return None


@action
def _put_back(seen: Run, reason: str, spent: Sequence[Spending], stuck: bool) -> Run:
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
        if claim.update(**changes, **_cost_with(seen, spent)) != 1:
            raise Fenced
        _keep_bill(log, seen, spent)
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
