"""Postgres falls silent for a web process, or for a worker: packets are lost, and neither side is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.matrix.audience import Audience
from tests.chaos.matrix.databases import borne, refused, told
from tests.chaos.matrix.networks import live_again
from tests.chaos.matrix.paces import LONG
from tests.chaos.matrix.scene import Found, Scene, fault, off, until
from tests.chaos.matrix.storm import streaming_on
from tests.chaos.matrix.workers import fences
from tests.chaos.test_database_silent import Between, between
from tests.processes import Process, free_port
from tests.stack import Stack

SILENT_S = 20.0


@asynccontextmanager
async def silent_postgres(scene: Scene) -> AsyncIterator[tuple[Stack, Between]]:
    """A stack, and a way to its Postgres that can fall silent, for whom it is given to."""
    stack = scene.new_stack(webs=2, workers=1)
    with between(stack) as line:
        await off(stack.start)
        yield stack, line


@fault(
    42,
    "web | Postgres",
    f"a web process and Postgres lose every packet of each other for {SILENT_S:g} s, silently",
    "its loop turns, requests are told `unavailable` within 6 s, pieces arrive; all is well 20 s after the mending",
    only="postgres",
)
async def web_without_postgres(scene: Scene) -> Found:
    async with silent_postgres(scene) as (stack, line):
        await off(stack.add_web, DATABASE_URL=line.url)
        # Four talks a socket, whose commands are answered one after the other: all that wait have to be told in time.
        async with scene.audience(stack, sessions=8, clients=2, pace=LONG, webs=(2,)) as audience:
            audience.start()
            await audience.flowing()
            await off(line.cut)
            live_s = await audience.growing(within_s=5)
            waits, pings = await refused(audience.clients[0], audience.talks[0][1], SILENT_S)
            await off(line.mend)
            await audience.heard(within_s=20)
            took = await live_again(audience, 20)
            tally = await audience.stop()
            note = told(audience)
    how = borne(waits, pings)
    audience.none_began_anew()
    return Found(1, tally, f"{how}; the next pieces after {live_s:.1f} s; live again after {took:.1f} s; {note}")


@fault(
    43,
    "worker | Postgres",
    f"one of two workers and Postgres lose every packet of each other for {SILENT_S:g} s, silently",
    "its answers are begun anew within 10 s; what it shows meanwhile and later the fence refuses; it works again after",
    only="postgres",
)
async def worker_without_postgres(scene: Scene) -> Found:
    port = free_port()
    async with silent_postgres(scene) as (stack, line):
        lonely = await off(stack.add_worker, DATABASE_URL=line.url, CHAT_METRICS_PORT=str(port))
        async with scene.audience(stack, sessions=16, clients=2, pace=LONG) as audience:
            audience.start()
            await audience.flowing()
            lost = await holds(stack, lonely, audience, 4)
            await off(line.cut)
            cut_at = time.monotonic()
            await until(lambda: audience.restarts("worker_lost") >= lost, "its answers are begun anew", 20)
            anew_s = time.monotonic() - cut_at
            await asyncio.sleep(cut_at + SILENT_S - time.monotonic())
            fenced = await off(fences, port)
            await off(line.mend)
            mended_at = time.monotonic()
            await holds(stack, lonely, audience, 1)
            took = time.monotonic() - mended_at
            tally = await audience.stop()
            note = told(audience)
    assert anew_s <= 10, f"its answers were begun anew after {anew_s:.1f} s"
    assert fenced, "it met no fence"
    how = f"{lost} answers begun anew within {anew_s:.1f} s, pieces refused by the fence {fenced:.0f} times"
    return Found(1, tally, f"{how}; it wrote again after {took:.1f} s; {note}")


async def holds(stack: Stack, worker: Process, audience: Audience, least: int) -> int:
    """Wait until a worker writes some answers, and give how many."""
    deadline = time.monotonic() + 30
    while True:
        held = (await streaming_on(stack, audience)).get(worker, {})
        if len(held) >= least:
            return len(held)
        assert time.monotonic() < deadline, f"it writes {len(held)} answers"
        await asyncio.sleep(0.1)
