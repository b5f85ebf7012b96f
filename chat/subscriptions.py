"""One session on one socket: follows its hub, and begins again after what was written when the socket fell behind."""

import asyncio
import logging
from collections.abc import Callable

from django.db import Error as AnyDatabaseError

from chat import protocol
from chat.errors import ChatError, NotFound, TooOld
from chat.hub import Hub, Viewer, hubs
from chat.protocol import Delta, Frame, Reader
from chat.writer import Writer

log = logging.getLogger(__name__)

RETRY_S = 0.5


class Subscription(Viewer):
    """Takes over one hold on the hub, and releases it at its end."""

    def __init__(self, writer: Writer, socket_id: str, hub: Hub, reader: Reader, after: int) -> None:
        super().__init__(reader, after)
        self.session_id = hub.session_id
        self.when_removed: Callable[[Subscription], None] = lambda _: None
        self.written = after
        self.is_over = False
        self._writer = writer
        self._socket_id = socket_id
        self._hub = hub
        self._following = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                await self._hub.follow(self)
                return
            except (NotFound, TooOld) as problem:
                self.on_removed(problem)
                return
            except (AnyDatabaseError, ChatError) as problem:
                log.warning("following %s failed: %s", self._hub.session_id, type(problem).__name__)
                await asyncio.sleep(RETRY_S)

    def start_again(self) -> None:
        """Go on after what was written: what came later was dropped."""
        if self.is_over:
            return
        self._following.cancel()
        self._hub.leave(self)
        self.seq = self.written
        self._following = asyncio.ensure_future(self._follow())

    async def caught_up(self) -> None:
        """Wait until everything that the hub knows is queued."""
        while not self.is_over and (self._writer.is_behind or not self._following.done()):
            await (self._writer.idle.wait() if self._writer.is_behind else asyncio.wait({self._following}))

    def end(self) -> None:
        """Stop at once: nothing here may wait, a hub must never hold a dead socket."""
        if not self.is_over:
            self.is_over = True
            self._following.cancel()
            self._writer.drop(self)
            hubs.leave(self._hub, self)

    # --- what the hub tells -------------------------------------------------------------------------------------------
    async def room(self) -> None:
        await self._writer.room()

    def on_event(self, frame: Frame) -> None:
        self._writer.put_fact(frame.text_for(self.reader), self, frame.seq, frame.run_id)

    def on_delta(self, delta: Delta) -> None:
        self._writer.put_delta(delta, self)

    def on_live(self, text: str, sender: str) -> None:
        if sender != self._socket_id:
            self._writer.put_live(text, self)

    def forget(self, *, run_id: str | None = None, message_id: str | None = None) -> None:
        self._writer.forget(run_id=run_id, message_id=message_id)

    def on_removed(self, problem: ChatError | None) -> None:
        self.is_over = True
        hubs.leave(self._hub, self)
        if self._writer.is_behind:
            problem = problem or NotFound()  # the frame that told of it was not taken
        if problem is not None:
            self._writer.put_answer(protocol.error(None, problem, session_id=str(self._hub.session_id)))
        self.when_removed(self)
