"""The WebSocket's door: reads commands, asks actions, and answers. What hubs relay goes past it, to the writer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID, uuid4

from channels.consumer import AsyncConsumer
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.utils import timezone
from structlog.contextvars import bind_contextvars, bound_contextvars

from chat import auth, limits, metrics, protocol, servers, stream, tracing
from chat.actions import interrupts, members, messages, runs
from chat.database import reading, writing
from chat.errors import ChatError, Internal, InvalidInput, NotAuthenticated, TooLarge, Unavailable
from chat.guests import guests
from chat.hub import hubs, read_membership
from chat.protocol import Command
from chat.protocol.commands import CONTENT_MAX, FRAME_MAX_BYTES, Unreadable
from chat.subscriptions import Subscription
from chat.writer import Writer

log = logging.getLogger(__name__)

HEARTBEAT_S = 20.0
INBOX_MAX = 100
REFUSED_MAX = 100
REFUSED_WINDOW_S = 10.0
GOODBYE_S = 1.0
BEHIND_S = 1.0  # who waited so long behind one that was told "unavailable" is told so, too, and not after 5 s more
FULL_POLL_S = 0.05

NOT_SIGNED_IN, FORBIDDEN_ORIGIN, SLOW, FLOOD, TOO_MANY = 4401, 4403, 4408, 4413, 4429
CLOSE_CODES = {
    "not_authenticated": NOT_SIGNED_IN,
    "forbidden_origin": FORBIDDEN_ORIGIN,
    "too_many_connections": TOO_MANY,
}


_open: set["ChatConsumer"] = set()
metrics.SOCKETS.read_by(lambda: len(_open))


class ChatConsumer(AsyncConsumer):
    """One socket, any number of sessions.

    It speaks to the server itself. Channels' own loop would give each socket a channel in Redis, which this one needs
    neither to open nor to be told anything (the hubs hand it what it sends), and would pass every frame through the one
    thread of Django's connections.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.guest_id = uuid4().hex
        self.credential: auth.Credential | None = None
        self.subscriptions: dict[UUID, Subscription] = {}
        self._asgi_send = send
        self._write = scope.get("chat.write", servers.never)
        self._tasks: list[asyncio.Task[None]] = []
        self._inbox: asyncio.Queue[tuple[Command, float]] = asyncio.Queue(INBOX_MAX)  # and when each arrived
        self._asked_at = 0.0
        self._refused: list[float] = []
        self._closing = False
        try:
            async with asyncio.timeout(None) as self._until:
                await self._listen(receive)
        except TimeoutError:
            if not self._until.expired():
                raise
        finally:
            self._leave()

    async def _listen(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.connect":
                await self._connect()
            elif message["type"] == "websocket.receive":
                await self._receive(message.get("text"))
                # It asks faster than it reads, or than it is served: then it is not read. Polled: it may be closed.
                while not self._closing and (self.writer.is_full or self._inbox.full()):  # noqa: ASYNC110
                    await asyncio.sleep(FULL_POLL_S)
            elif message["type"] == "websocket.disconnect":
                if self in _open and not self._closing:
                    ours = message.get("code") == servers.RESTARTING
                    metrics.SOCKETS_CLOSED.labels(str(servers.RESTARTING) if ours else "client").inc()
                return

    # --- opening and closing ------------------------------------------------------------------------------------------
    async def _connect(self) -> None:
        accept: dict[str, Any] = {"type": "websocket.accept"}
        if auth.SUBPROTOCOL in self.scope.get("subprotocols", ()):
            accept["subprotocol"] = auth.SUBPROTOCOL
        if servers.is_going_down():
            await self._refuse(accept, Unavailable("The server restarts.", retry_after_s=1.0))
            return
        try:
            self.credential = credential = await reading(auth.identify, self.scope)
            await reading(limits.hold_socket, credential.user.pk, self.guest_id)
        except (ChatError, AnyDatabaseError) as problem:
            await self._refuse(accept, problem)
            return
        self.user = credential.user
        bind_contextvars(user_id=str(self.user.pk))
        self.writer = Writer(self._send_texts, self.scope["chat.drained"], self._start_again, self._write)
        _open.add(self)
        metrics.SOCKETS_OPENED.n += 1
        await self._send(accept)
        await self._send_text(protocol.ready(self.user.as_data(), HEARTBEAT_S, self._limits(), timezone.now()))
        if not self._closing:
            servers.restarts.add(self._restart)
            works = (self.writer.work(), self._work())
            self._tasks = [asyncio.ensure_future(self._guarded(work)) for work in works]
            guests.enter(self, credential)

    def _limits(self) -> dict[str, Any]:
        return {
            "content_max": CONTENT_MAX,
            "frame_max_bytes": FRAME_MAX_BYTES,
            "messages_per_10s": settings.CHAT_MESSAGES_PER_10S,
            "runs_per_user": settings.CHAT_RUNS_PER_USER,
            "waiting_per_session": settings.CHAT_WAITING_PER_SESSION,
            "sockets_per_user": settings.CHAT_SOCKETS_PER_USER,
        }

    async def _refuse(self, accept: dict[str, Any], problem: Exception) -> None:
        """A refused socket is accepted, told why and closed: a browser shows a refused handshake to nobody."""
        if not isinstance(problem, ChatError):
            log.warning("a socket cannot be opened: %s", type(problem).__name__)
            problem = Unavailable()
        await self._send(accept)
        await self._close(CLOSE_CODES.get(problem.code, servers.RESTARTING), problem)

    async def _close(self, code: int, problem: ChatError) -> None:
        """Say why, and close. Nothing else is sent from now on."""
        if self._closing:
            return
        self._closing = True
        if self in _open:
            self.writer.end()
        metrics.SOCKETS_CLOSED.labels(str(code)).inc()
        metrics.ERRORS.labels("socket", problem.code).inc()
        log.info("closing a socket with %s", code)
        if code == FLOOD:  # each frame of it is to be answered
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self.writer.idle.wait()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._send_text(protocol.error(None, problem))
                await self._send({"type": "websocket.close", "code": code})
        except TimeoutError:
            # A server that makes senders wait cannot tell a client that reads nothing: then it has to drop the socket.
            self._until.reschedule(0)

    async def _restart(self) -> None:
        await self._close(servers.RESTARTING, Unavailable("The server restarts.", retry_after_s=1.0))

    def _leave(self) -> None:
        """Let go of everything at once: the server may be cancelling us, and no hub may hold a dead socket."""
        self._closing = True
        servers.restarts.discard(self._restart)
        _open.discard(self)
        guests.leave(self)
        for session_id in tuple(self.subscriptions):
            self._unfollow(session_id)
        for task in self._tasks:
            task.cancel()
        if self.credential is not None:
            limits.release_socket(self.credential.user.pk, self.guest_id)
            self.credential = None

    async def _guarded(self, work: Awaitable[None]) -> None:
        """A task of the socket that dies takes the socket along: half of one would hang for ever."""
        try:
            await work
        except Exception:
            log.exception("a socket failed")
            await self._close(servers.RESTARTING, Internal(retry_after_s=1.0))

    async def _send_text(self, text: str) -> None:
        await self._send_texts((text,))

    async def _send_texts(self, texts: Sequence[str]) -> None:
        if not self._write(texts):
            for text in texts:
                await self._send({"type": "websocket.send", "text": text})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._asgi_send(message)
        except servers.GONE:
            self._leave()  # the client was faster, and the server tells it in a moment

    # --- as a guest -------------------------------------------------------------------------------------------------
    @property
    def is_stalled(self) -> bool:
        return self.writer.is_stalled

    async def on_stalled(self) -> None:
        await self._close(SLOW, Unavailable("The client reads too slowly.", retry_after_s=1.0))

    async def on_ended(self) -> None:
        await self._close(NOT_SIGNED_IN, NotAuthenticated("The sign-in has ended."))

    # --- commands -----------------------------------------------------------------------------------------------------
    async def _receive(self, text: str | None) -> None:
        if self._closing:
            return
        try:
            command = self._read(text)
        except Unreadable as problem:
            await self._refuse_frame(problem.ref, problem)
            return
        except ChatError as problem:
            await self._refuse_frame(None, problem)
            return
        if command.type == "ping":  # never waits for the others
            self.writer.put_answer(protocol.pong(command.ref))
        else:  # there is room: else nothing would have been read
            self._inbox.put_nowait((command, time.monotonic()))

    def _read(self, text: str | None) -> Command:
        if text is None:
            raise InvalidInput("Frames are text, not binary.")
        if len(text) > FRAME_MAX_BYTES or (not text.isascii() and len(text.encode()) > FRAME_MAX_BYTES):
            raise TooLarge("A frame may have 128 KiB.")
        return protocol.read_command(text)

    async def _refuse_frame(self, ref: str | None, problem: ChatError) -> None:
        self._tell(ref, problem)
        now = asyncio.get_running_loop().time()
        self._refused = [at for at in self._refused if at > now - REFUSED_WINDOW_S] + [now]
        if len(self._refused) >= REFUSED_MAX:
            await self._close(FLOOD, InvalidInput("Too many frames were refused."))

    async def _work(self) -> None:
        """Carry out the commands of the socket in their order, one at a time."""
        is_available = True
        while True:
            command, self._asked_at = await self._inbox.get()
            if not is_available and time.monotonic() - self._asked_at > BEHIND_S:
                self._tell(command.ref, Unavailable())
                continue
            ids = {
                name: str(value) for name in ("session_id", "run_id") if (value := getattr(command.data, name, None))
            }
            with tracing.begin(command.type, **ids), bound_contextvars(**ids):
                is_available = await self._carry_out(command)
            metrics.COMMAND.labels(command.type).observe(time.monotonic() - self._asked_at)

    async def _carry_out(self, command: Command) -> bool:
        """Do it, and answer. False where that came to nothing for now."""
        try:
            await self._answers[command.type](self, command)
        except ChatError as problem:
            self._tell(command.ref, problem)
            return not isinstance(problem, Unavailable)
        except AnyDatabaseError as problem:
            log.warning("%s failed: %s", command.type, type(problem).__name__)
            self._tell(command.ref, Unavailable())
            return False
        except Exception:
            log.exception("%s failed", command.type)
            self._tell(command.ref, Internal())
        return True

    def _tell(self, ref: str | None, problem: ChatError) -> None:
        metrics.ERRORS.labels("socket", problem.code).inc()
        self.writer.put_answer(protocol.error(ref, problem))

    def _ok(self, command: Command, data: object) -> None:
        self.writer.put_answer(protocol.ok(command.ref, data))

    async def _subscribe(self, command: Command) -> None:
        session_id = command.data.session_id
        session, reader = await reading(read_membership, self.user, session_id)
        hub = hubs.hold(session_id)
        try:
            after = await hub.admit(session, command.data.after)
        except BaseException:
            hubs.release(hub)
            raise
        self._unfollow(session_id)
        self._ok(command, {"session": session.as_data(reader.role), "last_seq": session.last_seq})
        self.subscriptions[session_id] = Subscription(self.writer, self.guest_id, hub, reader, after)
        self.subscriptions[session_id].when_removed = self._forget_removed

    def _unfollow(self, session_id: UUID) -> None:
        subscription = self.subscriptions.pop(session_id, None)
        if subscription is not None:
            subscription.end()

    def _forget_removed(self, subscription: Subscription) -> None:
        """A session that is gone, or that one was taken out of: its hub would live as long as the socket."""
        if self.subscriptions.get(subscription.session_id) is subscription:
            del self.subscriptions[subscription.session_id]

    def _start_again(self) -> None:
        metrics.SOCKETS_BEHIND.n += 1
        log.info("a socket fell behind")
        for subscription in tuple(self.subscriptions.values()):
            subscription.start_again()

    async def _unsubscribe(self, command: Command) -> None:
        self._unfollow(command.data.session_id)
        await reading(members.membership, self.user, command.data.session_id)
        self._ok(command, {})

    async def _send_message(self, command: Command) -> None:
        posted = await messages.post_message(self.user, command.data.session_id, command.data)
        if not (posted.duplicate or posted.joined):
            metrics.display.start(posted.run_id, self._asked_at)
        self._ok(command, posted.as_data())

    async def _update_message(self, command: Command) -> None:
        await writing(messages.update_message, self.user, command.data.message_id, command.data.content)
        self._ok(command, {})

    async def _cancel_run(self, command: Command) -> None:
        outcome = await runs.cancel_run(self.user, command.data.run_id)
        session_id = outcome.run.session_id
        # A socket that follows the session is told of the end before it is told ok.
        await hubs.apply(session_id, outcome.frames)
        if session_id in self.subscriptions:
            await self.subscriptions[session_id].caught_up()
        self._ok(command, outcome.as_data())

    async def _retry_run(self, command: Command) -> None:
        outcome = await runs.retry_run(self.user, command.data.run_id)
        self._ok(command, outcome.as_data())

    async def _move_run(self, command: Command) -> None:
        outcome = await writing(runs.move_run, self.user, command.data.run_id, command.data.before)
        self._ok(command, outcome.as_data())

    async def _resolve_interrupt(self, command: Command) -> None:
        settled = await interrupts.resolve_interrupt(self.user, command.data.interrupt_id, command.data.answer)
        self._ok(command, settled.as_resolved())

    async def _typing(self, command: Command) -> None:
        await reading(members.writer, self.user, command.data.session_id)
        text = protocol.typing(str(command.data.session_id), self.user.as_data(), command.data.active)
        stream.publish_live(command.data.session_id, text, self.guest_id)
        self._ok(command, {})

    _answers: ClassVar[dict[str, Callable[["ChatConsumer", Command], Awaitable[None]]]] = {
        "session.subscribe": _subscribe,
        "session.unsubscribe": _unsubscribe,
        "message.send": _send_message,
        "message.update": _update_message,
        "run.cancel": _cancel_run,
        "run.retry": _retry_run,
        "run.move": _move_run,
        "interrupt.resolve": _resolve_interrupt,
        "typing": _typing,
    }
