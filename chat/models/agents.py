"""Who answers: instructions, an LLM, a mode and tools."""

import re
from collections.abc import Callable
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.tools import Tool
from chat.models.users import User

MODES = ("direct", "react")  # by name; the workers know what they do

CONTEXT_TOKENS_MIN = 500

# "demo", "demo?tokens=9", or who serves it and what they call it. Whether there is such a one only the workers know.
LLM_NAME = re.compile(r"demo(\?\S+)?|[a-z][a-z0-9_-]*:\S(.*\S)?")
LLM_EXPECTED = "Write 'demo', 'openai:MODEL', 'anthropic:MODEL' or likewise."


def check_names(value: object) -> None:
    """Raises: ValidationError."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValidationError('Write a list of names, like ["openai:MODEL", "demo"].')


def check_context(value: object) -> None:
    """Raises: ValidationError."""
    _check_options(value, {"tokens": _is_count, "summary": _is_bool})
    assert isinstance(value, dict)
    if value.get("tokens", CONTEXT_TOKENS_MIN) < CONTEXT_TOKENS_MIN:
        raise ValidationError(f"An agent reads {CONTEXT_TOKENS_MIN} tokens or more.")


def check_run_limit(value: object) -> None:
    """Raises: ValidationError."""
    _check_options(value, {"steps": _is_count, "seconds": _is_amount, "cost_usd": _is_amount})


def _check_options(value: object, known: dict[str, Callable[[object], bool]]) -> None:
    if not isinstance(value, dict) or set(value) - set(known):
        raise ValidationError(f"Write an object with some of these keys: {', '.join(known)}.")
    for name, one in value.items():
        if not known[name](one):
            raise ValidationError(f"This is no good value for {name}.")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000_000


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 10_000_000


class Agents(models.QuerySet["Agent"]):
    def visible_to(self, user: User) -> Self:
        """Those whom a user may ask; staff also see those who are switched off."""
        return self if user.is_staff else self.filter(enabled=True, visibility=Agent.Visibility.EVERYONE)


class Agent(models.Model):
    class Visibility(models.TextChoices):
        EVERYONE = "everyone"
        STAFF = "staff"

    # The name is the identity: rows refer to it, people mention it, and it never changes.
    name = models.CharField(
        max_length=64, primary_key=True, validators=[RegexValidator(r"^[A-Za-z][A-Za-z0-9_-]*\Z", "a word")]
    )
    title = models.CharField(max_length=120, blank=True)
    avatar = models.CharField(max_length=200, blank=True)
    color = models.CharField(max_length=20, blank=True)
    instructions = models.TextField(blank=True)
    llm = models.CharField("LLM", max_length=200, blank=True, help_text="Empty: the server's own (CHAT_LLM).")
    # Asked in this order when `llm` fails. Null: the server's own (CHAT_FALLBACKS); an empty list: none.
    fallbacks = models.JSONField(null=True, blank=True, default=None, validators=[check_names])
    mode = models.CharField(max_length=32, default="direct")
    tools = models.JSONField(default=list, blank=True, validators=[check_names])  # what it may call, by name
    # What its LLM is told of the talk: {"tokens": at most so many, "summary": false for none of what is older}.
    context = models.JSONField(default=dict, blank=True, validators=[check_context])
    # What one run may take: {"steps": calls of its LLM, "seconds": of work, "cost_usd": of tokens}.
    run_limit = models.JSONField(default=dict, blank=True, validators=[check_run_limit])
    interrupt_expires_s = models.PositiveIntegerField(
        "questions are open for, seconds", default=1800, help_text="0: its questions stay open for ever."
    )
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.EVERYONE)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = Agents.as_manager()

    DEFAULT = "assistant"

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def is_visible_to(self, user: User) -> bool:
        return self.visibility == Agent.Visibility.EVERYONE or user.is_staff

    def clean(self) -> None:
        """Check what is known elsewhere. Raises `ValidationError`, by field."""
        wrong = {}
        if self.mode not in MODES:
            wrong["mode"] = f"There is no such mode; there is {', '.join(MODES)}."
        if self.llm and not LLM_NAME.fullmatch(self.llm):
            wrong["llm"] = LLM_EXPECTED
        if isinstance(self.fallbacks, list) and not all(LLM_NAME.fullmatch(str(name)) for name in self.fallbacks):
            wrong["fallbacks"] = LLM_EXPECTED
        if isinstance(self.tools, list) and (unknown := self._unknown_tools()):
            wrong["tools"] = f"No worker has told of {', '.join(unknown)}."
        if wrong:
            raise ValidationError(wrong)

    def _unknown_tools(self) -> list[str]:
        """What is asked for and not there. What an agent has had may stay: its tool may be away for a moment only."""
        wanted = {str(name) for name in self.tools}
        unknown = wanted.difference(Tool.objects.filter(name__in=wanted).values_list("name", flat=True))
        for had in Agent.objects.filter(pk=self.pk).values_list("tools", flat=True) if unknown else ():
            unknown.difference_update(had)
        return sorted(unknown)

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
            "tools": self.tools,
            "context": self.context,
            "run_limit": self.run_limit,
            "interrupt_expires_s": self.interrupt_expires_s,
            "visibility": self.visibility,
            "enabled": self.enabled,
            "created_at": protocol.time(self.created_at),
            "updated_at": protocol.time(self.updated_at),
        }
