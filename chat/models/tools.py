"""The tools that the workers have, as they tell at their start: what an agent can be given."""

from django.db import models
from django.utils import timezone

from chat import protocol


class Tool(models.Model):
    """What to show and to choose from. Whoever calls a tool asks the worker's own code, and not this row."""

    class Effect(models.TextChoices):
        PURE = "pure"  # may be called again, as often as one likes
        IDEMPOTENT = "idempotent"  # may be called again with the same key
        ONCE = "once"  # never again, unless a person says so

    class Access(models.TextChoices):
        READ = "read"
        WRITE = "write"

    name = models.CharField(max_length=64, primary_key=True)
    description = models.TextField(blank=True)
    args_schema = models.JSONField(default=dict)
    access = models.CharField(max_length=5, choices=Access.choices)
    effect = models.CharField(max_length=10, choices=Effect.choices)
    needs_approval = models.BooleanField(default=False)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def as_data(self) -> protocol.ToolData:
        return {
            "name": self.name,
            "description": self.description,
            "args_schema": self.args_schema,
            "access": self.access,
            "effect": self.effect,
            "needs_approval": self.needs_approval,
        }
