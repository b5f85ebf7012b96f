"""The log of a session: gapless, in commit order, and what every client resumes from."""

from collections.abc import Iterable
from typing import Self

from django.db import models

from chat import protocol
from chat.models.sessions import ChatSession


class Events(models.QuerySet["Event"]):
    def after(self, seq: int) -> Self:
        return self.filter(seq__gt=seq).order_by("seq")


class Event(models.Model):
    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="events", db_index=False)
    seq = models.BigIntegerField()
    type = models.CharField(max_length=40)
    run_id = models.UUIDField(null=True, blank=True)
    author_id = models.UUIDField(null=True, blank=True)  # the one person who may see data.key
    at = models.DateTimeField()
    data = models.JSONField(default=dict)

    objects = Events.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("session", "seq"), name="one_event_a_seq")]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"

    def as_frame(self) -> protocol.Frame:
        return protocol.Frame.make(
            type=self.type,
            session_id=str(self.session_id),
            run_id=protocol.text_or_none(self.run_id),
            seq=self.seq,
            at=self.at,
            author_id=protocol.text_or_none(self.author_id),
            data=self.data,
        )


def frames(events: Iterable[Event]) -> list[protocol.Frame]:
    return [event.as_frame() for event in events]
