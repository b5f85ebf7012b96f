"""A session's frames as server-sent events: what a socket that follows it would be told, over plain HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from uuid import UUID, uuid4

from django.http import HttpRequest

from chat import limits, metrics, protocol, servers
from chat.api.answers import Stream
from chat.api.waiting import hold
from chat.auth import Credential
from chat.database import reading
from chat.errors import ChatError
from chat.guests import guests
from chat.hub import Hub, hubs, read_membership
from chat.protocol import Reader
from chat.subscriptions import Subscription
from chat.writer import Writer

log = logging.getLogger(__name__)

COMMENT_S = 15.0
GOODBYE_S = 1.0
COMMENT = ":\n\n"
RETRY = "retry: 1000\n\n"  # ms: how long an EventSource waits before it comes back


def is_asked_for(request: HttpRequest) -> bool:
    """Whether a client names it: one that takes anything gets JSON. HEAD has no body that could go on."""
    accepted = request.headers.get("Accept", "")
    return request.method == "GET" and any(
        one.partition(";")[0].strip().lower() == Stream.media_type for one in accepted.split(",")
    )


async def open_stream(request: HttpRequest, credential: Credential, session_id: UUID, after: int) -> "EventStream":
    """Begin to follow. Raises `NotFound`, `InvalidInput`, `TooOld`, `TooManyConnections`, `Unavailable`."""
    session, reader = await reading(read_membership, credential.user, session_id)
    stream_id = uuid4().hex
    try:
        await hold(credential.user, stream_id)
        hub = hubs.hold(session_id)
        try:
            after = await hub.admit(session, after)
        except BaseException:
            hubs.release(hub)
            raise
    except BaseException:
        limits.release_socket(credential.user.pk, stream_id)
        raise
    return EventStream(stream_id, request, credential, hub=hub, reader=reader, after=after)


class Followed(Subscription):
    """The session of a stream."""

    def __init__(self, writer: Writer, stream_id: str, hub: Hub, reader: Reader, after: int) -> None:
        self.over = asyncio.Event()
        super().__init__(writer, stream_id, hub, reader, after)

    def on_removed(self, problem: ChatError | None) -> None:
        super().on_removed(problem)
        self.over.set()


class EventStream:
    """The body of a response. It goes on until its session, its credential, its client or the server ends."""

    def __init__(
        self, stream_id: str, request: HttpRequest, credential: Credential, *, hub: Hub, reader: Reader, after: int
    ) -> None:
        scope = getattr(request, "scope", {})
        self._drop = scope.get("chat.drop", lambda: None)
        self.guest_id = stream_id
        self._credential = credential
        self._is_over = False
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()  # never more than one of the writer's
        self._writer = Writer(self._send, scope.get("chat.drained", servers.at_once), self._start_again)
        self._followed = Followed(self._writer, stream_id, hub, reader, after)
        works = (self._writer.work(), self._comment(), self._end_with_session())
        self._tasks = [asyncio.ensure_future(self._guarded(work)) for work in works]
        guests.enter(self, credential)
        servers.on_goodbye(self.end)
        # A client that goes away before the first piece was asked for ends no generator: that one never began.
        request_task = asyncio.current_task()
        assert request_task is not None
        request_task.add_done_callback(lambda _: self.close())

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            yield RETRY  # at once: a server may keep the headers until there is something of a body
            while (piece := await self._pieces.get()) is not None:
                yield piece
                self._pieces.task_done()
        finally:
            self.close()

    async def _send(self, texts: Sequence[str]) -> None:
        self._pieces.put_nowait("".join(map(protocol.server_sent, texts)))
        await self._pieces.join()

    def _start_again(self) -> None:
        metrics.SOCKETS_BEHIND.n += 1
        log.info("a stream of user %s fell behind", self._credential.user.pk)
        self._followed.start_again()

    # --- its end ------------------------------------------------------------------------------------------------------
    def end(self) -> None:
        """Send nothing more, and end the response as soon as the client takes it."""
        self._followed.end()
        self._pieces.put_nowait(None)

    def close(self) -> None:
        """Let go of everything at once, however it ended."""
        if self._is_over:
            return
        self._is_over = True
        guests.leave(self)
        servers.off_goodbye(self.end)
        self._followed.end()
        for task in self._tasks:
            task.cancel()
        limits.release_socket(self._credential.user.pk, self.guest_id)

    async def _guarded(self, work: Awaitable[None]) -> None:
        """A task that dies takes the stream along: half of one would hang for ever."""
        try:
            await work
        except Exception:
            log.exception("a stream failed")
            self._drop()
            self.end()

    async def _end_with_session(self) -> None:
        await self._followed.over.wait()
        await self._writer.idle.wait()
        self.end()

    async def _comment(self) -> None:
        """Keep what lies between from taking a quiet stream for a dead one."""
        while True:
            await asyncio.sleep(COMMENT_S)
            if self._pieces.empty():
                self._pieces.put_nowait(COMMENT)

    # --- as a guest -------------------------------------------------------------------------------------------------
    @property
    def is_stalled(self) -> bool:
        return self._writer.is_stalled

    async def on_stalled(self) -> None:
        metrics.SOCKETS_CLOSED.labels("4408").inc()
        self._drop()

    async def on_ended(self) -> None:
        metrics.SOCKETS_CLOSED.labels("4401").inc()
        self.end()
        await asyncio.sleep(GOODBYE_S)
        self._drop()
