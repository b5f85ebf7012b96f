"""Which run goes on: the claim, and what nobody came for."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, When
from django.db.models.functions import Now

from chat import stream
from chat.actions import joined, positions
from chat.actions.events import action, locked, on_commit
from chat.errors import Fenced, NotFound
from chat.failpoints import failpoint
from chat.models import Run
from chat.prepared import Given, Prepared

Status = Run.Status

# The one that runs, if one does: then nothing else may. Else the one whose turn it is, which may wait for people.
_FIRST_OPEN = Prepared(
    lambda: (
        Run.objects.open()
        .select_related("agent", "message")
        .filter(session_id=Given("session_id"))
        .order_by(Case(When(status=Status.RUNNING, then=0), default=1), "position")[:1]
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


def claim_run(worker_id: UUID, session_id: UUID) -> Run | None:
    """Start the oldest claimable run of a session, or None: one runs already, a question is open, no slot is free.

    The run comes with its session, its agent and the message that it answers.
    """
    try:
        run = _claim(worker_id, session_id)
    except (NotFound, Fenced):
        return None  # the session was deleted meanwhile, or the run is another's
    if run is not None:
        failpoint("claim.committed")
    return run


@action
def _claim(worker_id: UUID, session_id: UUID) -> Run | None:
    first = _FIRST_OPEN.ask(session_id=session_id)
    taken = _TAKEN_SLOTS.ask(session_id=session_id)
    unread = joined.UNREAD.ask(session_id=session_id)
    with locked(session_id, first, taken, unread) as log:
        run = first.first
        if run is None or run.status != Status.QUEUED:
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
        log.change_row(_WAITING.change(changes, pk=run.pk, seen_attempt=run.attempt))
        for name, value in changes.items():
            setattr(run, name, value)
        run.session = log.session
        positions.place_question(run)
        if not run.state.get("steps") and (early := [message for message in unread.rows if message.run_id == run.pk]):
            joined.tell_read(log, early, step=0)  # with its question
        log.append_event("run.started", run.as_data(), run_id=run.pk)
        on_commit(lambda: stream.raise_fence(run.session_id, run.pk, run.attempt))
        failpoint("claim.commit")
    return run


def _free_slot(taken: Collection[int | None]) -> int | None:
    """Two claims may choose the same: the unique index lets one through, and the other looks again."""
    return next((slot for slot in range(1, settings.CHAT_RUNS_PER_USER + 1) if slot not in taken), None)


def claimable_sessions(waiting_for_s: float) -> list[UUID]:
    """Sessions with a queued run that nobody took although it may go on, in the order of their waiting.

    One row a session, and none of a user without a free slot: one user's thousand waiting runs hide nobody else's.
    """
    found = claimable_runs().filter(queued_at__lte=Now() - timedelta(seconds=waiting_for_s))
    return list(found.order_by("queued_at").values_list("session_id", flat=True)[:200])


def claimable_runs() -> QuerySet[Run]:
    """Queued runs that a worker could take: neither their session nor their user's places keep them waiting."""
    ahead = Run.objects.filter(session_id=OuterRef("session_id")).filter(
        Q(status__in=(Status.RUNNING, Status.INTERRUPTED)) | Q(status=Status.QUEUED, position__lt=OuterRef("position"))
    )
    found = Run.objects.filter(status=Status.QUEUED).exclude(Exists(ahead))
    if settings.CHAT_RUNS_PER_USER:
        running = Run.objects.filter(status=Status.RUNNING).values("user_id").annotate(count=Count("pk"))
        full = running.filter(count__gte=settings.CHAT_RUNS_PER_USER)
        found = found.exclude(user_id__in=full.values("user_id"))
    return found
