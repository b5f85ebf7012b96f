"""What hubs read from the database."""

from dataclasses import dataclass
from uuid import UUID

from chat.database import read_snapshot
from chat.errors import NotFound
from chat.hub.drafts import RunningRun
from chat.models import ChatSession, Event, Member, Run, User
from chat.models.events import frames
from chat.protocol import Frame, Reader

PAGE = 100  # rows read from the table at once: one who does not read keeps a page of up to 10 kB each waiting


@dataclass(frozen=True, slots=True)
class State:
    """What a hub begins with, in one snapshot."""

    last: int
    roles: dict[str, str]  # of the members, by user_id
    runs: list[RunningRun]


def read_state(session_id: UUID) -> State:
    """Raises `NotFound`."""
    with read_snapshot():
        last = ChatSession.objects.filter(pk=session_id).values_list("last_seq", flat=True).first()
        if last is None:
            raise NotFound
        members = Member.objects.filter(session_id=session_id).values_list("user_id", "role")
        running = Run.objects.filter(session_id=session_id, status=Run.Status.RUNNING).select_related("agent")
        return State(
            last,
            {str(user_id): role for user_id, role in members},
            [RunningRun(str(run.pk), run.attempt, run.drafts, dict(run.agent.as_author())) for run in running],
        )


def read_events(session_id: UUID, after: int) -> list[Frame]:
    return frames(Event.objects.filter(session_id=session_id).after(after)[:PAGE])


def read_membership(user: User, session_id: UUID) -> tuple[ChatSession, Reader]:
    """A session and its reader. Raises `NotFound`."""
    member = Member.objects.select_related("session").filter(session_id=session_id, user=user).first()
    if member is None:
        raise NotFound
    return member.session, Reader(str(user.pk), member.role)


def read_positions(session_ids: list[UUID]) -> dict[UUID, int]:
    return dict(ChatSession.objects.filter(pk__in=session_ids).values_list("id", "last_seq"))
