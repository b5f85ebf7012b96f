"""A question that only a person can settle: a row, so that whoever answers it may do so any day, by any door."""

import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.runs import Run
from chat.models.sessions import ChatSession
from chat.models.tool_calls import ToolCall
from chat.models.users import User


class Interrupts(models.QuerySet["Interrupt"]):
    def open(self) -> Self:
        return self.filter(status=Interrupt.Status.OPEN)

    def in_order(self) -> Self:
        return self.order_by("created_at", "id")

    def visible_to(self, user: User) -> Self:
        return self.filter(session__members__user=user)


class Interrupt(models.Model):
    class Reason(models.TextChoices):
        APPROVAL = "approval"
        QUESTION = "question"
        CHOICE = "choice"

    class Status(models.TextChoices):
        OPEN = "open"
        RESOLVED = "resolved"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="interrupts", db_index=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="interrupts", db_index=False)
    tool_call = models.ForeignKey(  # that it is about; a call may be asked about more than once
        ToolCall, null=True, blank=True, on_delete=models.CASCADE, related_name="interrupts"
    )
    reason = models.CharField(max_length=10, choices=Reason.choices)
    prompt = models.TextField()
    payload = models.JSONField(default=dict, blank=True)
    answer_schema = models.JSONField(default=dict, blank=True)
    # Of an approval: of the tool and the exact args that were shown to whoever decides. Not on the wire.
    args_hash = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    answer = models.JSONField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = Interrupts.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=("run", "status"), name="interrupts_of_a_run"),
            models.Index(fields=("session", "status"), name="interrupts_of_a_session"),
            models.Index(fields=("status", "expires_at"), name="interrupts_by_status"),
        ]

    def __str__(self) -> str:  # without the talk: logs say it, and pages of the admin that write no look down
        return f"{self.reason} {self.status}"

    def as_resolved(self) -> protocol.ResolvedData:
        return {"interrupt_id": str(self.id), "run_id": str(self.run_id)}

    def as_data(self) -> protocol.InterruptData:
        return {
            "interrupt_id": str(self.id),
            "session_id": str(self.session_id),
            "run_id": str(self.run_id),
            "reason": self.reason,
            "prompt": self.prompt,
            "payload": self.payload,
            "answer_schema": self.answer_schema,
            "status": self.status,
            "answer": self.answer,
            "resolved_by": protocol.text_or_none(self.resolved_by_id),
            "expires_at": protocol.time_or_none(self.expires_at),
            "created_at": protocol.time(self.created_at),
        }
