"""A pass to open one WebSocket, for clients that cannot set headers. One use, a minute long."""

from django.db import models

from chat.models.users import User


class Ticket(models.Model):
    digest = models.CharField(max_length=64, primary_key=True)  # SHA-256: a stolen table opens nothing
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField(db_index=True)
    proof = models.JSONField(default=dict)  # what it was bought with, as chat/auth.py writes it: no key and no token

    def __str__(self) -> str:
        return f"for {self.user_id} until {self.expires_at}"
