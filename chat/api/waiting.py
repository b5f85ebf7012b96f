"""Requests that wait for something in a session: viewers of its hub, as sockets are. They hold no thread."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import Field

from chat import limits, servers
from chat.database import reading
from chat.errors import ChatError
from chat.hub import Viewer, hubs, read_membership
from chat.models import Run, User
from chat.protocol import Frame, Reader

WAIT_MAX_S = 60

Wait = Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False)]  # seconds

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
    """Return when a run is over, or can be followed no more. Raises `NotFound`, `Unavailable`."""
    session, reader = await reading(read_membership, user, session_id)
    viewer = EndOfRun(reader, run_id)
    hub = await hubs.join(viewer, session, None)
    try:
        # Asked after joining: an end before that is seen here, and one after it is told by the hub.
        if not await reading(_is_over, run_id):
            await _until_told(viewer.came)
    finally:
        hubs.leave(hub, viewer)


class NextEvent(Viewer):
    """Waits until there is anything new in the log."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader, seq=0)
        self.came = asyncio.Event()

    def on_event(self, frame: Frame) -> None:
        self.came.set()

    def on_removed(self, problem: ChatError | None) -> None:
        self.came.set()


async def hold(user: User, request_id: str) -> None:
    """Count a request among the user's sockets, until `limits.release_socket`. Raises `TooManyConnections`."""
    holding = asyncio.ensure_future(reading(limits.hold_socket, user.pk, request_id))
    try:
        await asyncio.shield(holding)
    except asyncio.CancelledError:
        # The thread goes on: what it counts for a client that is gone would stay counted.
        holding.add_done_callback(lambda _: limits.release_socket(user.pk, request_id))
        raise


@asynccontextmanager
async def held(user: User) -> AsyncIterator[None]:
    """Count a request that waits among its user's sockets. Raises `TooManyConnections`."""
    request_id = uuid4().hex
    try:
        await hold(user, request_id)
        yield
    finally:
        limits.release_socket(user.pk, request_id)


async def until_event(user: User, session_id: UUID, after: int) -> None:
    """Return when the log goes beyond a number, or can be followed no more.

    Raises `NotFound`, `InvalidInput`, `TooOld`, `TooManyConnections`, `Unavailable`.
    """
    session, reader = await reading(read_membership, user, session_id)
    async with held(user):  # who asks with so many at once is bounded here
        viewer = NextEvent(reader)
        hub = await hubs.join(viewer, session, after)
        try:
            await _until_told(viewer.came)
        finally:
            hubs.leave(hub, viewer)


async def _until_told(came: asyncio.Event) -> None:
    """Wait; but not for longer than the server lives: who waits is answered with what there is."""
    servers.on_goodbye(came.set)
    try:
        await came.wait()
    finally:
        servers.off_goodbye(came.set)


def _is_over(run_id: UUID) -> bool:
    return not Run.objects.filter(pk=run_id, status__in=(Run.Status.QUEUED, Run.Status.RUNNING)).exists()
