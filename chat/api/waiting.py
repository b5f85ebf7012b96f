"""Requests that wait for something in a session: viewers of its hub, as sockets are. They hold no thread."""

import asyncio
from uuid import UUID

from chat.database import reading
from chat.errors import ChatError
from chat.hub import Viewer, hubs, read_membership
from chat.models import Run, User
from chat.protocol import Frame, Reader

OVER = {"run.succeeded", "run.failed", "run.cancelled", "run.interrupted"}


class EndOfRun(Viewer):
    """Waits until a run has ended, or asks a question."""

    def __init__(self, reader: Reader, run_id: UUID) -> None:
        super().__init__(reader, seq=0)
        self.run_id = str(run_id)
        self.came = asyncio.Event()

    def on_event(self, frame: Frame) -> None:
        if frame.run_id == self.run_id and frame.type in OVER:
            self.came.set()

    def on_removed(self, problem: ChatError | None) -> None:
        self.came.set()


async def until_over(user: User, session_id: UUID, run_id: UUID) -> None:
    """Return when a run is over, for as long as it takes. Raises `NotFound`, `Unavailable`."""
    session, reader = await reading(read_membership, user, session_id)
    viewer = EndOfRun(reader, run_id)
    hub = await hubs.join(viewer, session, None)
    try:
        # Asked after joining: an end before that is seen here, and one after it is told by the hub.
        if not await reading(_is_over, run_id):
            await viewer.came.wait()
    finally:
        hubs.leave(hub, viewer)


def _is_over(run_id: UUID) -> bool:
    return not Run.objects.filter(pk=run_id, status__in=(Run.Status.QUEUED, Run.Status.RUNNING)).exists()
