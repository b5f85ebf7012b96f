"""A key that opens the doors for a program, in the name of a person, until it is deleted."""

import uuid

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.users import User


class ApiKey(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120)
    start = models.CharField(max_length=12)  # of the key: enough to recognise it by, far too little to guess it from
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of 256 random bits: a stolen table opens nothing
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)  # the last time, give or take a minute

    class Meta:
        verbose_name = "API key"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"

    def as_data(self) -> protocol.ApiKeyData:
        return {
            "key_id": str(self.id),
            "name": self.name,
            "start": self.start,
            "created_at": protocol.time(self.created_at),
            "used_at": protocol.time_or_none(self.used_at),
        }
