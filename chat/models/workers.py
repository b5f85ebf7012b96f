"""A worker process and its one lease for all the runs that it holds."""

import uuid
from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class Workers(models.QuerySet["Worker"]):
    def alive(self) -> Self:
        """Those whose lease holds, by the database's clock: machines disagree about the time."""
        return self.filter(lease_until__gt=Now())


class Worker(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    started_at = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField()

    objects = Workers.as_manager()

    def __str__(self) -> str:
        return self.name


def lease_end(seconds: float) -> models.expressions.Combinable:
    return models.ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=models.DateTimeField())
