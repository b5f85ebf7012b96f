"""An agent that asks its LLM, calls two tools side by side and answers: so many runs a second, and what one costs.

With the demo LLM at full speed and tools that do next to nothing: what is measured is the ledger, which is written
before and after each call, and the log. The first figure is of one person who waits for each answer.
"""

import asyncio
import time

from benchmarks.bench import DATABASES, Bench, Wrong
from benchmarks.figures import Figure, Rounds
from tests.deeds import AGENT, Deeds
from tests.stack import Stack
from tests.wire import Client

TITLE = "Runs that call two tools between two calls of their LLM"
ALONE, MANY, CPU = "send → answer, one at a time", "runs a second, {} sessions at once", "CPU a run, worker"
SESSIONS = 20


async def run(bench: Bench) -> list[Figure]:
    rounds = Rounds()
    for database, name in DATABASES.items():
        deeds = Deeds(bench.folder / database)
        stack = bench.stack(database, env=deeds.env)
        deeds.employ(stack)
        async with stack.client(stack.person("ada")) as client:
            sessions = [await client.new_session() for _ in range(SESSIONS)]
            for session_id in sessions:
                await client.subscribe(session_id)
            await in_turn(client, sessions[0], bench.times(10))  # caches, pools and imports
            for _ in range(bench.rounds):
                rounds.spread(ALONE, name, "ms", await in_turn(client, sessions[0], bench.times(40)))
                each = bench.times(10)
                with bench.cost(stack.workers[0]) as worker:
                    await asyncio.gather(*(in_turn(client, session_id, each) for session_id in sessions))
                rounds.add(MANY.format(len(sessions)), name, "/s", each * len(sessions) / worker.wall_s)
                rounds.add(CPU, name, "ms", worker.cpu_s / (each * len(sessions)) * 1e3)
        check(stack, deeds)
        bench.end(stack)
    return rounds.figures()


async def in_turn(client: Client, session_id: str, count: int) -> list[float]:
    """Ask for two calls, again and again, and give how long each took, in ms."""
    took = []
    for number in range(count):
        begin = time.perf_counter()
        run_id = await client.say(session_id, f"Please peek at {number + 1000} and {number + 2000}", agent=AGENT)
        await client.ended(session_id, run_id)
        took.append((time.perf_counter() - begin) * 1e3)
    return took


def check(stack: Stack, deeds: Deeds) -> None:
    """Raises Wrong where a run failed, or a call was made more or less than once."""
    runs = stack.ask("[(r := Run.objects.filter(agent=a)).count(), r.filter(status='succeeded').count()]", a=AGENT)
    made = set(deeds.times("peek").values())
    if runs[0] != runs[1] or made != {1} or len(deeds.times("peek")) != 2 * runs[0]:
        raise Wrong(f"{runs[1]} of {runs[0]} runs succeeded with {len(deeds.times('peek'))} calls")
