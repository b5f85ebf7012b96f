"""A client of the WebSocket's door, on channels.testing's communicator: in process, while Redis is real."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from channels.testing import WebsocketCommunicator
from rest_framework_simplejwt.tokens import AccessToken

from chat.consumers import ChatConsumer
from chat.hub import hubs
from chat.models import User
from chatproject.asgi import application
from tests.chat.hub.watching import until
from tests.fold import Fold
from tests.inside import Talk
from tests.processes import PATIENCE

Row = dict[str, Any]
WAIT_S = 10 * PATIENCE


class Socket:
    """A client on channels.testing's communicator."""

    def __init__(
        self,
        user: User | None,
        *,
        app: Any = application,
        drained: Callable[[], Awaitable[Any]] | None = None,
        subprotocols: list[str] | None = None,
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> None:
        headers = {"host": "chat.test"} | (headers or {})
        if user is not None:
            headers["authorization"] = f"Bearer {AccessToken.for_user(user)}"
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.wire = WebsocketCommunicator(app, f"/ws/{query}", headers=raw, subprotocols=subprotocols)
        if drained is not None:
            self.wire.scope["chat.drained"] = drained
        self.frames: list[Row] = []
        self.close_code: int | None = None
        self.subprotocol: str | None = None
        self._refs = 0

    async def open(self) -> Row:
        accepted, subprotocol = await self.wire.connect(timeout=WAIT_S)
        assert accepted, "even a refused socket is accepted"
        self.subprotocol = None if subprotocol is None else str(subprotocol)
        first = await self.next()
        assert first is not None
        return first

    async def next(self) -> Row | None:
        """Give the next frame, None when the socket is closed."""
        event = await self.wire.receive_output(WAIT_S)
        if event["type"] == "websocket.close":
            self.close_code = event["code"]
            return None
        frame: Row = json.loads(event["text"])
        assert {"type", "session_id", "run_id", "seq", "at", "data"} <= set(frame)
        self.frames.append(frame)
        return frame

    async def send(self, kind: str, **data: Any) -> str:
        self._refs += 1
        await self.wire.send_to(text_data=json.dumps({"type": kind, "ref": str(self._refs), "data": data}))
        return str(self._refs)

    async def answer(self, ref: str) -> Row:
        while True:
            frame = await self.next()
            assert frame is not None, f"closed with {self.close_code} before {ref} was answered"
            if frame.get("ref") == ref:
                return frame

    async def ask(self, kind: str, **data: Any) -> Row:
        return await self.answer(await self.send(kind, **data))

    async def ok(self, kind: str, **data: Any) -> Row:
        frame = await self.ask(kind, **data)
        assert frame["type"] == "ok", frame
        answer: Row = frame["data"]
        return answer

    async def refused(self, kind: str, **data: Any) -> str:
        frame = await self.ask(kind, **data)
        assert frame["type"] == "error", frame
        code: str = frame["data"]["code"]
        return code

    async def until(self, holds: Callable[[Row], Any]) -> Row:
        """Read until a frame that is asked for."""
        for frame in self.frames:
            if holds(frame):
                return frame
        while True:
            frame_ = await self.next()
            assert frame_ is not None, f"closed with {self.close_code}"
            if holds(frame_):
                return frame_

    async def closed(self) -> int:
        while await self.next() is not None:
            pass
        assert self.close_code is not None
        return self.close_code

    def log(self, session_id: object) -> list[int]:
        return [f["seq"] for f in self.frames if f["session_id"] == str(session_id) and f["seq"] is not None]

    def fold(self, session_id: object, after: int = 0) -> Fold:
        """What all frames of a session say together. Raises where they break a rule."""
        fold = Fold(str(session_id), after=after)
        for frame in self.frames:
            if frame["session_id"] == str(session_id) and frame["type"] not in ("error", "typing"):
                fold.feed(frame)
        return fold


@asynccontextmanager
async def socket_of(user: User, **options: Any) -> AsyncIterator[Socket]:
    socket = Socket(user, **options)
    ready = await socket.open()
    assert ready["type"] == "connection.ready", ready
    try:
        yield socket
    finally:
        await leave(socket)


@asynccontextmanager
async def gated(user: User, talk: Talk) -> AsyncIterator[tuple[Socket, asyncio.Event]]:
    """A socket that follows a talk, on a server that takes its frames while a gate is open: as it is at first."""
    gate = asyncio.Event()
    gate.set()
    async with socket_of(user, app=ChatConsumer.as_asgi(), drained=gate.wait) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await until(lambda: len(hubs._hubs[talk.pk].viewers) == 1, "it follows")
        yield socket, gate


async def leave(socket: Socket) -> None:
    if not socket.wire.future.done():
        await socket.wire.disconnect(timeout=WAIT_S)
