"""What has to be known of the ASGI servers underneath: how much they still hold for a socket, and how they go down.

Daphne never makes a sender wait, drops its sockets without a word on SIGTERM and has no lifespan. Its protocol object
is within reach of the outermost application, though: `aware` keeps it, reads its transport's backlog, and says goodbye
before the reactor ends.
"""

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from autobahn.exception import Disconnected

from chat import protocol
from chat.errors import Unavailable

RESTARTING = 4412
BACKLOG_MAX = 256 * 1024  # bytes in the process; the kernel holds some megabytes more
POLL_S = 0.05
CACHED_MAX = 64 * 1024
UNSEEN_MAX = 8 * 1024 * 1024
GOODBYE_S = 0.5

# What sending raises when the client is gone: in daphne (once it said goodbye), in uvicorn.
GONE = (Disconnected, OSError)

# Private attributes of Twisted's transports: the pin and a test guard them.
BACKLOG = ("dataBuffer", "offset", "_tempDataLen")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_protocols: "weakref.WeakSet[Any]" = weakref.WeakSet()


def aware(application: Application) -> Application:
    """Give every socket's scope `chat.drained`: it returns when the server holds little for that socket."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            daphnes: Any = next(iter(getattr(send, "args", ())), None)
            if not hasattr(daphnes, "transport"):
                scope["chat.drained"] = _at_once  # send() itself waits
            else:
                _protocols.add(daphnes)
                daphnes.failByDrop = False  # too large a frame is told so (1009), not dropped without a word
                if all(hasattr(daphnes.transport, name) for name in BACKLOG):
                    scope["chat.drained"] = lambda: _drained(daphnes)
                    send = _straight(daphnes, send)
                else:
                    unseen = Unseen(receive, send)
                    receive, send, scope["chat.drained"] = unseen.receive, unseen.send, unseen.drained
        await application(scope, receive, send)

    return outermost


def _straight(daphnes: Any, send: Send) -> Send:
    """Write texts straight to the transport: daphne's and autobahn's way there costs more than all of ours together."""

    async def straight(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send" and daphnes.state == daphnes.STATE_OPEN:
            daphnes.transport.write(frame(message["text"]))
        else:
            await send(message)

    return straight


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


async def _at_once() -> None:
    return None


async def _drained(daphnes: Any) -> None:
    pause_s = 0.0
    while _backlog(daphnes.transport) > BACKLOG_MAX:
        await asyncio.sleep(pause_s)  # at first only a turn of the loop: the kernel may take it all
        pause_s = min(2 * pause_s + 0.001, POLL_S)


def _backlog(transport: Any) -> int:
    """Bytes that the transport could not hand to the kernel yet."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen if transport is not None else 0


class Unseen:
    """The bound where a transport hides its backlog (TLS, another Twisted): what left since the client last spoke."""

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


def say_goodbye() -> Any:
    """Tell every socket of this process to come back in a moment, and close it."""
    from twisted.internet import defer

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
    if "twisted.internet.reactor" in sys.modules:
        _reactor().addSystemEventTrigger("before", "shutdown", say_goodbye)


def _reactor() -> Any:
    return sys.modules["twisted.internet.reactor"]  # the module is the reactor, once daphne has installed it
