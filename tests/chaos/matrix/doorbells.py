"""Faults of the queue: doorbells that are lost, doubled, unknown or from another version; and of beat."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from celery import Celery

from tests.chaos.matrix.paces import LONG, STEADY, SWIFT
from tests.chaos.matrix.scene import Found, Scene, explained, fault, off, until
from tests.processes import Process
from tests.stack import Stack
from tests.wire import Gone

explained(24, "LLM misbehaves", "stalls, resets, 429, garbage, endless answers", "tests/journeys: failures, tools")


def celery(stack: Stack) -> Celery:
    """A producer that shares no code with the server: another version, or a mistaken one."""
    return Celery("other", broker=stack.redis.url, set_as_current=False)


@fault(
    21,
    "death before the ring",
    "a web process dies between its commit and the doorbell, or the publishing",
    "the message is answered once; sent again with its key it is the same one",
)
async def death_before_the_ring(scene: Scene) -> Found:
    stack, times = scene.stack, 0
    async with scene.audience(sessions=4, clients=1, pace=SWIFT) as audience:
        [client] = audience.clients
        for (_, session_id), point in zip(audience.talks, ["commit.ring", "commit.publish"] * 2, strict=False):
            doomed = await off(stack.add_web, CHAT_FAILPOINTS=f"{point}=exit")
            same = {"session_id": session_id, "content": f"Heard? {times}", "key": "once", "llm": SWIFT.demo}
            async with stack.client(client.person, web=len(stack.webs) - 1) as unlucky:
                try:
                    await unlucky.command("message.send", **same)
                    raise AssertionError("it was answered")
                except Gone:
                    pass
            assert await off(doomed.wait) == 1
            again = await client.command("message.send", **same)
            assert again["duplicate"] is True
            await client.answered(session_id, again["run_id"], within_s=10)
            assert len(client.folds[session_id].messages) == 2
            times += 1
        tally = await audience.stop()
    return Found(times, tally)


@fault(
    22,
    "doubled doorbells",
    "each run is rung 1,000 times, by eight threads, while it waits, runs and is over",
    "each is answered once",
)
async def doubled_doorbells(scene: Scene) -> Found:
    stack, times = scene.stack, 0
    app = celery(stack)
    async with scene.audience(sessions=6, pace=STEADY) as audience:
        asked = [await audience.ask(*talk) for talk in audience.talks]
        with ThreadPoolExecutor(8) as threads:
            ring = lambda one: app.send_task("run_agent", args=[one.run_id], queue="runs")  # noqa: E731
            for _ in range(2):  # while they run, and once more when they are over
                rung = [asyncio.wrap_future(threads.submit(ring, one)) for one in asked for _ in range(500)]
                await asyncio.gather(*rung)
                times += len(rung)
                for one in asked:
                    await one.client.end_of(one.run_id)
        await until(lambda: not stack.redis.client().llen("runs"), "all doorbells are heard", 60)
        tally = await audience.stop()
    return Found(times, tally)


@fault(
    37,
    "mixed versions",
    "unknown tasks, unknown arguments, missing and broken ones in both queues",
    "no worker dies or stops listening; answers are whole",
)
async def mixed_versions(scene: Scene) -> Found:
    stack, times = scene.stack, 0
    app = celery(stack)
    wrong = [
        ("of_another_version", [str(uuid4())], {}), ("run_agent", [], {}), ("run_agent", ["no id"], {}),
        ("run_agent", [str(uuid4())], {"priority": 3}), ("run_agent", [{"run": 1}], {}), ("run_agent", [None], {}),
        ("summarise_session", [str(uuid4())], {}), ("prune", ["now"], {}),
    ]  # fmt: skip
    async with scene.audience(sessions=10, pace=STEADY) as audience:
        audience.start()
        for _ in range(10):
            for name, args, more in wrong:
                for queue in ("runs", "jobs"):
                    await off(app.send_task, name, args=args, kwargs=more, queue=queue, headers={"new": "field"})
                    times += 1
            await asyncio.sleep(0.3)
        empty = lambda: not stack.redis.client().llen("runs") and not stack.redis.client().llen("jobs")  # noqa: E731
        await until(empty, "the queues are empty", 30)
        tally = await audience.stop()
        assert all(worker.alive for worker in stack.workers), "a worker died"
        client, session_id = audience.talks[0]
        # A client of a newer version is told what is not understood here.
        for extra in ({"colour": "red"}, {"llm": 7}):
            await client.send_raw({"type": "message.send", "ref": None, "data": {"session_id": session_id, **extra}})
        await client.until(lambda: len(client.errors) >= 2, "it is told", 10)
        assert {error["code"] for error in client.errors} == {"invalid_input"}
    return Found(times, tally, "wrong doorbells")


@fault(36, "beat", "two beats at once, one killed; its tasks come twice; then none", "the chat does not notice")
async def beat(scene: Scene) -> Found:
    stack = scene.stack
    beats = []
    for number in (1, 2):
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "chatproject",
            "beat",
            "-s",
            str(stack.folder / f"beat{number}"),
        ]
        command += ["--pidfile", ""]
        log = stack.folder / f"beat{number}.log"
        beats.append(Process(f"beat{number}", command, log, env=stack.env, ready=lambda one: "starting" in one.text()))
    try:
        for one in beats:
            one.spawn()
        async with scene.audience(sessions=10, pace=LONG) as audience:
            audience.start()
            await audience.flowing()
            for one in beats:
                await off(one.wait_ready)
            app = celery(stack)
            for _ in range(20):
                await off(app.send_task, "prune", queue="jobs")
            beats[0].kill()
            await asyncio.sleep(2)
            assert beats[1].alive
            beats[1].kill()
            await audience.growing(within_s=4)
            tally = await audience.stop()
    finally:
        for one in beats:
            one.end()
    return Found(3, tally)
