"""A scripted server on a real socket: the wire as the contract tells it, with every misfortune at a test's command.

One port for HTTP and WebSocket. A front door reads each request's head, answers HTTP itself and passes an upgrade
through to `websockets`, byte for byte; so a test can also cut the line without a word.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.terminal.frames import Row, delta, frame, message, run, session

Answer = Callable[["Room", Row, str], Coroutine[None, None, None]]
PASSWORD = "secret of ada"


class Room:
    """One session: its log, its drafts, and who follows it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.log: list[Row] = []
        self.drafts: dict[str, Row] = {}
        self.followers: set[ServerConnection] = set()
        self.by_key: dict[str, Row] = {}
        self.asked: dict[str, tuple[Row, asyncio.Future[Row]]] = {}  # open questions, and their answers
        self.oldest_kept = 1
        self.open_run = ""  # where there is one, what is sent joins it

    async def event(self, type: str, data: Row, run_id: str | None = None) -> None:
        data = data | {"session_id": self.session_id}
        self.log.append(frame(type, len(self.log) + 1, data, self.session_id, run_id))
        if type == "message.created":
            self.drafts.pop(data["message_id"], None)
        for dropped in data.get("discarded", ()):
            self.drafts.pop(dropped, None)
        await self.tell(self.log[-1])

    async def delta(self, message_id: str, text: str, run_id: str) -> None:
        draft = self.drafts.setdefault(message_id, delta(message_id, 0, "", run_id, self.session_id))
        offset = len(draft["data"]["text"])
        draft["data"]["text"] += text
        await self.tell(delta(message_id, offset, text, run_id, self.session_id))

    async def ask(self, question: Row, run_id: str) -> Row:
        """Let a run ask people, and wait for the answer."""
        question = question | {"run_id": run_id}
        answer = asyncio.get_running_loop().create_future()
        self.asked[question["interrupt_id"]] = question, answer
        await self.event("interrupt.opened", question, run_id)
        await self.event("run.interrupted", run("interrupted", run_id), run_id)
        given: Row = await answer
        await self.event("run.queued", run("queued", run_id), run_id)
        return given

    async def settle(self, interrupt_id: str, status: str = "resolved", answer: Row | None = None) -> None:
        question, waiting = self.asked.pop(interrupt_id)
        row = question | {"status": status, "answer": answer}
        await self.event("interrupt.resolved", row, question["run_id"])
        waiting.set_result(answer or {})

    async def tell(self, told: Row) -> None:
        for socket in list(self.followers):
            with suppress(ConnectionClosed):
                await socket.send(json.dumps(told))

    def row(self) -> Row:
        return session(self.session_id, last_seq=len(self.log))

    def snapshot(self) -> Row:
        rows = {f["data"]["message_id"]: f["data"] for f in self.log if f["type"].startswith("message.")}
        runs = {f["data"]["run_id"]: f["data"] for f in self.log if f["type"].startswith("run.")}
        still = [row for row in runs.values() if row["status"] in {"queued", "running", "interrupted"}]
        asked = [question for question, _ in self.asked.values()]
        return self.row() | {"messages": list(rows.values()), "runs": still, "interrupts": asked}


class ScriptedServer:
    def __init__(self) -> None:
        self.url = ""
        self.answer: Answer = answer_at_once
        self.accounts = {"ada": PASSWORD}
        self.expires_in_s = 900.0
        self.rooms: dict[str, Room] = {}
        self.requests: list[tuple[str, str, Row]] = []
        self.commands: list[Row] = []
        self.credentials: list[str | None] = []  # of each socket
        self.refusals: list[tuple[int, Row]] = []  # of the next sockets: close code, error
        self.errors: dict[str, list[Row]] = {}  # of the next commands, by type
        self.mute: set[str] = set()  # commands that are done and never answered
        self.tokens: set[str] = set()
        self.refreshes: set[str] = set()
        self.sockets: set[ServerConnection] = set()
        self.ready_frame: Row = {"heartbeat_s": 20, "limits": {}}
        self._lines: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ScriptedServer":
        self._inner = await serve(self._socket, "127.0.0.1", 0, close_timeout=0.2)
        self._front = await asyncio.start_server(self._front_door, "127.0.0.1", 0)
        self.port = self._front.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        self._front.close()
        self._inner.close()
        await self._inner.wait_closed()

    def room(self, session_id: str | None = None) -> Room:
        session_id = session_id or str(uuid.uuid4())
        return self.rooms.setdefault(session_id, Room(session_id))

    async def shut_out(self, room: Room, last: Row) -> None:
        """Tell the last frame of a session, which is not there for this client from then on."""
        del self.rooms[room.session_id]
        await room.tell(last)
        room.followers.clear()

    def cut(self) -> None:
        """Cut every line without a word: no close frame reaches the client."""
        for writer in self._lines:
            writer.transport.abort()

    async def close(self, code: int, error: Row | None = None) -> None:
        for socket in list(self.sockets):
            if error:
                await socket.send(json.dumps(_reply("error", error)))
            await socket.close(code)

    async def away(self, seconds: float) -> None:
        """Be unreachable for a while."""
        self._front.close()
        self.cut()
        await asyncio.sleep(seconds)
        self._front = await asyncio.start_server(self._front_door, "127.0.0.1", self.port)

    # --- HTTP --------------------------------------------------------------------------------------------------------

    async def _front_door(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)}
                if "upgrade" in headers:
                    return await self._pass_through(head, reader, writer)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = request.split(" ")
                asked = json.loads(body) if body else {}
                self.requests.append((method, path, asked))
                status, answer = self._http(method, path.partition("?")[0], asked, headers.get("authorization", ""))
                text = json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._lines.discard(writer)
            writer.close()

    def _http(self, method: str, path: str, asked: Row, authorization: str) -> tuple[int, Any]:
        if path == "/api/auth/token/":
            if self.accounts.get(asked["username"]) != asked["password"]:
                return 401, _error("not_authenticated", "Name and password do not match.")
            return 200, self._tokens()
        if path == "/api/auth/token/refresh/":
            if asked["refresh"] not in self.refreshes:
                return 401, _error("not_authenticated", "This token is no longer good.")
            self.refreshes.discard(asked["refresh"])
            return 200, self._tokens()
        if authorization.removeprefix("Bearer ") not in self.tokens:
            return 401, _error("not_authenticated", "Sign in.")
        if path == "/api/sessions/":
            if method == "POST":
                return 201, self.room().row()
            return 200, {"results": [room.row() for room in self.rooms.values()], "next": None, "previous": None}
        kind, _, wanted = path.removeprefix("/api/").strip("/").partition("/")
        if kind == "sessions" and wanted in self.rooms:
            return 200, self.rooms[wanted].snapshot()
        for room in self.rooms.values():
            for told in reversed(room.log):
                if kind == "runs" and told["run_id"] == wanted:
                    return 200, told["data"]
        return 404, _error("not_found", "There is no such thing.")

    def _tokens(self) -> Row:
        access, refresh = f"access-{len(self.tokens) + 1}", f"refresh-{uuid.uuid4().hex}"
        self.tokens.add(access)
        self.refreshes.add(refresh)
        return {"access": access, "refresh": refresh, "expires_in_s": self.expires_in_s}

    async def _pass_through(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = next(iter(self._inner.sockets)).getsockname()[1]
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        inner_writer.write(head)
        both = [
            asyncio.create_task(_pump(reader, inner_writer)),
            asyncio.create_task(_pump(inner_reader, writer)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        inner_writer.close()

    # --- WebSocket ---------------------------------------------------------------------------------------------------

    async def _socket(self, socket: ServerConnection) -> None:
        credential = socket.request.headers.get("Authorization") if socket.request else None
        self.credentials.append(credential)
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is None and (credential or "").removeprefix("Bearer ") not in self.tokens:
            refusal = (4401, _error("not_authenticated", "Sign in.")["error"])
        if refusal:
            await socket.send(json.dumps(_reply("error", refusal[1])))
            await socket.close(refusal[0])
            return
        user = {"user_id": "u", "username": "ada", "name": "Ada"}
        await socket.send(json.dumps(frame("connection.ready", None, {"user": user, **self.ready_frame})))
        self.sockets.add(socket)
        try:
            async for text in socket:
                command = json.loads(text)
                self.commands.append(command)
                await self._command(socket, command)
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)
            for room in self.rooms.values():
                room.followers.discard(socket)

    async def _command(self, socket: ServerConnection, command: Row) -> None:
        name, data = command["type"], command["data"]

        async def reply(kind: str, answer: Row) -> None:
            if name not in self.mute:
                await socket.send(json.dumps(_reply(kind, answer, command["ref"])))

        if self.errors.get(name):
            await reply("error", self.errors[name].pop(0))
            return
        room = self.rooms.get(data.get("session_id", ""))
        if name == "ping":
            await reply("pong", {})
        elif name == "session.subscribe" and room:
            after = data["after"]
            if after + 1 < room.oldest_kept:
                await reply("error", _error("too_old", "That is no longer kept.")["error"])
                return
            await reply("ok", {"session": room.row(), "last_seq": len(room.log)})
            for told in [*room.log[after:], *room.drafts.values()]:
                await socket.send(json.dumps(told))
            room.followers.add(socket)
        elif name == "session.unsubscribe" and room:
            room.followers.discard(socket)
            await reply("ok", {})
        elif name == "message.send" and room:
            if known := room.by_key.get(data["key"]):
                await reply("ok", known | {"duplicate": True})
                return
            run_id = room.open_run or f"run-{uuid.uuid4()}"
            row = message(str(uuid.uuid4()), data["content"], "user", key=data["key"], run_id=run_id)
            if room.open_run:
                row |= {"run_id": None, "data": {"joined": {"run_id": run_id, "read": False}}}
            room.by_key[data["key"]] = {"message_id": row["message_id"], "run_id": run_id, "duplicate": False}
            await room.event("message.created", row, run_id)
            if not room.open_run:
                await room.event("run.queued", run("queued", run_id, position=len(room.log)), run_id)
            await reply("ok", room.by_key[data["key"]])
            self._tasks.add(asyncio.create_task(self.answer(room, row, run_id)))
        elif name == "run.cancel":
            await reply("ok", {"run_id": data["run_id"], "status": "cancelled"})
        elif name == "interrupt.resolve":
            room = next((one for one in self.rooms.values() if data["interrupt_id"] in one.asked), None)
            if room is None:
                await reply("error", _error("already_resolved", "This was already answered.")["error"])
                return
            await room.settle(data["interrupt_id"], answer=data["answer"])
            await reply("ok", {"interrupt_id": data["interrupt_id"], "run_id": "run-1"})
        else:
            await reply("error", _error("not_found", "There is no such thing.")["error"])


async def answer_at_once(room: Room, asked: Row, run_id: str) -> None:
    await answer_with(room, run_id, ["you said ", asked["content"]])


async def answer_with(room: Room, run_id: str, pieces: list[str], message_id: str = "", pause_s: float = 0.0) -> None:
    message_id = message_id or str(uuid.uuid4())
    await room.event("run.started", run("running", run_id, message_id=message_id), run_id)
    for piece in pieces:
        await room.delta(message_id, piece, run_id)
        await asyncio.sleep(pause_s)
    await finish(room, run_id, message_id, "".join(pieces))


async def finish(room: Room, run_id: str, message_id: str, text: str) -> None:
    await room.event("message.created", message(message_id, text, run_id=run_id), run_id)
    await room.event("run.succeeded", run("succeeded", run_id, message_id=message_id), run_id)


def _reply(kind: str, data: Row, ref: str | None = None) -> Row:
    """What is of the socket, and of no session."""
    return frame(kind, None, data) | {"session_id": None, "ref": ref}


def _error(code: str, text: str) -> Row:
    return {"error": {"code": code, "message": text, "temporary": False}}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
