"""One conversation: its row is the lock, and hands out the numbers of its log."""

import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.agents import Agent
from chat.models.users import User


class ChatSessions(models.QuerySet["ChatSession"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(members__user=user)


class ChatSession(models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        ACTIVE = "active"
        INTERRUPTED = "interrupted"
        WAITING = "waiting"
        COMPLETED = "completed"
        CLOSED = "closed"

    class OnBusy(models.TextChoices):
        """What becomes of a message that is sent while a run is open."""

        QUEUE = "queue"
        JOIN = "join"
        INTERRUPT = "interrupt"
        ROLLBACK = "rollback"
        REJECT = "reject"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.NEW)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="sessions", default=Agent.DEFAULT)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children")
    incident_id = models.UUIDField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    on_busy = models.CharField(max_length=10, choices=OnBusy.choices, default=OnBusy.QUEUE)
    is_titled = models.BooleanField(default=False)  # by a person, who may want none, or by the job that names sessions

    # In no index, so that the UPDATE of every action stays cheap on Postgres (a heap-only update).
    last_seq = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(default=timezone.now)
    kept_from = models.BigIntegerField(default=1)  # events below it were pruned

    # What lists are sorted by: moves with messages and status only.
    active_at = models.DateTimeField(default=timezone.now, db_index=True)
    created_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    # What the LLM is told of messages too old for its budget: all of those up to summary_seq.
    summary = models.TextField(blank=True)
    summary_seq = models.BigIntegerField(default=0)

    objects = ChatSessions.as_manager()

    class Meta:
        # What is idle, and what was closed long ago, are found by it: closed sessions only grow in number.
        indexes = [models.Index(fields=("status", "active_at"), name="sessions_by_status")]

    def __str__(self) -> str:
        return self.title or str(self.id)

    def as_data(self, my_role: str | None = None) -> protocol.SessionData:
        return {
            "session_id": str(self.id),
            "title": self.title,
            "status": self.status,
            "agent": str(self.agent_id),
            "incident_id": protocol.text_or_none(self.incident_id),
            "parent_id": protocol.text_or_none(self.parent_id),
            "metadata": self.metadata,
            "on_busy": self.on_busy,
            "my_role": my_role,
            "last_seq": self.last_seq,
            "created_at": protocol.time(self.created_at),
            "updated_at": protocol.time(self.updated_at),
        }
