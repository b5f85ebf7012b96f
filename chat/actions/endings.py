"""What every end of a run has in common: what is still said of it, and what may go on."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from chat import jobs
from chat.actions import joined
from chat.actions.events import Log, on_commit
from chat.actions.sessions import settle
from chat.models import Message, Run
from chat.prepared import Asked, Given, Prepared

Status = Run.Status


def keep_partial(log: Log, run: Run, text: str, *, complete: bool = True) -> None:
    """Store what was shown of an answer that will not be finished, under the id that it was shown with."""
    data: dict[str, Any] = {"interrupted": True}
    if not complete:
        data["incomplete"] = True  # more may have been shown than could be saved
    say(log, run, message_id=run.answer_id, content=text, data=data)


def say(
    log: Log,
    run: Run,
    *,
    content: str,
    message_id: UUID | None = None,
    role: str = Message.Role.ASSISTANT,
    kind: str = "text",
    category: str = "chat",
    data: dict[str, Any] | None = None,
) -> Message:
    """Write a message of a run: its agent's, or the system's."""
    system = {"kind": "system", "name": "system", "title": "", "avatar": "", "color": ""}
    message = Message(
        id=message_id or uuid4(),
        session_id=run.session_id,
        seq=log.next_seq,
        run_id=run.pk,
        position=run.position,
        parent_id=run.message_id,
        role=role,
        author=system if role == Message.Role.SYSTEM else run.agent.as_author(),
        kind=kind,
        category=category,
        content=content,
        data=data or {},
        created_at=log.now,
        updated_at=log.now,
    )
    log.add_row(message)
    log.append_event("message.created", message.as_data(), run_id=run.pk)
    log.touch()
    return message


OPEN_RUNS = Prepared(
    lambda: Run.objects.open().filter(session_id=Given("session_id")).order_by("position").values_list("pk", "status")
)


def _held_runs() -> "QuerySet[Run, UUID]":
    """The oldest run of a user that waits, in another session, for nothing but a free slot."""
    busy = Run.objects.filter(session_id=OuterRef("session_id"), status__in=(Status.RUNNING, Status.INTERRUPTED))
    waiting = Run.objects.filter(user_id=Given("user_id"), status=Status.QUEUED)
    return (
        waiting.exclude(session_id=Given("session_id"))
        .exclude(Exists(busy))
        .order_by("queued_at")
        .values_list("pk", flat=True)[:1]
    )


_HELD_RUNS = Prepared(_held_runs)


@dataclass(slots=True)
class Following:
    """What may go on when a run ends or is put back: to be asked for after the change, in one round trip with it."""

    run: Run
    open_runs: Asked[tuple[UUID, str]]
    unread: Asked[Message]
    held_runs: Asked[UUID] | None  # None: nobody is held for want of a slot

    @classmethod
    def after(cls, run: Run) -> Self:
        limited = settings.CHAT_RUNS_PER_USER > 0
        return cls(
            run,
            OPEN_RUNS.ask(session_id=run.session_id),
            joined.UNREAD.ask(session_id=run.session_id),
            _HELD_RUNS.ask(user_id=run.user_id, session_id=run.session_id) if limited else None,
        )

    @property
    def asked(self) -> list[Asked[Any]]:
        asked: list[Asked[Any]] = [self.open_runs, self.unread]
        return asked if self.held_runs is None else [*asked, self.held_runs]

    def ring(self, log: Log, instead: Run | None = None) -> None:
        """Ring for what may go on, in the session of the run and its user's others; settle the session's status.

        What joined the run too late is queued here. `instead` is a run that has just taken its place. Call it before
        the event that tells of the change: that one is to be the last.
        """
        waiting = list(self.open_runs.rows)
        if instead is not None:
            waiting.insert(0, (instead.pk, instead.status))
        if self.run.pk not in {run_id for run_id, _ in waiting}:
            late = joined.carry_on(log, self.run, self.unread.rows)
            if late is not None:
                waiting.append((late.pk, late.status))
        settle(log, {status for _, status in waiting})
        if waiting and waiting[0][1] == Status.QUEUED:
            on_commit(partial(jobs.run_agent, waiting[0][0], self.run.session_id))
        if self.held_runs is not None and self.held_runs.first is not None:
            on_commit(partial(jobs.run_agent, self.held_runs.first))
