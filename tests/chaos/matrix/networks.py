"""Silent partitions: a process and Redis no longer hear each other, and neither is told."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests import network
from tests.chaos.matrix.audience import Audience
from tests.chaos.matrix.paces import LONG, STEADY, SWIFT
from tests.chaos.matrix.scene import Found, NotPlayed, Scene, fault, off, until
from tests.network import Network
from tests.processes import Process
from tests.proxy import Proxy
from tests.stack import Stack, answers
from tests.wire import Client

CUT_S = 75.0


@contextlib.asynccontextmanager
async def own_network(scene: Scene) -> AsyncIterator[tuple[Network, Stack, dict[str, str]]]:
    """A stack, and a network whose processes reach its Redis by a cable, and its database by a file."""
    if reason := network.why_not():
        raise NotPlayed(reason)
    net = await off(Network)
    try:
        stack = scene.new_stack(webs=2, workers=2)
        stack.redis.spawn()
        await off(stack.redis.wait_ready)
        redis: Any = stack.redis.client()
        redis.config_set("bind", f"127.0.0.1 {net.host}")
        redis.config_set("protected-mode", "no")
        env = {"REDIS_URL": f"redis://{net.host}:{stack.redis.port}/0"}
        if not scene.is_sqlite:
            env["DATABASE_URL"] = through_a_file(scene, stack)
        for part in (*stack.webs, *stack.workers):
            part.spawn()
        for part in (*stack.webs, *stack.workers):
            await off(part.wait_ready)
        yield net, stack, env
    finally:
        await off(net.end)


def through_a_file(scene: Scene, stack: Stack) -> str:
    """The database's URL by way of its Unix socket, which every network reaches."""
    postgres = scene.workshop.postgres
    if postgres.folder is None:
        raise NotPlayed("DATABASE_URL_PG names a Postgres that another network may not reach")
    user, _, rest = stack.database_url.removeprefix("postgres://").partition("@")
    port, _, name = rest.partition(":")[2].partition("/")
    folder = str(postgres.folder / "data").replace("/", "%2F")
    return f"postgres://{user}@{folder}:{port}/{name}"


async def round_trip(client: Client) -> float:
    """How long a ping takes: whether the event loop of the web process turns."""
    begun = time.monotonic()
    await client.command("ping")
    return time.monotonic() - begun


@fault(
    11,
    "web | Redis",
    f"a web process and Redis lose every packet of each other for {CUT_S:g} s, silently",
    "its loop turns, events arrive within 3 s by the table, live again within 20 s of the mending",
    within_s=200,
)
async def web_partition(scene: Scene) -> Found:
    async with own_network(scene) as (net, stack, env):
        web = stack._web("web3", **env)
        stack.webs.append(web)
        socket = Path(stack.folder / "web3.socket")
        proxy = Proxy(socket)
        web.url = f"http://127.0.0.1:{proxy.port}"
        web.command = net.command([web.command[0], "-m", "daphne", "-u", socket, "chatproject.asgi:application"])
        web.ready = lambda _: answers(web.url + "/healthz")
        try:
            await off(web.start)
            async with scene.audience(stack, sessions=8, clients=2, pace=LONG, webs=(2,)) as audience:
                audience.start()
                await audience.flowing()
                await off(net.cut)
                pings, waits = await _during(audience.clients[0], CUT_S)
                await off(net.mend)
                took = await live_again(audience, 20)
                tally = await audience.stop()
        finally:
            proxy.end()
    assert max(pings) <= 1, f"a ping took {max(pings):.1f} s"
    assert max(waits) <= 3, f"an event took {max(waits):.1f} s"
    longest = f"pings took {max(pings) * 1000:.0f} ms at the longest, events {max(waits):.1f} s"
    note = f"{longest}; live again after {took:.1f} s"
    return Found(1, tally, note)


async def _during(client: Client, seconds: float) -> tuple[list[float], list[float]]:
    pings, waits = [], []
    until_at = time.monotonic() + seconds
    while time.monotonic() < until_at:
        for _ in range(20):
            pings.append(await round_trip(client))
            await asyncio.sleep(0.2)
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        begun = time.monotonic()
        run_id = await client.say(session_id, "Do you hear me?", llm=SWIFT.demo)
        await client.until(lambda: fold.status(run_id), "its event", 15)  # noqa: B023
        waits.append(time.monotonic() - begun)
    return pings, waits


async def live_again(audience: Audience, within_s: float) -> float:
    """Wait until answers grow by pieces, not by whole messages alone."""
    begun = time.monotonic()
    await until(lambda: len(audience.streaming()) >= 0.7 * len(audience.talks), "answers are shown live", within_s)
    return time.monotonic() - begun


@fault(
    12,
    "worker | Redis",
    f"the only worker and Redis lose every packet of each other for {CUT_S:g} s, silently",
    "answers go on by the table; within 30 s of the mending it hears doorbells and shows live again",
    within_s=220,
)
async def worker_partition(scene: Scene) -> Found:
    async with own_network(scene) as (net, stack, env):
        worker: Process = stack._worker("worker3", **env)
        stack.workers.append(worker)
        worker.command = net.command(worker.command)
        await off(worker.start)
        for other in stack.workers[:2]:
            other.kill()
        async with scene.audience(stack, sessions=8, clients=2, pace=STEADY) as audience:
            audience.start()
            await audience.flowing(0.5)
            await off(net.cut)
            before = len(audience.asked)
            await asyncio.sleep(CUT_S)
            meanwhile = len(audience.asked) - before
            await off(net.mend)
            took = await live_again(audience, 30)
            tally = await audience.stop()
            heard = await _heard(audience)
    assert meanwhile >= len(audience.talks), "nothing was answered meanwhile"
    audience.none_began_anew()
    return Found(
        1,
        tally,
        f"{meanwhile} questions meanwhile; live again after {took:.1f} s, doorbells heard after {heard:.1f} s more",
    )


async def _heard(audience: Audience) -> float:
    """Wait until an answer begins at once: the doorbell is heard, and not the sweep alone looks."""
    begun = time.monotonic()
    client, session_id = audience.talks[0]
    while time.monotonic() - begun < 40:
        asked_at = time.monotonic()
        run_id = await client.ask(session_id, f"Heard? {asked_at}", SWIFT.demo)
        await client.end_of(run_id)
        if client.first_seen.get((run_id, 1), float("inf")) - asked_at < 0.25:
            return time.monotonic() - begun
    raise AssertionError("the worker hears no doorbell any more")


__all__ = ["own_network", "round_trip"]
