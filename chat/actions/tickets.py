"""Passes for WebSockets: bought over HTTP, used once."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from chat.models import Ticket, User

GOOD_FOR_S = 60


def issue_ticket(user: User, proof: dict[str, Any] | None = None) -> tuple[str, datetime]:
    """Sell a ticket. `proof` says what it is bought with: what it opens ends with that."""
    secret = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(seconds=GOOD_FOR_S)
    Ticket.objects.create(digest=_digest(secret), user=user, expires_at=expires_at, proof=proof or {})
    return secret, expires_at


def use_ticket(secret: str) -> Ticket | None:
    """The ticket, with its user, once. Of two that try at the same time one deletes the row."""
    ticket = Ticket.objects.select_related("user").filter(digest=_digest(secret)).first()
    if ticket is None or not Ticket.objects.filter(pk=ticket.pk).delete()[0]:
        return None
    return ticket if ticket.expires_at > timezone.now() and ticket.user.is_active else None


def prune_tickets() -> None:
    Ticket.objects.filter(expires_at__lt=timezone.now()).delete()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
