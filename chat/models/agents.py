"""Who answers: instructions, an LLM and a mode."""

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from chat import protocol

MODES = ("direct",)  # by name; the workers know what they do


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
            "mode": self.mode,
            "enabled": self.enabled,
            "created_at": protocol.time(self.created_at),
            "updated_at": protocol.time(self.updated_at),
        }
