"""What time does to sessions: an idle one is closed, a closed one is deleted, its old events are forgotten.

Each step finds a few candidates and then decides under the session's lock, so any number of processes may take it at
once.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from chat.actions.events import Log, action, locked
from chat.actions.sessions import close, remove
from chat.errors import NotFound
from chat.models import ChatSession, Event, Run

Status = ChatSession.Status

SESSIONS_MAX = 20  # at a time, and
EVENTS_MAX = 1000  # of one session: nobody waits long for a lock
QUIET = (Status.NEW, Status.WAITING, Status.COMPLETED)  # with no answer and no question open


class Step(NamedTuple):
    """What was done, and whether there is more of it to do."""

    done: int = 0
    more: bool = False


def close_idle() -> Step:
    """Close sessions in which nobody has said anything for `CHAT_SESSION_IDLE_S`."""
    if not settings.CHAT_SESSION_IDLE_S:
        return Step()
    age = timedelta(seconds=settings.CHAT_SESSION_IDLE_S)
    found = _without_open_runs(ChatSession.objects.filter(status__in=QUIET, active_at__lt=timezone.now() - age))
    return _each(found, lambda session_id: _if_quiet(session_id, QUIET, age, lambda log: close(log, "idle")))


def delete_closed() -> Step:
    """Delete sessions that were closed `CHAT_RETENTION_DAYS` ago."""
    if not settings.CHAT_RETENTION_DAYS:
        return Step()
    age = timedelta(days=settings.CHAT_RETENTION_DAYS)
    found = _without_open_runs(ChatSession.objects.filter(status=Status.CLOSED, active_at__lt=timezone.now() - age))
    return _each(found, lambda session_id: _if_quiet(session_id, (Status.CLOSED,), age, remove))


def _without_open_runs(found: QuerySet[ChatSession]) -> QuerySet[ChatSession]:
    return found.exclude(Exists(Run.objects.open().filter(session_id=OuterRef("pk"))))


@action
def _if_quiet(session_id: UUID, statuses: tuple[str, ...], age: timedelta, act: Callable[[Log], None]) -> bool:
    """Do something to a session where, under its lock and by the log's clock, nothing has happened for so long."""
    with locked(session_id) as log:
        if log.session.status not in statuses or log.session.active_at >= log.now - age:
            return False
        if Run.objects.open().filter(session_id=session_id).exists():
            return False
        act(log)
    return True


def forget_events() -> Step:
    """Forget events that are older than `CHAT_EVENTS_DAYS`: whoever resumes from before them is told `too_old`."""
    if not settings.CHAT_EVENTS_DAYS:
        return Step()
    age = timedelta(days=settings.CHAT_EVENTS_DAYS)
    before = timezone.now() - age
    oldest = Event.objects.filter(session_id=OuterRef("pk"), seq=OuterRef("kept_from"), at__lt=before)
    found = ChatSession.objects.filter(Exists(oldest), created_at__lt=before, kept_from__lte=F("last_seq"))
    return _each(found, lambda session_id: _forget_events(session_id, age))


@action
def _forget_events(session_id: UUID, age: timedelta) -> bool:
    with locked(session_id) as log:
        before = log.now - age
        first = kept_from = log.session.kept_from
        events = Event.objects.filter(session_id=session_id).after(first - 1).values_list("seq", "at")
        # One by one from the first: the clocks of two machines differ, and what is kept must have no gap.
        for seq, at in events[:EVENTS_MAX]:
            if at >= before:
                break
            kept_from = seq + 1
        Event.objects.filter(session_id=session_id, seq__lt=kept_from).delete()
        ChatSession.objects.filter(pk=session_id).update(kept_from=kept_from)
    return kept_from > first


def _each(found: QuerySet[ChatSession], act: Callable[[UUID], bool]) -> Step:
    session_ids = list(found.values_list("pk", flat=True)[:SESSIONS_MAX])
    done = 0
    for session_id in session_ids:
        try:
            done += act(session_id)
        except NotFound:
            continue  # another process was faster
    # `found` no longer has what was done just now, except a session with very many events.
    return Step(done, more=done > 0 and found.exists())
