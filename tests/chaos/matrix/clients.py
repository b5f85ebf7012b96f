"""Clients that read nothing, or little, or flood; a thousand that come back at once; web processes that die."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from tests.chaos.matrix.networks import round_trip
from tests.chaos.matrix.paces import LONG, STEADY, SWIFT
from tests.chaos.matrix.scene import Found, Scene, fault, off, restart, until
from tests.chaos.matrix.storm import percentile
from tests.connection import AWAY
from tests.processes import Process
from tests.stack import Web
from tests.wire import Client, Gone, Person

MIB = 2**20


def memory(process: Process) -> int:
    """What a process holds in memory, in bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def long_session(client: Client) -> str:
    """A session whose log is 1.5 MB long."""
    session_id = await client.new_session()
    path = f"/api/sessions/{session_id}/messages/"
    for number in range(30):
        await client.post(path, {"content": f"{number} " + "x" * 9_900, "llm": SWIFT.demo})
    return session_id


async def greedy(web: Web, person: Person, window: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket that takes in at most so many bytes at a time, and only when it is read."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", web.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=window)
    head = f"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(f"{head}Authorization: Bearer {person.token}\r\n\r\n".encode())
    return reader, writer


def frame(data: dict[str, Any]) -> bytes:
    """A text frame as a client sends it, masked with zeros."""
    text = json.dumps(data).encode()
    return bytes([0x81, 0xFE]) + len(text).to_bytes(2, "big") + bytes(4) + text


@fault(
    28,
    "client that never reads",
    "ten sockets ask for 30 MB each and read nothing",
    "the web process holds at most 3 MiB for each, closes them within 60 s, and the others notice nothing",
)
async def never_reads(scene: Scene) -> Found:
    stack, count = scene.stack, 10
    web = stack.webs[0]
    async with stack.client(stack.person("ada")) as client, scene.audience(sessions=6, clients=2) as audience:
        session_id = await long_session(client)
        audience.start()
        await audience.flowing(0.5)
        before = memory(web)
        sockets = [await greedy(web, client.person, 4096) for _ in range(count)]
        ask = frame({"type": "session.subscribe", "ref": "1", "data": {"session_id": session_id, "after": 0}})
        for _, writer in sockets:
            for _ in range(20):
                writer.write(ask)
        begun, most, pings = time.monotonic(), 0, []
        connected = lambda: web_sockets(web) - 3  # noqa: E731 - the client's and the audience's own
        while time.monotonic() - begun < 60 and (connected() > 0 or time.monotonic() - begun < 5):
            most = max(most, memory(web) - before)
            pings.append(await round_trip(client))
            await asyncio.sleep(0.2)
        took = time.monotonic() - begun
        for _, writer in sockets:
            writer.transport.abort()
        assert took < 60, f"{connected()} of them are still connected"
        tally = await audience.stop()
    assert most <= count * 3 * MIB + 10 * MIB, f"it held {most / MIB:.0f} MiB more"
    p99 = percentile(pings, 0.99) * 1000
    note = f"{most / MIB:.0f} MiB more at most, all closed after {took:.0f} s; ping p99 {p99:.0f} ms"
    return Found(count, tally, note)


def web_sockets(web: Web) -> int:
    """How many connections the process holds open on its port."""
    port, count = f":{web.port:04X}", 0
    mine = {os.readlink(fd) for fd in Path(f"/proc/{web.pid}/fd").iterdir() if fd.is_symlink()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = line.split()[1], line.split()[3], line.split()[9]
        count += local.endswith(port) and state == "01" and f"socket:[{inode}]" in mine
    return count


@fault(
    29, "client on a thin line", "five sockets read 1 KB/s of 30 MB for 20 s", "memory is bounded; nobody else notices"
)
async def thin_line(scene: Scene) -> Found:
    stack, count = scene.stack, 5
    web = stack.webs[0]
    async with stack.client(stack.person("ada")) as client, scene.audience(sessions=6, clients=2) as audience:
        session_id = await long_session(client)
        audience.start()
        before = memory(web)
        sockets = [await greedy(web, client.person, 4096) for _ in range(count)]
        ask = frame({"type": "session.subscribe", "ref": "1", "data": {"session_id": session_id, "after": 0}})
        for _, writer in sockets:
            for _ in range(20):
                writer.write(ask)
        begun, most, pings = time.monotonic(), 0, []
        while time.monotonic() - begun < 20:
            for reader, _ in sockets:
                await asyncio.wait({asyncio.ensure_future(reader.read(1024))}, timeout=0.1)
            most = max(most, memory(web) - before)
            pings.append(await round_trip(client))
            await asyncio.sleep(0.5)
        for _, writer in sockets:
            writer.transport.abort()
        tally = await audience.stop()
    assert most <= count * 3 * MIB + 10 * MIB, f"it held {most / MIB:.0f} MiB more"
    return Found(count, tally, f"{most / MIB:.0f} MiB more at most; ping p99 {percentile(pings, 0.99) * 1000:.0f} ms")


@fault(
    30,
    "client that floods",
    "frames of 2 MiB, 200 broken ones, 20,000 pings, 200 binary ones, on sockets of their own",
    "closed with 1009 or 4413; memory stays; nobody else notices",
)
async def floods(scene: Scene) -> Found:
    stack, closes = scene.stack, {}
    web = stack.webs[0]
    async with scene.audience(sessions=6, clients=2) as audience:
        person = audience.clients[0].person
        audience.start()
        before = memory(web)
        attacks: dict[str, list[str | bytes]] = {
            "oversize": ["x" * 2 * MIB], "broken": ["{"] * 200, "binary": [b"\0" * 100] * 200,
            "pings": ['{"type": "ping", "ref": "1", "data": {}}'] * 20_000,
        }  # fmt: skip
        for name, frames in attacks.items():
            client = Client([web.url], person)
            await client.connect()
            try:
                for one in frames:
                    await client.send_raw(one)
                if name == "pings":
                    await round_trip(client)
                    closes[name] = 0
                else:
                    closes[name] = await client.closed_with()
            except (*AWAY, Gone, AssertionError):
                closes[name] = client.closes[-1] if client.closes else await client.closed_with()
            await client.drop()
        grown = (memory(web) - before) / MIB
        tally = await audience.stop()
    assert closes["oversize"] == 1009, closes
    assert closes["broken"] == closes["binary"] == 4413, closes
    assert grown <= 40, f"{grown:.0f} MiB more"
    return Found(sum(map(len, attacks.values())), tally, f"closed with {closes}; {grown:.0f} MiB more")


@fault(
    31,
    "reconnect storm",
    "the web process with 1,000 sockets is killed, and all come back to the other one at once",
    "all resume without a gap",
)
async def reconnect_storm(scene: Scene) -> Found:
    stack, count = scene.stack, 1000
    person = stack.person("ada")
    async with scene.audience(sessions=10, clients=2, pace=STEADY) as audience:
        sessions = []
        async with stack.client(person) as owner:
            for _ in range(50):
                sessions.append(await owner.new_session())
        crowd = [Client([stack.webs[0].url, stack.webs[1].url], person, stays=True) for _ in range(count)]
        try:
            for start in range(0, count, 50):
                await asyncio.gather(*(client.connect() for client in crowd[start : start + 50]))
            await asyncio.gather(*(client.subscribe(sessions[n % 50]) for n, client in enumerate(crowd)))
            audience.start()
            await off(stack.webs[0].kill)
            begun = time.monotonic()
            heard = lambda one: one.closes and one._socket is not None and not one._asked  # noqa: E731
            await until(lambda: all(map(heard, crowd)), "all are back", 60)
            back = time.monotonic() - begun
            # Every one of them hears of what happens now, with the number that follows its last.
            async with stack.client(person, web=1) as owner:
                for session_id in sessions:
                    await owner.call("PATCH", f"/api/sessions/{session_id}/", {"title": "After the storm"})
            titles = lambda one: {fold.session.get("title") for fold in one.folds.values()}  # noqa: E731
            told = lambda one: titles(one) == {"After the storm"}  # noqa: E731
            await until(lambda: all(map(told, crowd)), "all have heard", 30)
            broken = [client._broken for client in crowd if client._broken]
            assert not broken, f"{len(broken)} were sent what the wire forbids: {broken[0]!r}"
        finally:
            await asyncio.gather(*(client.drop() for client in crowd))
            for client in crowd:
                await client.close_http()
        tally = await audience.stop()
    return Found(count, tally, f"all were back after {back:.1f} s")


@fault(
    32, "web killed", "kill -9 of each web process in turn, four times, under load", "clients resume on the other one"
)
async def web_killed(scene: Scene) -> Found:
    stack, times = scene.stack, 4
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        for number in range(times):
            await audience.flowing()
            web = stack.webs[number % 2]
            web.kill()
            await audience.growing(within_s=10)
            await restart(web)
        tally = await audience.stop()
        restarted = audience.restarts("worker_lost")
        note = f"{audience.count('sent again')} messages sent again"
    assert restarted == 0, f"{restarted} answers began anew"
    return Found(times, tally, note)
