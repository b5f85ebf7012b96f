"""The ledger: each call of a tool, written down before it takes effect."""

import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.runs import Run
from chat.models.sessions import ChatSession
from chat.models.tools import Tool


class ToolCalls(models.QuerySet["ToolCall"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=ToolCall.UNFINISHED)

    def in_order(self) -> Self:
        return self.order_by("step", "index")


class ToolCall(models.Model):
    class Status(models.TextChoices):
        WAITING = "waiting"  # for a person: to approve it, to answer it, or to say what became of it
        HELD = "held"  # until one before it in its step is settled
        CALLED = "called"
        RETURNED = "returned"
        FAILED = "failed"
        REFUSED = "refused"
        SKIPPED = "skipped"  # one before it in its step was refused
        UNKNOWN = "unknown"  # called, not seen to return, and not to be called again unasked
        CANCELLED = "cancelled"

    UNFINISHED = (Status.WAITING, Status.HELD, Status.CALLED, Status.UNKNOWN)

    Effect = Tool.Effect
    Access = Tool.Access

    # Also that of the message which shows the call, and the key with which an idempotent tool is called.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="tool_calls", db_index=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tool_calls", db_index=False)
    step = models.PositiveIntegerField()  # of its run, from 0
    index = models.PositiveIntegerField()  # in its step, in the order of the LLM
    call_id = models.CharField(max_length=200)  # what the LLM named it
    tool = models.CharField(max_length=64)
    effect = models.CharField(max_length=10, choices=Effect.choices)
    access = models.CharField(max_length=5, choices=Access.choices)
    needs_approval = models.BooleanField(default=False)
    args_json = models.TextField()  # as the LLM wrote them
    args = models.JSONField(default=dict)  # as they are called, perhaps edited by whoever approved them
    status = models.CharField(max_length=10, choices=Status.choices)
    calls = models.PositiveIntegerField(default=0)  # how often it was called
    attempt = models.PositiveIntegerField(default=0)  # of its run, that called it last
    result = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    text = models.TextField(blank=True)  # what the LLM is told of it

    created_at = models.DateTimeField(default=timezone.now)
    called_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = ToolCalls.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("run", "step", "index"), name="one_tool_call_a_place")]
        indexes = [
            models.Index(fields=("session",), name="tool_calls_of_a_session"),
            models.Index(fields=("status", "created_at"), name="tool_calls_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.status}"

    @property
    def duration_s(self) -> float | None:
        if self.called_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.called_at).total_seconds(), 3)

    def as_data(self) -> protocol.ToolCallData:
        data: protocol.ToolCallData = {
            "tool_call_id": str(self.id),
            "tool": self.tool,
            "args": self.args,
            "status": self.status,
            "access": self.access,
        }
        if self.status == ToolCall.Status.RETURNED:
            data["result"] = self.result
        if self.error is not None:
            data["error"] = self.error
        if self.duration_s is not None:
            data["duration_s"] = self.duration_s
        return data
