"""500 sockets in one room: what a delivery costs the server, when much is said at once and when little is said.

The same client opens the sockets of all and checks that each gets everything once; a process of its own tells the same
frames through Redis. Ours are facts of a session's log, so they are written to the database first.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import rooms
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Rounds, ratio
from benchmarks.rooms import Room

SOCKETS, AT_ONCE, EVERY_S = 500, 40, 0.1
IDLE_S = 20.0  # however little is measured: two looks of ours at each credential, and one ping of daphne and uvicorn
TITLE = f"{SOCKETS} sockets in one session"
RATE = "deliveries a second to {} sockets, in bursts"
BURST, SPARSE = "CPU a delivery to {} sockets, in bursts", "CPU a delivery to {} sockets, 10 frames a second"
IDLE = "CPU of {} idle sockets"
NODE = "Socket.IO on node"


async def run(bench: Bench) -> list[Figure]:
    places = [await opened(bench) for opened in rooms.openers()]
    rounds = await measure(bench, places)
    return rounds.figures() + compared(rounds, len(places[0].sockets))


async def measure(bench: Bench, places: Sequence[Room]) -> Rounds:
    """Fill all rooms, and leave them full: idle sockets of others are little beside what is measured."""
    rounds = Rounds()
    for room in places:
        await room.enter(SOCKETS)
    for _ in range(bench.rounds):
        for room in places:
            await room.tell(1)
        await idle(bench, places, rounds)
        for room in places:
            await bursts(bench, room, rounds)
            await sparse(bench, room, rounds)
    return rounds


async def idle(bench: Bench, places: Sequence[Room], rounds: Rounds) -> None:
    """Tell nothing: what the sockets cost by being there. All at once, since it takes long and is next to nothing."""
    with ExitStack() as measured:
        costs = [measured.enter_context(bench.cost(room.server)) for room in places]
        await asyncio.sleep(max(bench.seconds(IDLE_S), IDLE_S))
    for room, cost in zip(places, costs, strict=True):
        rounds.add(IDLE.format(len(room.sockets)), room.name, "% of a core", cost.cpu_s / cost.wall_s * 100)


async def bursts(bench: Bench, room: Room, rounds: Rounds) -> None:
    """Tell a room many things at once, again and again."""
    until, times = time.perf_counter() + bench.seconds(2.5), 0
    with bench.cost(room.server) as cost:
        while not times or time.perf_counter() < until:
            await room.tell(AT_ONCE)
            times += 1
    count = len(room.sockets)
    rounds.add(RATE.format(count), room.name, "/s", times * AT_ONCE * count / cost.wall_s)
    rounds.add(BURST.format(count), room.name, "µs", cost.cpu_s / (times * AT_ONCE * count) * 1e6)


async def sparse(bench: Bench, room: Room, rounds: Rounds) -> None:
    """Tell a room one thing at a time, at least for as long as its server leaves a socket alone."""
    times = bench.times(50, least=max(round(room.every_s / EVERY_S), 2))
    with bench.cost(room.server) as cost:
        begin = time.perf_counter()
        for number in range(times):
            await asyncio.sleep(begin + number * EVERY_S - time.perf_counter())
            await room.tell(1)
    count = len(room.sockets)
    rounds.add(SPARSE.format(count), room.name, "µs", cost.cpu_s / (times * count) * 1e6)


def compared(rounds: Rounds, count: int) -> list[Figure]:
    """Set ours beside the others, round by round."""
    found, burst, seldom = [], BURST.format(count), SPARSE.format(count)
    for server, sparse_goal in (("uvicorn", 1 / 5), ("daphne", 1 / 3)):
        for what, goal in ((burst, 1 / 10), (seldom, sparse_goal)):
            mine = rounds.figure(what, f"ours, {server}")
            found.append(ratio(mine, rounds.figure(what, f"stock Channels, {server}"), at_most=goal))
        goals = {"uvicorn": 1.0}
        found.append(
            ratio(rounds.figure(burst, f"ours, {server}"), rounds.figure(burst, NODE), at_most=goals.get(server))
        )
    return found
