"""What the ASGI servers take in before anybody asks for it, with a bound: frames, their pieces, pings and bodies.

Daphne reads as fast as a client writes and keeps it all; both servers answer each ping whether or not the client reads
the answers, keep a list of a message's pieces however small these are, and let a body fill the disk. Here each of them
waits, joins or stops. What is overridden is private to the servers: pins and tests with real processes guard it.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from chat.errors import TooLarge

FRAMES_MAX = 32  # read and not taken yet
PIECES_MAX = 1024  # of one message, before they are joined
UNREAD_PONGS_MAX = 64 * 1024  # bytes that wait for a client before its pings go unanswered
BODY_MAX = 8 * 1024 * 1024

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TOO_LARGE = TooLarge("A body may have 1 MiB.")


def backlog(transport: Any) -> int:
    """Bytes that a Twisted transport could not hand to the kernel yet."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen if transport is not None else 0


def _refusal() -> bytes:
    return json.dumps({"error": TOO_LARGE.as_data()}).encode()


# --- bodies, on any server --------------------------------------------------------------------------------------------
def bounded(receive: Receive, send: Send) -> Receive:
    """Take so much of a request's body and no more: Django would write all of it to a file before it looks at it."""
    taken = 0

    async def receive_bounded() -> dict[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken <= BODY_MAX:
            return message
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": TOO_LARGE.status, "headers": headers})
        await send({"type": "http.response.body", "body": _refusal()})
        return {"type": "http.disconnect"}

    return receive_bounded


# --- daphne -----------------------------------------------------------------------------------------------------------
def bound_daphne() -> None:
    """Have daphne make its sockets and requests of our kinds."""
    from daphne import http_protocol, ws_protocol

    class Socket(ws_protocol.WebSocketProtocol):  # type: ignore[misc, unused-ignore]
        """One that stops reading while what it read is not taken."""

        is_paused = False
        frame_data: Any
        message_data: Any

        # Twisted's and autobahn's names.
        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            if hasattr(self, "handshake_deferred"):  # nobody may have let it in yet: the kernel keeps the rest
                self.data += data
                self._pause()
            else:
                super().dataReceived(data)

        def serverAccept(self, subprotocol: str | None = None) -> None:  # noqa: N802
            super().serverAccept(subprotocol)
            self._resume()

        def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
            super().onMessage(payload, isBinary)
            if self.application_queue.qsize() > FRAMES_MAX:
                self._pause()

        async def receive(self) -> dict[str, Any]:
            message: dict[str, Any] = await self.application_queue.get()
            if self.is_paused and self.application_queue.empty():
                self._resume()
            return message

        def _pause(self) -> None:
            if not self.is_paused and self.transport is not None:
                self.is_paused = True
                self.transport.pauseProducing()

        def _resume(self) -> None:
            if self.is_paused and self.transport is not None:
                self.is_paused = False
                self.transport.resumeProducing()

        def onPing(self, payload: bytes) -> None:  # noqa: N802
            if not hasattr(self.transport, "dataBuffer") or backlog(self.transport) < UNREAD_PONGS_MAX:
                super().onPing(payload)

        def onMessageFrameData(self, payload: bytes) -> None:  # noqa: N802
            super().onMessageFrameData(payload)
            if self.frame_data is not None and len(self.frame_data) > PIECES_MAX:
                self.frame_data = [b"".join(self.frame_data)]

        def onMessageFrame(self, payload: list[bytes]) -> None:  # noqa: N802
            super().onMessageFrame(payload)
            if self.message_data is not None and len(self.message_data) > PIECES_MAX:
                self.message_data = [b"".join(self.message_data)]

        def connectionLost(self, reason: Any) -> None:  # noqa: N802
            super().connectionLost(reason)
            # Those who are gone stay in a ring of references until Python looks for such: a megabyte each, of pieces.
            self.data, self.frame_data, self.message_data = b"", None, None

    class Request(http_protocol.WebRequest):  # type: ignore[misc, unused-ignore]
        """One whose body ends: Twisted would put it into a file, whatever its length."""

        taken = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            # It would parse forms, too, and hang up without a word on one that is broken, before anybody is asked.
            super().__init__(*args, **options | {"parsePOSTFormSubmission": False})

        def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
            self.taken += len(data)
            if self.taken <= BODY_MAX:
                super().handleContentChunk(data)
            elif self.taken - len(data) <= BODY_MAX:
                body = _refusal()
                head = f"HTTP/1.1 {TOO_LARGE.status} Too large\r\nContent-Type: application/json\r\n"
                head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                self.channel.transport.write(head.encode() + body)
                self.channel.loseConnection()

    ws_protocol.WebSocketFactory.protocol = Socket
    http_protocol.WebRequest = Request


# --- uvicorn ----------------------------------------------------------------------------------------------------------
def bound_uvicorn() -> None:
    """Bound what uvicorn's sockets answer and keep; it does stop reading what nobody takes."""
    from uvicorn.protocols.websockets import websockets_sansio_impl

    protocol: Any = websockets_sansio_impl.WebSocketsSansIOProtocol
    answer, go_on = protocol.handle_ping, protocol.handle_cont

    def handle_ping(self: Any) -> None:
        if self.writable.is_set():
            answer(self)
        else:
            self.conn.data_to_send()  # the pong: thrown away

    def handle_cont(self: Any, event: Any) -> None:
        go_on(self, event)
        if len(self.frames) > PIECES_MAX:
            self.frames = [b"".join(self.frames)]

    protocol.handle_ping, protocol.handle_cont = handle_ping, handle_cont


def bound_servers() -> None:
    """Bound the server that this process runs. At import, before it listens."""
    if "twisted.internet.reactor" in sys.modules and "daphne.server" in sys.modules:
        bound_daphne()
    if "uvicorn" in sys.modules:  # which loads its protocols after the application
        bound_uvicorn()
