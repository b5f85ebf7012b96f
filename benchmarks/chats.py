"""One user's conversation with each chat server: say something, and note when it was taken and when words came."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self
from uuid import uuid4

import httpx2

from benchmarks.bench import Wrong
from benchmarks.sockets import Socket
from tests.stack import Stack

PATIENCE_S = 60


@dataclass
class Asked:
    """When things happened after a message was sent, in ms, and the whole answer."""

    began: float
    ok: float = 0.0
    first: float = 0.0
    end: float = 0.0
    text: str = ""

    def ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000


class Chat(Protocol):
    async def ask(self, content: str, llm: str | None = None) -> Asked: ...

    async def anew(self) -> None:
        """Begin another conversation."""

    def close(self) -> None: ...


class Heard:
    """Texts as they arrive, each with its time, for whoever awaits the next one."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    def __call__(self, text: str) -> None:
        self._texts.put_nowait((time.perf_counter(), text))

    async def next(self) -> tuple[float, str]:
        try:
            return await asyncio.wait_for(self._texts.get(), PATIENCE_S)
        except TimeoutError:
            raise Wrong(f"nothing came for {PATIENCE_S} s") from None

    @property
    def is_empty(self) -> bool:
        return self._texts.empty()

    async def until(self, holds: Callable[[str], bool]) -> tuple[float, str]:
        """Skip to the first text of a kind."""
        while not holds((found := await self.next())[1]):
            pass
        return found


class Ours:
    """The chat server of this project."""

    def __init__(self, socket: Socket, heard: Heard, stack: Stack, token: str) -> None:
        self.socket, self.heard, self.session_id = socket, heard, ""
        self._stack, self._token = stack, token
        self._refs = 0

    @classmethod
    async def open(cls, stack: Stack, token: str) -> Self:
        """Connect, and follow a new session."""
        chat = await cls.connect(stack, token)
        await chat.anew()
        return chat

    async def anew(self) -> None:
        await self.follow(*await new_sessions(self._stack, self._token))

    @classmethod
    async def connect(cls, stack: Stack, token: str) -> Self:
        heard = Heard()
        url = stack.webs[0].url.replace("http", "ws") + "/ws/"
        socket = await Socket.open(url, heard, {"Authorization": f"Bearer {token}"})
        await heard.until(lambda text: '"connection.ready"' in text)
        return cls(socket, heard, stack, token)

    async def follow(self, session_id: str) -> None:
        """Follow a session from now on; the last one followed is the one to ask in."""
        self.session_id = session_id
        await self.command("session.subscribe", session_id=session_id)

    def send(self, type: str, **data: Any) -> str:
        """Send a command, and give its ref."""
        self._refs += 1
        self.socket.send(json.dumps({"type": type, "ref": str(self._refs), "data": data}))
        return str(self._refs)

    async def command(self, type: str, **data: Any) -> dict[str, Any]:
        """Send a command, and give its `ok`. What else arrives meanwhile is dropped. Raises Wrong."""
        ref = self.send(type, **data)
        while True:
            frame = json.loads((await self.heard.next())[1])
            if frame.get("ref") == ref:
                return ok_of(frame)

    async def ask(self, content: str, llm: str | None = None) -> Asked:
        asked = Asked(time.perf_counter())
        more = {"llm": llm} if llm else {}
        ref = self.send("message.send", session_id=self.session_id, content=content, key=uuid4().hex, **more)
        while not (asked.ok and asked.end):
            at, text = await self.heard.next()
            passed, frame = (at - asked.began) * 1000, json.loads(text)
            if frame.get("ref") == ref:
                ok_of(frame)
                asked.ok = passed
            elif frame["type"] == "message.delta":
                asked.first = asked.first or passed
            elif frame["type"] == "message.created" and frame["data"]["role"] == "assistant":
                asked.text = frame["data"]["content"]
            elif frame["type"] in ("run.failed", "run.cancelled"):
                raise Wrong(text)
            elif frame["type"] == "run.succeeded":
                asked.end = passed
        asked.first = asked.first or asked.end
        return asked

    def close(self) -> None:
        self.socket.close()


async def new_sessions(stack: Stack, token: str, count: int = 1) -> list[str]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=stack.webs[0].url, headers=headers, verify=False, trust_env=False) as http:
        made = [await http.post("/api/sessions/", json={}) for _ in range(count)]
    return [one.raise_for_status().json()["session_id"] for one in made]


def ok_of(frame: dict[str, Any]) -> dict[str, Any]:
    """Give an answer's data. Raises Wrong."""
    if frame["type"] != "ok":
        raise Wrong(json.dumps(frame))
    data: dict[str, Any] = frame["data"]
    return data


class Chainlit:
    """Chainlit over its page's own Socket.IO connection: `task_start` is the first that it says of a message."""

    def __init__(self, socket: Socket, heard: Heard) -> None:
        self.socket, self.heard, self.session = socket, heard, str(uuid4())

    @classmethod
    async def open(cls, base_url: str) -> Self:
        heard = Heard()
        url = base_url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket"
        socket: Socket

        def hear(text: str) -> None:
            if text == "2":  # a ping: it has to be answered also while nobody asks anything
                socket.send("3")
            else:
                heard(text)

        socket = await Socket.open(url, hear)
        chat = cls(socket, heard)
        await heard.until(lambda text: text.startswith("0"))
        auth = {"sessionId": chat.session, "clientType": "webapp", "userEnv": "{}", "chatProfile": "", "threadId": ""}
        chat.socket.send("40" + json.dumps(auth))
        await heard.until(lambda text: text.startswith("40"))
        chat.socket.send('42["connection_successful"]')
        await heard.until(lambda text: "task_end" in text)
        return chat

    async def anew(self) -> None:
        pass  # its LLM is told nothing of what was said before

    async def ask(self, content: str, llm: str | None = None) -> Asked:
        step = {"id": str(uuid4()), "name": "user", "type": "user_message", "output": content}
        step |= {"createdAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "threadId": ""}
        asked = Asked(time.perf_counter())
        self.socket.send("42" + json.dumps(["client_message", {"message": step, "fileReferences": []}]))
        while not asked.end:
            at, text = await self.heard.next()
            passed = (at - asked.began) * 1000
            name, *data = json.loads(text.lstrip("0123456789"))
            if name == "task_start":
                asked.ok = passed
            elif name in ("stream_token", "stream_start") and data[0].get("token", data[0].get("output")):
                asked.first = asked.first or passed
            elif name in ("update_message", "new_message") and data[0]["type"] == "assistant_message":
                asked.text = data[0]["output"]
                asked.first = asked.first or (passed if asked.text else 0.0)
            elif name == "task_end":
                asked.end = passed
        return asked

    def close(self) -> None:
        self.socket.close()


class Agno:
    """Agno's AgentOS over its HTTP door, a run in the background and its events as they come: one request a message.

    Its first line of the answer comes when the run is a committed row of the queue.
    """

    def __init__(self, base_url: str) -> None:
        self._http = httpx2.AsyncClient(base_url=base_url, trust_env=False, timeout=PATIENCE_S)
        self.session = str(uuid4())

    async def anew(self) -> None:
        self.session = str(uuid4())

    async def ask(self, content: str, llm: str | None = None) -> Asked:
        form = {"message": content, "stream": "true", "background": "true", "session_id": self.session}
        asked = Asked(time.perf_counter())
        async with self._http.stream("POST", "/agents/bench/runs", data=form) as answer:
            asked.ok = asked.ms()
            if answer.status_code != 200:
                raise Wrong(f"Agno answered {answer.status_code}: {(await answer.aread()).decode()}")
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    self._read(json.loads(line[6:]), asked)
        asked.end = asked.ms()
        return asked

    def _read(self, data: dict[str, Any], asked: Asked) -> None:
        if data.get("event") == "RunContent" and data.get("content"):
            asked.first = asked.first or asked.ms()
        elif data.get("event") == "RunCompleted":
            asked.text = data["content"]
        elif data.get("event") in ("RunError", "error"):
            raise Wrong(json.dumps(data))

    def close(self) -> None:
        pass  # it holds no connection that a server would miss


class Straight:
    """The LLM's server itself, asked without anything in between."""

    def __init__(self, base_url: str, model: str) -> None:
        self._http = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S)
        self._url, self._model = f"{base_url}/chat/completions", model

    async def anew(self) -> None:
        pass  # it remembers nothing

    async def ask(self, content: str, llm: str | None = None) -> Asked:
        body = {"model": self._model, "messages": [{"role": "user", "content": content}], "stream": True}
        asked = Asked(time.perf_counter())
        async with self._http.stream("POST", self._url, json=body) as answer:
            async for _ in answer.aiter_bytes():
                asked.first = asked.first or asked.ms()
        asked.end = asked.ms()
        return asked

    def close(self) -> None:
        pass
