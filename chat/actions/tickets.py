"""Passes for WebSockets: bought over HTTP, used once."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.utils import timezone

from chat.models import Ticket, User

GOOD_FOR_S = 60


def issue_ticket(user: User) -> tuple[str, datetime]:
    secret = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(seconds=GOOD_FOR_S)
    Ticket.objects.create(digest=_digest(secret), user=user, expires_at=expires_at)
    return secret, expires_at


def use_ticket(secret: str) -> User | None:
    """Whose ticket it is, once. Of two that try at the same time one deletes the row."""
    ticket = Ticket.objects.select_related("user").filter(digest=_digest(secret)).first()
    if ticket is None or not Ticket.objects.filter(pk=ticket.pk).delete()[0]:
        return None
    return ticket.user if ticket.expires_at > timezone.now() and ticket.user.is_active else None


def prune_tickets() -> None:
    Ticket.objects.filter(expires_at__lt=timezone.now()).delete()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
