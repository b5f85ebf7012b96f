"""One person's connection to the public wire: HTTP by httpx2, a socket by websockets, every frame through the fold."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin, Subprotocol

from tests.fold import Fold, Frame, Row, Violation
from tests.processes import PATIENCE

AWAY = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError)


@dataclass(frozen=True)
class Person:
    """Someone with an account, and an access token so that signing in costs no test its time."""

    username: str
    user_id: str
    token: str
    password: str


class Refused(Exception):
    """The answer to a command or request was an error."""

    def __init__(self, error: Row, status: int | None = None) -> None:
        super().__init__(f"{status or ''} {error.get('code')}: {error.get('message')}")
        self.error, self.code, self.status = error, error.get("code"), status


class Gone(Exception):
    """The socket was closed while something was awaited."""


@dataclass
class _Asked:
    """A command on its way, and what its `ok` changes here."""

    answer: asyncio.Future[Frame]
    fold: Fold | None = None
    session_id: str | None = None


@dataclass(eq=False)  # each is somebody, whatever they know
class Connection:
    """Requests to one web process at a time, one socket at a time, and a fold for each subscribed session.

    With `stays`, a closed socket is opened again at the next of `webs`, and each session resumed where it was.
    """

    webs: Sequence[str]
    person: Person
    by: str = "bearer"  # or ticket, subprotocol
    stays: bool = False
    origin: str | None = None

    folds: dict[str, Fold] = field(default_factory=dict)
    received: list[tuple[float, Frame]] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)  # error frames that answer no command
    hello: Frame | None = None

    def __post_init__(self) -> None:
        self._asked: dict[str, _Asked] = {}
        self._refs = 0
        self._news = asyncio.Event()
        self._broken: BaseException | None = None
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._leaving = False
        self._web = 0
        self._http: dict[str, httpx2.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, problem: object, trace: TracebackType | None) -> None:
        await self.close()
        await self.close_http()
        if kind is None:
            self._raise_if_broken()

    # -- HTTP ------------------------------------------------------------------------------------------------------

    @property
    def web(self) -> str:
        return self.webs[self._web % len(self.webs)]

    @property
    def http(self) -> httpx2.AsyncClient:
        if self.web not in self._http:
            headers = {"Authorization": f"Bearer {self.person.token}"} if self.person.token else {}
            self._http[self.web] = httpx2.AsyncClient(
                base_url=self.web, headers=headers, timeout=httpx2.Timeout(70 * PATIENCE), trust_env=False
            )
        return self._http[self.web]

    async def close_http(self) -> None:
        for http in self._http.values():
            await http.aclose()
        self._http.clear()

    async def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Make a request and give its JSON. Raises Refused."""
        response = await self.http.request(method, path, json=body, params=params or None)
        answer: Any = response.json() if response.content else None
        if response.status_code >= 400:
            raise Refused(answer["error"], response.status_code)
        return answer

    async def get(self, path: str, **params: Any) -> Any:
        return await self.call("GET", path, **params)

    async def post(self, path: str, body: Any = None, **params: Any) -> Any:
        return await self.call("POST", path, body if body is not None else {}, **params)

    async def patch(self, path: str, body: Any) -> Any:
        return await self.call("PATCH", path, body)

    # -- the socket ------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open a socket, take its hello, and resume every session. Raises what `websockets` raises, and Refused."""
        assert self._socket is None, "one socket at a time"
        self._leaving = False
        self._reader = asyncio.create_task(self._read(await self._arrive()))

    async def _arrive(self) -> ClientConnection:
        socket = await self._open()
        hello: Frame = json.loads(await asyncio.wait_for(socket.recv(), 10 * PATIENCE))
        if hello["type"] == "error":
            self.errors.append(hello["data"])
            await socket.wait_closed()
            self.closes.append(socket.close_code or 0)
            raise Refused(hello["data"])
        if hello["type"] != "connection.ready":
            raise Violation(f"the first frame is {hello}")
        self.hello = hello
        self._socket = socket
        for session_id, fold in self.folds.items():
            fold.resume()
            await self._ask("session.subscribe", {"session_id": session_id, "after": fold.last_seq})
        return socket

    async def _open(self) -> ClientConnection:
        url = self.web.replace("http", "ws", 1) + "/ws/"
        headers: dict[str, str] = {}
        protocols = [Subprotocol("chat.v1")]
        if self.by == "bearer":
            headers["Authorization"] = f"Bearer {self.person.token}"
        elif self.by == "subprotocol":
            protocols.append(Subprotocol(f"bearer.{self.person.token}"))
        elif self.by == "ticket":
            url += "?ticket=" + (await self.post("/api/ws-tickets/"))["ticket"]
        return await connect(
            url,
            additional_headers=headers,
            subprotocols=protocols,
            origin=Origin(self.origin) if self.origin else None,
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=10 * PATIENCE,
            close_timeout=2,
            proxy=None,
        )

    async def close(self) -> None:
        """Leave politely."""
        self._leaving = True
        if self._socket is not None:
            await self._socket.close()
        await self._end_reader()

    async def drop(self) -> None:
        """Vanish, as a phone in a tunnel does: no close frame, no FIN."""
        self._leaving = True
        if self._socket is not None:
            self._socket.transport.abort()
        await self._end_reader()

    async def _end_reader(self) -> None:
        if self._reader is not None:
            done, _ = await asyncio.wait([self._reader], timeout=10)
            if not done:
                self._reader.cancel()
        self._reader = self._socket = None

    async def reconnect(self, web: int | None = None) -> None:
        """Come back on a new socket, after what was read last."""
        await self.drop()
        if web is not None:
            self._web = web
        await self.connect()

    async def closed_with(self, within_s: float = 10) -> int:
        """Wait until the server closes the socket, and give its code."""
        before = len(self.closes)
        if self._reader is not None and not self._reader.done():
            await self.until(lambda: len(self.closes) > before, "the socket is closed", within_s)
        return self.closes[-1]

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._read_one(socket)
                if self._leaving or not self.stays:
                    return
                socket = await self._come_back()
        except BaseException as problem:
            self._broken = self._broken or problem
            raise
        finally:
            self._news.set()

    async def _read_one(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        self.closes.append(socket.close_code or 1006)
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(Gone(f"closed with {socket.close_code}"))
                asked.answer.exception()  # nobody may be waiting for it
        self._asked.clear()
        self._news.set()

    async def _come_back(self) -> ClientConnection:
        while True:
            self._socket = None
            self._web += 1
            await asyncio.sleep(random.uniform(0.05, 0.2))
            with contextlib.suppress(*AWAY, Gone):
                return await self._arrive()

    def _take(self, frame: Frame) -> None:
        self.received.append((time.monotonic(), frame))
        kind, session_id = frame["type"], frame["session_id"]
        if kind in ("ok", "error", "pong"):
            asked = self._asked.pop(frame.get("ref") or "", None)
            if asked is None:
                self.errors.append(frame["data"])
            else:
                if kind == "ok" and asked.session_id:
                    fold = asked.fold or Fold(asked.session_id, after=frame["data"]["last_seq"])
                    self.folds[asked.session_id] = fold
                if not asked.answer.done():
                    asked.answer.set_result(frame)
        elif session_id and kind != "typing":
            if session_id not in self.folds:
                raise Violation(f"a frame of a session before the ok of its subscribe: {frame}")
            self.folds[session_id].feed(frame)
        self._news.set()

    async def _ask(self, kind: str, data: Row, *, fold: Fold | None = None, session_id: str | None = None) -> _Asked:
        if self._socket is None:
            raise Gone("there is no socket")
        self._refs += 1
        ref = str(self._refs)
        asked = self._asked[ref] = _Asked(asyncio.get_running_loop().create_future(), fold, session_id)
        try:
            await self._socket.send(json.dumps({"type": kind, "ref": ref, "data": data}))
        except ConnectionClosed as problem:
            raise Gone(str(problem)) from problem
        return asked

    async def send_raw(self, frame: str | bytes | Row) -> None:
        """Send whatever a test likes."""
        assert self._socket is not None
        await self._socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def command(self, kind: str, **data: Any) -> Row:
        """Send a command and give its `ok.data`. Raises Refused, Gone."""
        asked = await self._ask(kind, data)
        return await self._answer(asked, kind)

    async def _answer(self, asked: _Asked, kind: str, within_s: float = 15) -> Row:
        try:
            frame = await asyncio.wait_for(asyncio.shield(asked.answer), within_s * PATIENCE)
        except TimeoutError:
            self._raise_if_broken()
            raise AssertionError(f"{kind} was not answered within {within_s:g} s; {self._last_frames()}") from None
        self._raise_if_broken()
        if frame["type"] == "error":
            raise Refused(frame["data"])
        data: Row = frame["data"]
        return data

    async def until(self, holds: Callable[[], Any], what: str, within_s: float = 30) -> Any:
        """Wait until something holds after a frame. Raises AssertionError, and what broke the wire's rules."""
        deadline = time.monotonic() + within_s * PATIENCE
        while True:
            self._raise_if_broken()
            if value := holds():
                return value
            self._news.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._news.wait(), max(left, 0))
            except TimeoutError:
                raise AssertionError(f"{what}: not within {within_s:g} s; {self._last_frames()}") from None

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _last_frames(self) -> str:
        lines = [f"{frame['type']} {frame['seq'] or ''} {str(frame['data'])[:160]}" for _, frame in self.received[-6:]]
        return "the last frames were:\n  " + "\n  ".join(lines)
