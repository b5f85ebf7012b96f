"""Who looked into whose talk, and who stepped in, as an operator."""

import uuid

from django.db import models
from django.utils import timezone

from chat.models.users import User


class AuditEntry(models.Model):
    """Written once, never changed. It refers to nothing: it outlives the account and the session that it names."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    user_id = models.UUIDField()
    username = models.CharField(max_length=150)  # as it was then
    address = models.CharField(max_length=64, blank=True)
    session_id = models.UUIDField(db_index=True)
    what = models.CharField(max_length=60)
    path = models.CharField(max_length=300)

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.username}: {self.what}"

    @classmethod
    def of(cls, user: User, session_id: uuid.UUID, what: str, path: str, address: str) -> "AuditEntry":
        return cls(
            user_id=user.pk,
            username=user.username,
            session_id=session_id,
            what=what,
            path=path[:300],
            address=address[:64],
        )
