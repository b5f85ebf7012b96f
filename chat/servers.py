"""What has to be known of the ASGI servers underneath: how much they still hold for a client, and how they go down.

Daphne never makes a sender wait, drops its sockets without a word on SIGTERM and has no lifespan. Its protocol object
is within reach of the outermost application, though: `aware` keeps it, reads its transport's backlog, and says goodbye
before the reactor ends. Uvicorn makes senders wait; on SIGTERM it would close its sockets with a code of its own and
wait for responses that have no end, so ours end first, and a client that reads nothing is cut off.
"""

import asyncio
import signal
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from autobahn.exception import Disconnected

from chat import inbound, protocol
from chat.errors import Unavailable

RESTARTING = 4412
BACKLOG_MAX = 256 * 1024  # bytes in the process; the kernel holds some megabytes more
POLL_S = 0.05
CACHED_MAX = 64 * 1024
UNSEEN_MAX = 8 * 1024 * 1024
GOODBYE_S = 0.5
CUT_OFF_S = 2.0  # what is not out by then is not waited for

# What sending raises when the client is gone: in daphne (once it said goodbye), in uvicorn.
GONE = (Disconnected, OSError)

# Private attributes of Twisted's transports: the pin and a test guard them.
BACKLOG = ("dataBuffer", "offset", "_tempDataLen")
UVICORNS = ("transport", "writable", "handshake_complete", "close_sent", "disconnected")  # and of uvicorn's sockets

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_protocols: "weakref.WeakSet[Any]" = weakref.WeakSet()
_goodbyes: dict[Callable[[], None], asyncio.AbstractEventLoop] = {}
_goodbye_was_said = threading.Event()
restarts: set[Callable[[], Awaitable[None]]] = set()  # what closes each open socket, where the server cannot do it


def aware(application: Application) -> Application:
    """Give every scope `chat.drained`, which returns when the server holds little for that client.

    A socket's also `chat.write`, where its transport is within reach: it writes several texts at once, past layers of
    the server that cost more than all of ours together. It gives False where the client has to be waited for, or is
    gone: `send` tells. And a request's `chat.drop`: it hangs up, whatever the server still holds.
    """

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        daphnes: Any = next(iter(getattr(send, "args", ())), None)
        is_daphnes = hasattr(daphnes, "transport")
        if scope["type"] == "http":
            receive = inbound.bounded(receive, send)
            if is_daphnes and all(hasattr(daphnes.transport, name) for name in BACKLOG):
                scope["chat.drained"] = lambda: _drained(daphnes)
            scope["chat.drop"] = lambda: _drop(daphnes if is_daphnes else getattr(send, "__self__", None))
        elif scope["type"] == "websocket":
            if not is_daphnes:
                uvicorns = getattr(send, "__self__", None)
                scope["chat.drained"] = at_once  # send() itself waits
                if all(hasattr(uvicorns, name) for name in UVICORNS):
                    scope["chat.write"] = partial(_write_to_uvicorn, uvicorns)
                await application(scope, receive, send)
                _cut_off(getattr(uvicorns, "transport", None))
                return
            receive = getattr(daphnes, "receive", receive)
            _protocols.add(daphnes)
            daphnes.failByDrop = False  # too large a frame is told so (1009), not dropped without a word
            if all(hasattr(daphnes.transport, name) for name in BACKLOG):
                scope["chat.drained"] = lambda: _drained(daphnes)
                scope["chat.write"] = partial(_write_to_daphne, daphnes)
            else:
                unseen = Unseen(receive, send)
                receive, send, scope["chat.drained"] = unseen.receive, unseen.send, unseen.drained
        await application(scope, receive, send)

    return outermost


def _write_to_daphne(daphnes: Any, texts: Sequence[str]) -> bool:
    if daphnes.state != daphnes.STATE_OPEN or inbound.backlog(daphnes.transport) > BACKLOG_MAX:
        return False
    daphnes.transport.write(_frames(texts))
    return True


def _write_to_uvicorn(uvicorns: Any, texts: Sequence[str]) -> bool:
    closing = uvicorns.close_sent or uvicorns.disconnected or uvicorns.transport.is_closing()
    if closing or not uvicorns.handshake_complete or not uvicorns.writable.is_set():
        return False
    uvicorns.transport.write(_frames(texts))
    return True


def never(_: Sequence[str]) -> bool:
    """What writes to a server whose transport is out of reach."""
    return False


def _frames(texts: Sequence[str]) -> bytes:
    return frame(texts[0]) if len(texts) == 1 else b"".join(map(frame, texts))


def frame(text: str) -> bytes:
    """A text as a frame of RFC 6455 (section 5.2), made once for all sockets that are sent it about now."""
    return _small_frame(text) if len(text) < CACHED_MAX else _frame(text)


def _frame(text: str) -> bytes:
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


_small_frame = lru_cache(maxsize=64)(_frame)


async def at_once() -> None:
    return None


def _drop(connection: Any) -> None:
    """Hang up on a request: what daphne or uvicorn has of it knows its transport."""
    transport = getattr(connection, "transport", None)
    abort = getattr(transport, "abortConnection", None) or getattr(transport, "abort", None)
    if abort is not None:
        abort()


async def _drained(daphnes: Any) -> None:
    pause_s = 0.0
    while inbound.backlog(daphnes.transport) > BACKLOG_MAX:
        await asyncio.sleep(pause_s)  # at first only a turn of the loop: the kernel may take it all
        pause_s = min(2 * pause_s + 0.001, POLL_S)


class Unseen:
    """For transports that hide their backlog (TLS, another Twisted): bounds what was sent since the client spoke."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._characters = 0
        self._spoke = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        self._characters = 0
        self._spoke.set()
        return message

    async def send(self, message: dict[str, Any]) -> None:
        self._characters += len(message.get("text") or "")
        await self._send(message)

    async def drained(self) -> None:
        if self._characters > UNSEEN_MAX:
            self._spoke.clear()
            await self._spoke.wait()


def on_goodbye(call: Callable[[], None]) -> None:
    """Make this call, on this event loop, when the server goes down (or soon, if it does now); until `off_goodbye`."""
    _goodbyes[call] = loop = asyncio.get_running_loop()
    if is_going_down():
        loop.call_soon(call)


def off_goodbye(call: Callable[[], None]) -> None:
    _goodbyes.pop(call, None)


def is_going_down() -> bool:
    """Whether the goodbye was said. For a moment the servers still let in who comes."""
    return _goodbye_was_said.is_set()


def _end_requests() -> None:
    """End the requests that would not end by themselves. A signal's handler may call it."""
    _goodbye_was_said.set()
    for call, loop in tuple(_goodbyes.items()):
        loop.call_soon_threadsafe(call)


def _cut_off(transport: Any) -> None:
    """Drop what a client leaves unread: closed, an asyncio transport keeps it, and the socket, until it is read."""
    if hasattr(transport, "get_write_buffer_size") and transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(CUT_OFF_S, transport.abort)


# --- going down -------------------------------------------------------------------------------------------------------
async def _live(receive: Receive, send: Send) -> None:
    """The lifespan of a server that has one."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _close_first()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _close_first() -> None:
    """Have SIGTERM close the sockets before uvicorn does. It has put up its own handler by now, which is called then.

    Its lifespan's end would come too late: by then it has closed them with 1012, without a word.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        then: Any = signal.getsignal(number)
        if hasattr(getattr(then, "__self__", None), "should_exit"):
            loop.add_signal_handler(number, _go_down, number, then)


def _go_down(number: int, then: Callable[[int, None], None]) -> None:
    closing = asyncio.ensure_future(_close_all())
    closing.add_done_callback(lambda _: then(number, None))


async def _close_all() -> None:
    _end_requests()
    closings = [asyncio.ensure_future(restart()) for restart in tuple(restarts)]
    if closings:
        await asyncio.wait(closings, timeout=GOODBYE_S)
        # What is written is on its way; the other side answers the close.
        await asyncio.sleep(GOODBYE_S / 5)


def say_goodbye() -> Any:
    """Tell every socket of this process to come back in a moment, and close it."""
    from twisted.internet import defer

    _end_requests()
    goodbye = protocol.error(None, Unavailable("The server restarts.", retry_after_s=1.0))
    for daphnes in list(_protocols):
        if daphnes.state == daphnes.STATE_OPEN:
            daphnes.serverSend(goodbye)
            daphnes.serverClose(code=RESTARTING)
            daphnes.muted = True
    # The bytes leave on the reactor's next turns, and the other side answers the close.
    gone: Any = defer.Deferred()
    _reactor().callLater(GOODBYE_S, gone.callback, None)
    return gone


def watch_shutdown() -> None:
    """Under daphne, say goodbye before the reactor ends. At import: ours must come before daphne's own trigger."""
    inbound.bound_servers()
    if "twisted.internet.reactor" in sys.modules:
        _reactor().addSystemEventTrigger("before", "shutdown", say_goodbye)


def _reactor() -> Any:
    return sys.modules["twisted.internet.reactor"]  # the module is the reactor, once daphne has installed it
