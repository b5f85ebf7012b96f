"""All hubs of a process: made when somebody looks, ended when nobody does."""

import asyncio
import logging
from uuid import UUID

from structlog.contextvars import clear_contextvars

from chat import metrics, shards
from chat.database import reading
from chat.errors import NotFound
from chat.hub.hub import Hub
from chat.hub.reads import read_positions
from chat.hub.viewer import Viewer
from chat.models import ChatSession
from chat.protocol import Frame

log = logging.getLogger(__name__)

POSITION_S = 5.0
POSITION_WITHOUT_REDIS_S = 0.5


class Hubs:
    def __init__(self) -> None:
        self._hubs: dict[UUID, Hub] = {}
        self._checking: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    def count(self) -> int:
        return len(self._hubs)

    def count_viewers(self) -> int:
        return sum(len(hub.viewers) for hub in tuple(self._hubs.values()))

    def hold(self, session_id: UUID) -> Hub:
        """Take a session's hub, and make it where there is none. `release` it, whatever happens."""
        hub = self._hubs.get(session_id)
        if hub is None or hub.is_dead:
            hub = self._hubs[session_id] = Hub(session_id)
        hub.holders += 1
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check_positions())
        return hub

    def release(self, hub: Hub) -> None:
        hub.holders -= 1
        if hub.holders:
            return
        if self._hubs.get(hub.session_id) is hub:
            del self._hubs[hub.session_id]
        task = asyncio.ensure_future(hub.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def join(self, viewer: Viewer, session: ChatSession, after: int | None) -> Hub:
        """Hold a hub and follow it, until `leave`. Raises what `Hub.admit` and `Hub.follow` raise."""
        hub = self.hold(session.pk)
        try:
            viewer.seq = await hub.admit(session, after)
            await hub.follow(viewer)
        except BaseException:
            self.release(hub)
            raise
        return hub

    def leave(self, hub: Hub, viewer: Viewer) -> None:
        hub.leave(viewer)
        self.release(hub)

    async def apply(self, session_id: UUID, frames: list[Frame]) -> None:
        """Relay frames of this process's own action to its viewers now, before they arrive by Redis.

        No frames: somebody else was faster. What they did is read from the table, and relayed before this returns.
        """
        hub = self._hubs.get(session_id)
        if hub is None:
            return
        hub.holders += 1
        try:
            await hub.apply(frames)
        finally:
            self.release(hub)

    async def _check_positions(self) -> None:
        """Read the table now and then: nothing else notices that the last frame was lost, or delivers without Redis."""
        clear_contextvars()
        waited_s = 0.0
        while self._hubs:
            await asyncio.sleep(POSITION_WITHOUT_REDIS_S)
            waited_s += POSITION_WITHOUT_REDIS_S
            layer = shards.layer()
            everyone = waited_s >= POSITION_S
            if everyone:
                waited_s = 0.0
            suspects = [
                hub for hub in self._hubs.values() if hub.is_live and (everyone or not layer.is_healthy(hub.group))
            ]
            if not suspects:
                continue
            try:
                positions = await reading(read_positions, [hub.session_id for hub in suspects])
            except Exception as problem:  # the database is away: look again in a moment
                log.warning("checking positions failed: %s", type(problem).__name__)
                continue
            for hub in suspects:
                last = positions.get(hub.session_id)
                if last is None:
                    hub.end(NotFound())
                elif last > hub.last:
                    hub.resync()


hubs = Hubs()
metrics.HUBS.read_by(hubs.count)
metrics.VIEWERS.read_by(hubs.count_viewers)
