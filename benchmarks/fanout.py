"""500 sockets in one room: what a delivery costs the server, when much is said at once and when little is said.

The same client opens the sockets of all and checks that each gets everything once; a process of its own tells the same
frames through Redis. Ours are facts of a session's log, so they are written to the database first.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks import rooms
from benchmarks.bench import SERVERS, Bench
from benchmarks.figures import Figure, Rounds, ratio
from benchmarks.rooms import Room

TITLE = "500 sockets in one session"
SOCKETS, AT_ONCE, EVERY_S = 500, 40, 0.1
RATE = "deliveries a second, in bursts"
BURST, SPARSE = "CPU a delivery, in bursts", "CPU a delivery, 10 frames a second"
IDLE = "CPU of 500 idle sockets"
NODE = "Socket.IO on node"


async def run(bench: Bench) -> list[Figure]:
    rounds = Rounds()
    places = [await rooms.ours(bench, server) for server in SERVERS]
    places += [await rooms.stock_channels(bench, server) for server in SERVERS]
    places.append(await rooms.socketio(bench))
    for _ in range(bench.rounds):
        for room in places:
            await room.enter(bench.many(SOCKETS))
            await room.tell(1)
            await idle(bench, room, rounds)
            await bursts(bench, room, rounds)
            await sparse(bench, room, rounds)
            room.leave()
            await asyncio.sleep(0.5)  # a server has to see all of them go
    return rounds.figures() + compared(rounds)


async def idle(bench: Bench, room: Room, rounds: Rounds) -> None:
    """Tell nothing: what the sockets cost by being there."""
    with bench.cost(room.server) as cost:
        await asyncio.sleep(bench.seconds(5))
    rounds.add(IDLE, room.name, "% of a core", cost.cpu_s / cost.wall_s * 100)


async def bursts(bench: Bench, room: Room, rounds: Rounds) -> None:
    """Tell a room many things at once, again and again."""
    until, times = time.perf_counter() + bench.seconds(2.5), 0
    with bench.cost(room.server) as cost:
        while times < 2 or time.perf_counter() < until:
            await room.tell(AT_ONCE)
            times += 1
    deliveries = times * AT_ONCE * len(room.sockets)
    rounds.add(RATE, room.name, "/s", deliveries / cost.wall_s)
    rounds.add(BURST, room.name, "µs", cost.cpu_s / deliveries * 1e6)


async def sparse(bench: Bench, room: Room, rounds: Rounds) -> None:
    """Tell a room one thing at a time."""
    times = bench.many(30)
    with bench.cost(room.server) as cost:
        begin = time.perf_counter()
        for number in range(times):
            await asyncio.sleep(begin + number * EVERY_S - time.perf_counter())
            await room.tell(1)
    rounds.add(SPARSE, room.name, "µs", cost.cpu_s / (times * len(room.sockets)) * 1e6)


def compared(rounds: Rounds) -> list[Figure]:
    """Set ours beside the others, round by round."""
    found = []
    for server, sparse_goal in (("uvicorn", 1 / 5), ("daphne", 1 / 3)):
        for what, goal in ((BURST, 1 / 10), (SPARSE, sparse_goal)):
            mine = rounds.figure(what, f"ours, {server}")
            found.append(ratio(mine, rounds.figure(what, f"stock Channels, {server}"), at_most=goal))
        goals = {"uvicorn": 1.0}
        found.append(
            ratio(rounds.figure(BURST, f"ours, {server}"), rounds.figure(BURST, NODE), at_most=goals.get(server))
        )
    return found
