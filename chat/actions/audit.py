"""The trail of operators in other people's talk: written before anything is shown or done, or nothing is."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from chat.actions.forget import delete_some
from chat.models import AuditEntry, Member, User

STILL_LOOKING = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Visit:
    """Who is where in the admin."""

    user: User
    path: str
    address: str


def record_look(visit: Visit, session_ids: Collection[UUID], what: str) -> None:
    """Write down the sessions that somebody looks into without being a member. Two statements, however many."""
    wanted = set(session_ids)
    own = Member.objects.filter(user=visit.user, session_id__in=wanted).values_list("session_id", flat=True)
    _write(visit, wanted.difference(own), what)


def record_watching(visit: Visit, session_id: UUID, what: str) -> None:
    """Likewise of a page that asks again every few seconds: once in a while."""
    entries = AuditEntry.objects.filter(session_id=session_id, user_id=visit.user.pk, what=what)
    if not entries.filter(at__gt=timezone.now() - STILL_LOOKING).exists():
        record_look(visit, [session_id], what)


def record_act(visit: Visit, session_ids: Collection[UUID], what: str) -> None:
    """Write down in which sessions an operator steps in; their own are no exception."""
    _write(visit, set(session_ids), what)


def _write(visit: Visit, session_ids: Collection[UUID], what: str) -> None:
    AuditEntry.objects.bulk_create(
        [AuditEntry.of(visit.user, one, what, visit.path, visit.address) for one in session_ids]
    )


def prune_audit() -> None:
    """Forget what is older than an operator wants it kept."""
    if not settings.CHAT_AUDIT_DAYS:
        return
    before = timezone.now() - timedelta(days=settings.CHAT_AUDIT_DAYS)
    while delete_some(AuditEntry.objects.filter(at__lt=before).order_by("at")):
        pass
