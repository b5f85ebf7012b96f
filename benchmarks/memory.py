"""What a socket that only listens costs the web process in memory."""

import asyncio

from benchmarks import rooms
from benchmarks.bench import SERVERS, Bench, memory_bytes
from benchmarks.figures import Figure, Rounds

TITLE = "Memory of an idle socket that follows a session"
SOCKETS, WARM = 500, 50
WHAT = "memory a socket, of {}"


async def run(bench: Bench) -> list[Figure]:
    rounds = Rounds()
    for _ in range(bench.rounds):
        for opened in rooms.openers():
            room = await opened(bench)  # a process each time: what others have left would be used again
            await room.enter(WARM)
            await asyncio.sleep(0.5)
            before, there = memory_bytes(room.server), len(room.sockets)
            await room.enter(SOCKETS)
            await asyncio.sleep(0.5)
            added = len(room.sockets) - there
            rounds.add(WHAT.format(added), room.name, "KB", (memory_bytes(room.server) - before) / added / 1000)
            room.leave()
            bench.end_all()
    return rounds.figures({(WHAT.format(SOCKETS), f"ours, {server}"): 45 for server in SERVERS})
