"""Faults of workers: one that swallows a doorbell and dies, one that freezes, deploys, and runs that kill."""

import asyncio
import signal
import sqlite3
import time
from contextlib import closing

from tests.chaos.matrix.paces import LONG, STEADY, SWIFT
from tests.chaos.matrix.scene import Found, Scene, explained, fault, off, restart, until
from tests.chaos.matrix.storm import streaming_on
from tests.processes import Process, free_port
from tests.stack import Stack
from tests.watching.test_metrics import read

explained(3, "prefork child", "kill -9 of a prefork child", "workers run Celery's thread pool: there are no children")


@fault(
    2,
    "lost doorbell",
    "an idle worker is frozen, swallows a doorbell and is killed",
    "the row is found by the other worker: the first token within 5 s",
)
async def lost_doorbell(scene: Scene) -> Found:
    stack, rounds, waits = scene.stack, 4, []
    async with scene.audience(sessions=2, clients=1, pace=STEADY, llms=(STEADY.demo,)) as audience:
        for _ in range(rounds):
            frozen = stack.workers[0]
            frozen.freeze()
            begun = time.monotonic()
            # Redis serves who waits longest: of two doorbells the frozen one is handed one.
            asked = [await audience.ask(*talk) for talk in audience.talks]
            await asyncio.sleep(0.1)
            frozen.kill()
            for one in asked:
                key = (one.run_id, 1)
                await until(lambda: key in one.client.first_seen, "the first token", 10)  # noqa: B023
                waits.append(one.client.first_seen[key] - begun)
            await restart(frozen)
            for one in asked:
                await one.client.end_of(one.run_id)
        tally = await audience.stop()
    assert max(waits) > 0.25, "no doorbell was lost"
    assert max(waits) <= 5, f"the first token took {max(waits):.1f} s"
    return Found(rounds, tally, f"first token after {max(waits):.1f} s at the longest")


async def freeze(stack: Stack, worker: Process) -> None:
    """Freeze a worker, but not in the middle of a write: on SQLite it would hold the one lock while it sleeps."""
    while True:
        worker.freeze()
        if stack.database != "sqlite" or await off(can_write, stack):
            return
        worker.thaw()
        await asyncio.sleep(0.05)


def fences(port: int) -> float:
    """How often the fence has refused pieces of a worker that serves its metrics there."""
    return read(f"http://127.0.0.1:{port}/metrics").get("chat_deltas_refused_total{reason=fenced}", 0)


def can_write(stack: Stack) -> bool:
    try:
        with closing(sqlite3.connect(stack.folder / "data" / "chat.sqlite3", timeout=3, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return True


@fault(
    4,
    "frozen worker",
    "SIGSTOP of a worker for longer than its lease, then SIGCONT while others write its answers",
    "it writes nothing, and the fence refuses what it shows; each answer comes from one attempt",
)
async def frozen_worker(scene: Scene) -> Found:
    stack, rounds, port = scene.stack, 2, free_port()
    restarts, fenced = 0, 0.0
    frozen = await off(stack.add_worker, CHAT_METRICS_PORT=str(port))
    async with scene.audience(sessions=24, pace=LONG) as audience:
        audience.start()
        for _ in range(rounds):
            await audience.flowing()
            held: dict[Process, dict[str, int]] = {}
            while len(held.get(frozen, {})) < 4:  # it takes its share of what is asked from now on
                held = await streaming_on(stack, audience)
            await freeze(stack, frozen)
            taken = lambda: audience.restarts("worker_lost") >= restarts + len(held[frozen])  # noqa: B023, E731
            await until(taken, "its answers are begun anew", 20)
            await asyncio.sleep(1)  # they are being written
            frozen.thaw()
            restarts = audience.restarts("worker_lost")
            await asyncio.sleep(2)
            before, fenced = fenced, await off(fences, port)
            assert fenced > before, "it woke up, and met no fence"
        tally = await audience.stop()
    return Found(rounds, tally, f"{restarts} answers begun anew; {fenced:.0f} times the fence refused what it showed")


@fault(
    5,
    "rolling deploy",
    "SIGTERM to each worker and web process in turn, under load, and a new one in its place",
    "no failed answer, no crash counted, sockets told 4412, a worker gone within 15 s",
)
async def rolling_deploy(scene: Scene) -> Found:
    stack, times, ends = scene.stack, 0, []
    async with scene.audience(sessions=30, pace=STEADY) as audience:
        audience.start()
        await audience.flowing(0.7)
        parts: list[Process] = [*stack.workers, *stack.webs]
        for part in parts:
            part.terminate()
            begun = time.monotonic()
            code = await off(part.wait)
            assert code == 0, f"{part} ended with {code}"
            if part in stack.workers:
                ends.append(time.monotonic() - begun)
            times += 1
            await restart(part)
            await audience.flowing(0.5)
        tally = await audience.stop()
        closes = [code for client in audience.clients for code in client.closes]
        crashed = audience.restarts("worker_lost")
        drained = audience.restarts("drained")
    assert closes and set(closes) == {4412}, f"sockets were closed with {sorted(set(closes))}"
    assert crashed == 0, f"{crashed} answers counted as crashed"
    assert max(ends) <= 15, f"a worker took {max(ends):.1f} s to end"
    return Found(times, tally, f"{drained} answers handed over; a worker ended within {max(ends):.1f} s")


@fault(
    38,
    "poison run",
    "the worker that writes a certain answer is killed each time",
    "it is given up after three crashes and says so; all others are answered",
)
async def poison_run(scene: Scene) -> Found:
    stack, kills = scene.stack, 0
    async with (
        scene.audience(sessions=10, clients=2, pace=SWIFT) as others,
        scene.audience(sessions=1, clients=1, pace=LONG) as poisoned,
    ):
        others.start()
        [(client, session_id)] = poisoned.talks
        poison = await poisoned.ask(client, session_id)
        ended = asyncio.create_task(client.end_of(poison.run_id))
        while not ended.done():
            held = await streaming_on(stack, poisoned)
            guilty = next((worker for worker, runs in held.items() if poison.run_id in runs), None)
            if guilty is not None:
                await asyncio.sleep(1)  # what was begun anew together with it has long been answered
                guilty.signal(signal.SIGKILL)
                await off(guilty.wait)
                kills += 1
                await restart(guilty)
            await asyncio.sleep(0.2)
        run = client.folds[session_id].runs[poison.run_id]
        told = [row["kind"] for row in client.folds[session_id].messages.values() if row["role"] == "system"]
        await client.agrees(session_id)
        tally = await others.stop()
    assert (run["status"], run["crashes"], run["error"]["code"]) == ("failed", 3, "worker_lost"), run
    assert told == ["error"], told
    return Found(kills, tally, f"given up after {run['crashes']} crashes; {tally.asked} others answered meanwhile")
