"""Clients that read nothing, or little, or flood; a thousand that come back at once; web processes that die."""

import asyncio
import os
import time
from pathlib import Path

import psutil

from chat.database import THREADS
from tests.chaos.matrix.networks import round_trip
from tests.chaos.matrix.paces import LONG, STEADY
from tests.chaos.matrix.scene import Found, Scene, fault, off, restart, until
from tests.chaos.matrix.storm import percentile
from tests.chat.servers.web import fill
from tests.connection import AWAY
from tests.hostile import Raw, command
from tests.processes import Process
from tests.stack import Stack, Web
from tests.watching.test_metrics import read
from tests.wire import Client, Gone, Person

MIB = 2**20
EVENTS = 1500  # of 10 KB
# 30 s without progress, at most 5 more until somebody looks, and a little. Less than daphne's own pings take, which end
# a socket that answers none after 50.
GIVEN_UP_S = 40.0


def memory(process: Process) -> int:
    """What a process holds in memory, in bytes."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def long_session(stack: Stack, client: Client) -> str:
    """A session whose log is 15 MB long, and which was read before.

    What reading takes the process once is no client's cost: on SQLite each thread of readers keeps 2 MB of pages.
    """
    session_id = await client.new_session()
    await off(fill, stack, session_id, EVENTS)
    await asyncio.gather(*(read_whole(stack, client.person, session_id) for _ in range(THREADS)))
    return session_id


async def read_whole(stack: Stack, person: Person, session_id: str) -> None:
    async with stack.client(person) as one:
        fold = await one.subscribe(session_id)
        await one.until(lambda: fold.last_seq >= EVENTS, "all of it is read")


async def greedy(web: Web, person: Person, session_id: str) -> Raw:
    """A socket through a small buffer that asks for a whole log, and is read by nobody."""
    one = await off(lambda: Raw(web.port, buffer=4096).open(person.token))
    one.send(command("session.subscribe", session_id=session_id, after=0))
    return one


def still_held(web: Web, sockets: list[Raw]) -> int:
    """How many of these sockets the process holds the other end of."""
    ports = {one.socket.getsockname()[1] for one in sockets}
    ends = psutil.Process(web.pid).net_connections("tcp")
    return sum(bool(end.raddr) and end.laddr.port == web.port and end.raddr.port in ports for end in ends)


def closed_slow(web: Web) -> float:
    return read(f"{web.url}/metrics").get("chat_sockets_closed_total{code=4408}", 0)


@fault(
    28,
    "client that never reads",
    "ten sockets ask for 15 MB each and read nothing",
    f"the web process holds at most 3 MiB for each and 10 besides, closes each with 4408 after 30 s and within "
    f"{GIVEN_UP_S:g}, and the others notice nothing: their pings take a second at most",
)
async def never_reads(scene: Scene) -> Found:
    stack, count = scene.stack, 10
    web = stack.webs[0]
    async with stack.client(stack.person("ada")) as client, scene.audience(sessions=6, clients=2) as audience:
        session_id = await long_session(stack, client)
        audience.start()
        await audience.flowing(0.5)
        before, told = memory(web), await off(closed_slow, web)
        begun, most, pings = time.monotonic(), 0, []
        sockets = [await greedy(web, client.person, session_id) for _ in range(count)]
        first_s = 0.0
        while (left := await off(still_held, web, sockets)) and time.monotonic() - begun < 2 * GIVEN_UP_S:
            first_s = first_s or (time.monotonic() - begun if left < count else 0.0)
            most = max(most, memory(web) - before)
            pings.append(await round_trip(client))
            await asyncio.sleep(0.2)
        took = time.monotonic() - begun
        told = await off(closed_slow, web) - told
        for one in sockets:
            one.reset()
        tally = await audience.stop()
    assert told == count, f"{told:.0f} of {count} were closed with 4408, {left} are there after {took:.0f} s"
    assert (first_s or took) >= 30 and took <= GIVEN_UP_S, f"they went after {first_s:.0f} to {took:.0f} s"
    assert most <= count * 3 * MIB + 10 * MIB, f"it held {most / MIB:.0f} MiB more"
    p99 = percentile(pings, 0.99) * 1000
    assert p99 <= 1000, f"pings of others took {p99:.0f} ms"
    note = f"{most / MIB:.0f} MiB more at most, all closed with 4408 after {took:.0f} s; ping p99 {p99:.0f} ms"
    return Found(count, tally, note)


@fault(
    29,
    "client on a thin line",
    "five sockets read 1 KB/s of 15 MB for 20 s",
    "the web process holds at most 3 MiB for each and 10 besides; the others' pings take a second at most",
)
async def thin_line(scene: Scene) -> Found:
    stack, count = scene.stack, 5
    web = stack.webs[0]
    async with stack.client(stack.person("ada")) as client, scene.audience(sessions=6, clients=2) as audience:
        session_id = await long_session(stack, client)
        audience.start()
        await audience.flowing(0.5)
        before = memory(web)
        sockets = [await greedy(web, client.person, session_id) for _ in range(count)]
        begun, most, pings, taken = time.monotonic(), 0, [], 0
        while time.monotonic() - begun < 20:
            taken += sum(map(len, await asyncio.gather(*(off(one.socket.recv, 1024) for one in sockets))))
            most = max(most, memory(web) - before)
            pings.append(await round_trip(client))
            await asyncio.sleep(1)
        left = await off(still_held, web, sockets)
        for one in sockets:
            one.reset()
        tally = await audience.stop()
    assert left == count, f"{count - left} of them were closed, which read all the time"
    assert most <= count * 3 * MIB + 10 * MIB, f"it held {most / MIB:.0f} MiB more"
    p99 = percentile(pings, 0.99) * 1000
    assert p99 <= 1000, f"pings of others took {p99:.0f} ms"
    note = f"{taken / 1024:.0f} KiB were read, {most / MIB:.0f} MiB more at most; ping p99 {p99:.0f} ms"
    return Found(count, tally, note)


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
        await audience.flowing(0.5)
        before, most = memory(web), 0
        attacks: dict[str, list[str | bytes]] = {
            "oversize": ["x" * 2 * MIB], "broken": ["{"] * 200, "binary": [b"\0" * 100] * 200,
            "pings": ['{"type": "ping", "ref": "1", "data": {}}'] * 20_000,
        }  # fmt: skip
        for name, frames in attacks.items():
            client = Client([web.url], person)
            await client.connect()
            try:
                for number, one in enumerate(frames):
                    await client.send_raw(one)
                    most = max(most, memory(web) - before) if number % 100 == 0 else most
                if name == "pings":
                    await round_trip(client)
                    closes[name] = 0
                else:
                    closes[name] = await client.closed_with()
            except (*AWAY, Gone, AssertionError):
                closes[name] = client.closes[-1] if client.closes else await client.closed_with()
            await client.drop()
            most = max(most, memory(web) - before)
        await audience.growing(within_s=5)
        tally = await audience.stop()
    assert closes["oversize"] == 1009, closes
    assert closes["broken"] == closes["binary"] == 4413, closes
    assert most <= 40 * MIB, f"{most / MIB:.0f} MiB more"
    return Found(sum(map(len, attacks.values())), tally, f"closed with {closes}; {most / MIB:.0f} MiB more at most")


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
        note = f"{audience.count('sent again')} messages sent again"
    audience.none_began_anew()
    return Found(times, tally, note)
