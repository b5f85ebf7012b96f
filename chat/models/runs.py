"""One answer in progress: the queue of record, the claim and its fence."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from chat import protocol, tracing
from chat.models.agents import Agent
from chat.models.messages import Message
from chat.models.sessions import ChatSession
from chat.models.users import User
from chat.models.workers import Worker
from chat.prepared import Given


class Runs(models.QuerySet["Run"]):
    def open(self) -> Self:
        return self.filter(status__in=Run.OPEN)

    def visible_to(self, user: User) -> Self:
        return self.filter(session__members__user=user)

    def held_by(self, worker_id: uuid.UUID | Given, attempt: int | Given) -> Self:
        """The fence: nobody but this worker, in this attempt, while it runs."""
        return self.filter(status=Run.Status.RUNNING, worker_id=worker_id, attempt=attempt)


class Run(models.Model):
    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        INTERRUPTED = "interrupted"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OPEN = (Status.QUEUED, Status.RUNNING, Status.INTERRUPTED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="runs", db_index=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="runs")  # the one that asks
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="runs", db_index=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="runs")
    llm = models.CharField("LLM", max_length=200, blank=True)  # that was asked last; until one is, the chosen one
    # By the message; empty: the agent's, as it is by then. Null: written before migration 0010, into `llm` alone.
    chosen_llm = models.CharField("chosen LLM", max_length=200, null=True, blank=True)  # noqa: DJ001 - as said
    retry_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries", db_index=False
    )

    status = models.CharField(max_length=12, choices=Status.choices, default=Status.QUEUED)
    position = models.BigIntegerField()  # the seq of run.queued: ids are drawn before commit and lie about order
    # The fence. 0 until the run first starts; a run that is put back waits for its next attempt; it never falls.
    attempt = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)  # leases that ran out
    worker = models.ForeignKey(
        Worker, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs", db_index=False
    )
    slot = models.PositiveSmallIntegerField(null=True, blank=True)  # of its user's 1…n running ones

    answer_id = models.UUIDField(null=True, blank=True)  # reserved for the answer of this attempt
    drafts = models.JSONField(default=list, blank=True)  # message_ids that were promised and are not written yet
    checkpoint = models.TextField(blank=True)  # the text so far, kept only while Redis is away
    state = models.JSONField(default=dict, blank=True)  # the mode's, after its last finished step

    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField("cost, USD", max_digits=14, decimal_places=6, default=0)
    fallback_status = models.CharField(max_length=20, null=True, blank=True)  # noqa: DJ001 - null on the wire too
    error = models.JSONField(null=True, blank=True)
    # What the LLM of the last attempt was told, by reference: operators ask; it is not on the wire.
    read = models.JSONField(null=True, blank=True)

    # Where whoever works on it joins the trace of whoever asked: a W3C traceparent.
    traceparent = models.CharField(  # noqa: DJ001 - of a run that nobody traced there is none
        max_length=tracing.LENGTH, null=True, blank=True, editable=False, default=tracing.traceparent
    )

    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    interrupted_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = Runs.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("session",), condition=Q(status="running"), name="one_running_a_session"),
            models.UniqueConstraint(fields=("user", "slot"), condition=Q(status="running"), name="one_run_a_slot"),
        ]
        indexes = [
            models.Index(fields=("session", "position"), name="runs_of_a_session"),
            # A handful, even in a session that is years old; each answer asks for them four times.
            models.Index(
                fields=("session", "position"),
                condition=Q(status__in=("queued", "running", "interrupted")),
                name="runs_open",
            ),
            models.Index(fields=("user", "queued_at"), condition=Q(status="queued"), name="runs_that_wait"),
            # What the sweep looks at. Not partial: SQLite uses no partial index where its condition is bound later.
            models.Index(fields=("status", "position"), name="runs_by_status"),
            models.Index(fields=("worker",), condition=Q(worker__isnull=False), name="runs_of_a_worker"),
            models.Index(fields=("retry_of",), condition=Q(retry_of__isnull=False), name="runs_again"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @property
    def first_llm(self) -> str:
        """The LLM that each attempt asks first, whatever another one fell back to; empty: its agent's."""
        return self.llm if self.chosen_llm is None else self.chosen_llm

    @property
    def is_open(self) -> bool:
        return self.status in Run.OPEN

    def as_data(self) -> protocol.RunData:
        return {
            "run_id": str(self.id),
            "session_id": str(self.session_id),
            "message_id": protocol.text_or_none(self.answer_id),
            "question_id": str(self.message_id),
            "status": self.status,
            "position": self.position,
            "attempt": self.attempt,
            "crashes": self.crashes,
            "agent": self.agent_id,
            "llm": self.llm,
            "fallback_status": self.fallback_status,
            "usage": {
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
                "cost_usd": float(self.cost_usd),
            },
            "error": self.error,
            "queued_at": protocol.time(self.queued_at),
            "started_at": protocol.time_or_none(self.started_at),
            "interrupted_at": protocol.time_or_none(self.interrupted_at),
            "succeeded_at": protocol.time_or_none(self.succeeded_at),
            "failed_at": protocol.time_or_none(self.failed_at),
            "cancelled_at": protocol.time_or_none(self.cancelled_at),
        }
