"""One complete thing said. Never a fragment."""

import uuid
from typing import Any, Self

from django.db import models
from django.utils import timezone

from chat import protocol
from chat.models.sessions import ChatSession
from chat.models.users import User

# What its data holds to know a repeated send by, and nobody is shown: the words before they were changed, and the run
# that its sender was told of.
AS_SENT = ("sent_as", "sent_to")


class Messages(models.QuerySet["Message"]):
    def newest_first(self) -> Self:
        return self.order_by("-seq")

    def shown(self) -> Self:
        """Those that nobody has taken back."""
        return self.filter(deleted_at=None)

    def unread(self) -> Self:
        """Those that joined a run which has not read them yet."""
        return self.filter(joined=True, read_step=None)


class Message(models.Model):
    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"
        TOOL = "tool"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="messages", db_index=False)
    seq = models.BigIntegerField()  # of its message.created: the order of the talk is the order of the log
    # The run that it started, that said it or (if `joined`) that it joined: this is its place in the talk.
    run = models.ForeignKey(
        "chat.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="messages", db_index=False
    )
    # Its run's, so that the talk is found in order. Null: no run, or written by a process from before migration 0013.
    position = models.BigIntegerField(null=True, blank=True, editable=False)
    joined = models.BooleanField(default=False)
    read_step = models.PositiveIntegerField(null=True, blank=True)  # if joined: before which step of its run
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replies", db_index=False
    )
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    key = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001 - NULL: many messages without a key
    role = models.CharField(max_length=10, choices=Role.choices)
    # A copy, not a reference: what was said stays said by whom it was said by, and the log never contradicts the rows.
    author = models.JSONField(default=dict)
    kind = models.CharField(max_length=20, default="text")
    category = models.CharField(max_length=10, default="chat")
    content = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)
    attachments = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = Messages.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("session", "user", "key"), name="one_message_a_key"),
            models.UniqueConstraint(fields=("session", "seq"), name="one_message_a_seq"),
        ]
        # Deleting a session looks here for what refers to its rows; without them it reads the whole table each time.
        indexes = [
            models.Index(fields=("run",), condition=models.Q(run__isnull=False), name="messages_of_a_run"),
            models.Index(fields=("parent",), condition=models.Q(parent__isnull=False), name="messages_of_a_parent"),
            models.Index(fields=("run", "seq"), condition=models.Q(joined=True), name="messages_joined"),
            # What an LLM reads: its newest lines are found at once, however long the session is.
            models.Index(
                fields=("session", "position", "seq"),
                condition=models.Q(kind="text", deleted_at=None, role__in=("user", "assistant")),
                name="messages_of_the_talk",
            ),
            models.Index(
                fields=("run",),
                condition=models.Q(position=None, run__isnull=False),
                name="messages_without_position",
            ),
            # The seq keeps it in order: without it, SQLite would choose the index of all messages.
            models.Index(
                fields=("session", "seq"), condition=models.Q(joined=True, read_step=None), name="messages_unread"
            ),
        ]

    def __str__(self) -> str:  # without the talk: logs say it, and pages of the admin that write no look down
        return f"{self.seq} {self.role}"

    @staticmethod
    def is_talk(data: dict[str, Any]) -> bool:
        """Whether an LLM is to read it later.

        Not what was broken off, what only said that nothing works, and what was withdrawn before anybody answered it.
        """
        return not (data.get("interrupted") or data.get("emergency") or data.get("withdrawn"))

    def as_data(self, *, show_key: bool = True) -> protocol.MessageData:
        data: dict[str, Any] = self.data
        if any(name in data for name in AS_SENT):
            data = {name: value for name, value in data.items() if name not in AS_SENT}
        if self.joined:
            data = {**data, "joined": {"run_id": str(self.run_id), "read": self.read_step is not None}}
        return {
            "message_id": str(self.id),
            "session_id": str(self.session_id),
            "run_id": None if self.joined else protocol.text_or_none(self.run_id),
            "parent_id": protocol.text_or_none(self.parent_id),
            "key": self.key if show_key else None,
            "role": self.role,
            "author": self.author,
            "kind": self.kind,
            "category": self.category,
            "content": self.content,
            "data": data,
            "attachments": self.attachments,
            "created_at": protocol.time(self.created_at),
            "updated_at": protocol.time(self.updated_at),
            "deleted_at": protocol.time_or_none(self.deleted_at),
        }
