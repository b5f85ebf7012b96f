"""Who answers: instructions, an LLM and a mode."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from chat import protocol

MODES = ("direct",)  # by name; the workers know what they do


def check_names(value: object) -> None:
    """Raises: ValidationError."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValidationError('Write a list of names, like ["openai:MODEL", "demo"].')


class Agent(models.Model):
    # The name is the identity: rows refer to it, people will mention it, and it never changes.
    name = models.CharField(
        max_length=64, primary_key=True, validators=[RegexValidator(r"^[A-Za-z][A-Za-z0-9_-]*$", "a word")]
    )
    title = models.CharField(max_length=120, blank=True)
    avatar = models.CharField(max_length=200, blank=True)
    color = models.CharField(max_length=20, blank=True)
    instructions = models.TextField(blank=True)
    llm = models.CharField(max_length=200, blank=True, help_text="Empty: the server's own (CHAT_LLM).")
    # Asked in this order when `llm` fails. Null: the server's own (CHAT_FALLBACKS); an empty list: none.
    fallbacks = models.JSONField(null=True, blank=True, default=None, validators=[check_names])
    mode = models.CharField(max_length=32, default="direct")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    DEFAULT = "assistant"

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def as_author(self) -> protocol.AuthorData:
        return {
            "kind": "agent",
            "name": self.name,
            "title": self.title,
            "avatar": self.avatar,
            "color": self.color,
        }

    def as_data(self) -> protocol.AgentData:
        return {
            "name": self.name,
            "title": self.title,
            "avatar": self.avatar,
            "color": self.color,
            "instructions": self.instructions,
            "llm": self.llm,
            "fallbacks": self.fallbacks,
            "mode": self.mode,
            "enabled": self.enabled,
            "created_at": protocol.time(self.created_at),
            "updated_at": protocol.time(self.updated_at),
        }
