"""What is left in the processes when a crowd has come and gone."""

import asyncio
import os
import time
from typing import Any

from chat.database import THREADS
from tests.chaos.matrix.clients import MIB, memory
from tests.chaos.matrix.paces import SWIFT
from tests.chaos.matrix.scene import Found, Scene, fault, off
from tests.stack import Stack
from tests.wire import Person


@fault(
    39,
    "leaks",
    "1,000 connections that come and go, politely or not, and 500 answers",
    "file descriptors, threads, Redis connections and subscriptions are as before",
)
async def leaks(scene: Scene) -> Found:
    stack = scene.new_stack(webs=1, workers=1)
    await off(stack.start)
    person = stack.person("ada")
    await _come_and_go(stack, person, 500, 250)
    before = await _settled(stack)
    await _come_and_go(stack, person, 1000, 500)
    deadline = time.monotonic() + 40
    while True:
        after = await _settled(stack)
        grown = {name: after[name] - before[name] for name in before}
        more = {name: by for name, by in grown.items() if by > _may_grow(name)}
        if not more:
            break
        assert time.monotonic() < deadline, f"more than before: {more}"
        await asyncio.sleep(2)
    return Found(1500, None, ", ".join(f"{name} {by:+}" for name, by in grown.items()))


def _may_grow(name: str) -> int:
    """Little beside a thousand connections. A pool's threads come when they are first needed at once, and stay.

    With SQLite each of them holds three files: the database, its log, and the one of the writers' line.
    """
    kind = name.rsplit(maxsplit=1)[-1]
    return {"MiB": 25, "threads": 8 + THREADS, "fds": 8 + 3 * THREADS}.get(kind, 8)


async def _come_and_go(stack: Stack, person: Person, connections: int, runs: int) -> None:
    async with stack.client(person) as steady:
        sessions = [await steady.new_session() for _ in range(10)]
        for session_id in sessions:
            await steady.subscribe(session_id)

        async def visit(number: int) -> None:
            guest = stack.client(person)
            await guest.connect()
            await guest.subscribe(sessions[number % 10])
            await (guest.drop() if number % 2 else guest.close())
            await guest.close_http()

        async def talk(session_id: str) -> None:
            for number in range(runs // 10):
                run_id = await steady.say(session_id, f"{number}", llm=SWIFT.demo)
                await steady.answered(session_id, run_id)

        async def visits() -> None:
            for start in range(0, connections, 20):
                await asyncio.gather(*map(visit, range(start, start + 20)))

        await asyncio.gather(visits(), *map(talk, sessions))


async def _settled(stack: Stack) -> dict[str, int]:
    await asyncio.sleep(3)
    redis: Any = stack.redis.client()
    counted = {
        "Redis connections": len(redis.client_list()),
        "subscriptions": len([one for one in redis.pubsub_channels() if b"session." in one]),
    }
    for part in (*stack.webs, *stack.workers):
        counted[f"{part.name} fds"] = len(os.listdir(f"/proc/{part.pid}/fd"))
        counted[f"{part.name} threads"] = len(os.listdir(f"/proc/{part.pid}/task"))
        counted[f"{part.name} MiB"] = memory(part) // MIB
    return counted
