"""Rooms that many sockets look into, each in a server of its own with a Redis: ours, stock Channels, Socket.IO."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from benchmarks.bench import SERVERS, Bench, Wrong
from benchmarks.chats import Heard, new_sessions
from benchmarks.peers import environment
from benchmarks.rivals import PEERS
from benchmarks.sockets import Socket
from tests.processes import ROOT, Process, free_port
from tests.stack import asgi_command

CHECK_S = 10.0  # chat.auth: so often ours looks whether a socket's credential is still good
MARK = "a-mark-that-each-frame-holds-once"
TEXT = "What is said in a room is about this long, more or less: two lines on a page, or a few words of an answer."


class Teller(Process):
    """Tells a room what it is given, a line of JSON at a time."""

    def tell(self, frames: list[dict[str, Any]]) -> None:
        """Return when all are on their way. Raises Wrong."""
        assert self._process and self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"frames": frames}) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise Wrong(f"{self.name} has ended:\n{self.tail()}")


@dataclass
class Room:
    """A room, the process that serves its sockets, and the one that tells it things."""

    name: str
    url: str
    server: Process
    teller: Teller
    headers: dict[str, str] = field(default_factory=dict)
    hello: str | None = None  # what a socket says first
    joined: str = "joined"  # what it is told when it is in the room
    every_s: float = 0.0  # how often its server does something for each socket of its own accord, if it does
    sockets: list[Socket] = field(default_factory=list)

    async def enter(self, count: int) -> None:
        """Open so many sockets, a few at a time."""
        for first in range(0, count, 25):
            self.sockets += await asyncio.gather(*(self._enter() for _ in range(first, min(first + 25, count))))

    async def _enter(self) -> Socket:
        heard = Heard()
        socket = await Socket.open(self.url, heard, self.headers)
        if self.hello is not None:
            await heard.next()
            socket.send(self.hello)
        await heard.until(lambda text: self.joined in text)
        socket.counting(MARK)
        return socket

    def leave(self) -> None:
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()

    async def tell(self, count: int) -> None:
        """Tell the room so many frames at once, and wait until all sockets have them all. Raises Wrong."""
        expected = self.sockets[0].counted + count
        await asyncio.to_thread(self.teller.tell, [frame(number) for number in range(count)])
        until = time.perf_counter() + 30
        while any(socket.counted < expected for socket in self.sockets):
            if time.perf_counter() > until:
                short = sum(socket.counted < expected for socket in self.sockets)
                raise Wrong(f"{self.name}: {short} of {len(self.sockets)} sockets still miss something after 30 s")
            await asyncio.sleep(0.002)
        if any(socket.counted != expected for socket in self.sockets):
            raise Wrong(f"{self.name}: a socket got a frame twice")


def frame(number: int) -> dict[str, Any]:
    """What every server sends to every socket: a frame as ours are."""
    head = {"type": "state.updated", "session_id": str(uuid4()), "run_id": None, "seq": number}
    return head | {"at": "2026-01-01T00:00:00.000000Z", "data": {"state": {"mark": MARK, "text": TEXT}}}


async def ours(bench: Bench, server: str) -> Room:
    stack = bench.stack("sqlite", server, workers=0)
    token = stack.person("ada").token
    (session_id,) = await new_sessions(stack, token)
    teller = _teller(bench, [sys.executable, "-m", "benchmarks.publisher", session_id], stack.env)
    hello = json.dumps({"type": "session.subscribe", "ref": "1", "data": {"session_id": session_id}})
    url = stack.webs[0].url.replace("http", "ws") + "/ws/"
    headers = {"Authorization": f"Bearer {token}"}
    return Room(f"ours, {server}", url, stack.webs[0], teller, headers, hello, '"ok"', CHECK_S)


async def stock_channels(bench: Bench, server: str) -> Room:
    port, env = free_port(), _environment(bench.redis("channels").url)
    app = "benchmarks.peers.channels.app"
    web = bench.start("channels", [*asgi_command(server, port), f"{app}:application"], port, env)
    teller = _teller(bench, [sys.executable, "-m", app], env)
    return Room(f"stock Channels, {server}", f"ws://127.0.0.1:{port}/ws/", web, teller)


async def socketio(bench: Bench) -> Room:
    modules, port = environment.node_modules("socketio"), free_port()
    env = _environment(bench.redis("socketio").url) | {"NODE_PATH": str(modules), "PORT": str(port)}
    env["NODE_ENV"] = "production"
    command = [environment.node(), PEERS / "socketio" / "server.cjs"]
    web = bench.start("socketio", command, port, env)
    teller = _teller(bench, [*command, "publish"], env)
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    return Room("Socket.IO on node", url, web, teller, hello="40")


def openers() -> list[Callable[[Bench], Awaitable[Room]]]:
    """Everybody's rooms, to open as they are needed."""
    mine = [partial(ours, server=server) for server in SERVERS]
    return [*mine, *(partial(stock_channels, server=server) for server in SERVERS), socketio]


def _environment(redis_url: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")} | {"REDIS_URL": redis_url}


def _teller(bench: Bench, command: list[Any], env: dict[str, str]) -> Teller:
    log = bench.folder / f"teller-{uuid4().hex[:6]}.log"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    teller = Teller("teller", command, log, env=env, cwd=ROOT, popen=pipes)
    bench.keep(teller)
    teller.spawn()
    return teller
