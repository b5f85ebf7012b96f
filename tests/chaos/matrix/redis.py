"""Faults of Redis: dead, emptied, frozen, cut off, replaced by a stale copy, full, and full of nonsense."""

import asyncio
import contextlib
import time
from typing import Any

import redis as redis_py

from tests.chaos.matrix.audience import Audience
from tests.chaos.matrix.paces import LONG, STEADY, SWIFT
from tests.chaos.matrix.scene import Found, Scene, fault, off, restart, until
from tests.proxy import Proxy
from tests.servers import Redis

FROZEN_S = 20.0


@fault(
    6,
    "Redis killed",
    "kill -9 of Redis with nothing on disk, back after 0.2, 3 and 15 s",
    "no answer begins anew; live again within 6 s of its return",
)
async def redis_killed(scene: Scene) -> Found:
    stack, live = scene.stack, []
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        for away_s in (0.2, 3.0, 15.0):
            await audience.flowing()
            stack.redis.kill()
            await asyncio.sleep(away_s)
            await restart(stack.redis)
            live.append(await audience.growing(within_s=6))
        tally = await audience.stop()
    audience.none_began_anew()
    return Found(3, tally, f"live again after {', '.join(f'{took:.1f}' for took in live)} s")


@fault(7, "FLUSHALL", "everything in Redis is deleted in the middle of 20 answers", "no answer begins anew or stops")
async def flushall(scene: Scene) -> Found:
    times = 10
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        for _ in range(times):
            await audience.flowing()
            scene.stack.redis.flush()
            await audience.growing(within_s=4)
        tally = await audience.stop()
    audience.none_began_anew()
    return Found(times, tally)


@fault(
    8,
    "Redis away",
    "Redis is away for 60 s",
    "signing in, history, asking and answering go on; events within 2 s; /readyz says degraded",
)
async def redis_away(scene: Scene) -> Found:
    stack, waits, pages = scene.stack, [], 0
    async with scene.audience(sessions=8, pace=SWIFT, clients=2) as audience:
        client = audience.clients[0]
        stack.redis.kill()
        gone_at = time.monotonic()
        await asyncio.sleep(1)
        audience.start()
        while time.monotonic() - gone_at < 60:
            ready = await client.get("/readyz")
            assert ready["status"] == "degraded", ready
            assert ready["checks"]["database"]["status"] == "ok", ready
            async with stack.client(client.person, web=pages % 2, by="ticket") as guest:
                session_id = await guest.new_session()
                fold = await guest.subscribe(session_id)
                begun = time.monotonic()
                run_id = await guest.say(session_id, "In the dark", llm=SWIFT.demo)
                await guest.until(lambda: fold.status(run_id), "its event", 10)  # noqa: B023
                waits.append(time.monotonic() - begun)
                await guest.answered(session_id, run_id, within_s=15)
                await guest.agrees()
            pages += 1
            await asyncio.sleep(1)
        await restart(stack.redis)
        tally = await audience.stop()
        back = lambda: client.get("/readyz")  # noqa: E731
        for _ in range(40):
            if (await back())["status"] == "ok":
                break
            await asyncio.sleep(0.25)
        else:
            raise AssertionError("it stays degraded")
    assert max(waits) <= 2, f"an event took {max(waits):.1f} s"
    return Found(1, tally, f"{pages} sign-ins and conversations meanwhile; events within {max(waits):.1f} s")


@fault(9, "Redis frozen", "SIGSTOP of Redis for 8 s", "sends are answered within 3 s; no answer begins anew")
async def redis_frozen(scene: Scene) -> Found:
    stack, sends = scene.stack, []
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        await audience.flowing()
        stack.redis.freeze()
        frozen_at = time.monotonic()
        client = audience.clients[0]
        while time.monotonic() - frozen_at < 8:
            begun = time.monotonic()
            session_id = await client.new_session()
            await client.post(f"/api/sessions/{session_id}/messages/", {"content": "Ice", "llm": SWIFT.demo})
            sends.append(time.monotonic() - begun)
            await asyncio.sleep(0.2)
        stack.redis.thaw()
        took = await audience.growing(within_s=6)
        tally = await audience.stop()
    assert max(sends) <= 3, f"a send took {max(sends):.1f} s"
    audience.none_began_anew()
    return Found(1, tally, f"sends took {max(sends):.2f} s at the longest; live again after {took:.1f} s")


@fault(
    41,
    "broker frozen",
    f"SIGSTOP for {FROZEN_S:g} s of the Redis that carries the doorbells, beside one that carries the live groups",
    "facts arrive within a second and pieces go on; what is asked meanwhile is found in the table",
)
async def broker_frozen(scene: Scene) -> Found:
    stack, waits, grown = scene.new_stack(webs=0, workers=0), [], []
    await off(stack.start)
    shard = Redis(stack.folder, "shard")
    try:
        await off(shard.start)
        for add in (stack.add_web, stack.add_web, stack.add_worker, stack.add_worker):
            await off(add, CHAT_REDIS_SHARDS=shard.url)
        async with scene.audience(stack, sessions=8, clients=2, pace=LONG) as audience:
            person = audience.clients[0].person
            async with stack.client(person, web=0) as one, stack.client(person, web=1) as other:
                session_id = await one.new_session()
                fold = await other.subscribe(session_id)
                audience.start()
                await audience.flowing()
                stack.redis.freeze()
                until_at, runs = time.monotonic() + FROZEN_S, []
                while time.monotonic() < until_at:
                    begun = time.monotonic()
                    runs.append(await one.say(session_id, "Do you hear me?", llm=SWIFT.demo))
                    await other.until(lambda: fold.status(runs[-1]), "its event", 15)
                    waits.append(time.monotonic() - begun)
                    grown.append(await audience.growing(within_s=15))
                stack.redis.thaw()
                await other.answered(session_id, *runs, within_s=30)
                await other.agrees()
            tally = await audience.stop()
    finally:
        shard.end()
    note = f"{len(waits)} facts arrived within {max(waits):.2f} s, more of each answer within {max(grown):.1f} s"
    failure = f"a fact arrived after {max(waits):.1f} s" if max(waits) > 1 else ""
    # A new answer is found in the table within a second or two; one on its way goes on all the time.
    return Found(1, tally, note, {}, failure or ("the answers stood still" if max(grown) > 5 else ""))


@fault(10, "CLIENT KILL", "every Redis connection is killed, every 200 ms for 15 s", "no answer begins anew or stops")
async def client_kill(scene: Scene) -> Found:
    times = 0
    async with scene.audience(sessions=20, pace=STEADY) as audience:
        audience.start()
        await audience.flowing(0.5)
        begun = time.monotonic()
        client: Any = scene.stack.redis.client()
        while time.monotonic() - begun < 15:
            for kind in ("pubsub", "normal"):
                with contextlib.suppress(redis_py.RedisError):  # it may well be our own connection
                    client.client_kill_filter(_type=kind, skipme=True)
            times += 2
            await asyncio.sleep(0.2)
        tally = await audience.stop()
    audience.none_began_anew()
    return Found(times, tally)


@fault(
    13,
    "stale replica",
    "Redis dies, and behind its address is a replica that stopped following 5 s before",
    "what the replica does not know is nobody's loss; live again within 6 s",
)
async def stale_replica(scene: Scene) -> Found:
    stack = scene.new_stack(webs=2, workers=2)
    proxy = Proxy(stack.redis.port)
    replica = Redis(stack.folder, "replica")
    try:
        for part in (*stack.webs, *stack.workers):
            part.env = (part.env or {}) | {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        await off(stack.start)
        await restart(replica)
        follower: Any = replica.client()
        follower.replicaof("127.0.0.1", stack.redis.port)
        await until(lambda: follower.info("replication")["master_link_status"] == "up", "the replica follows", 15)
        async with scene.audience(stack, sessions=20, pace=LONG) as audience:
            audience.start()
            await audience.flowing()
            await asyncio.sleep(1)
            follower.replicaof("NO", "ONE")
            await asyncio.sleep(5)
            stack.redis.kill()
            await off(proxy.lead_to, replica.port)
            took = await audience.growing(within_s=6)
            tally = await audience.stop()
        audience.none_began_anew()
        return Found(1, tally, f"live again after {took:.1f} s")
    finally:
        replica.end()
        proxy.end()


@fault(
    14, "Redis full", "maxmemory of 1 MB, noeviction, for 8 s", "answers go on and are stored; live again within 6 s"
)
async def redis_full(scene: Scene) -> Found:
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        await audience.flowing()
        client: Any = scene.stack.redis.client()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        try:
            client.set("x", "y" * 100)
            raise AssertionError("it is not full")
        except redis_py.OutOfMemoryError:
            pass
        await asyncio.sleep(8)
        client.config_set("maxmemory", "0")
        took = await audience.growing(within_s=6)
        tally = await audience.stop()
    audience.none_began_anew()
    return Found(1, tally, f"live again after {took:.1f} s")


@fault(
    44,
    "Redis refuses",
    "it answers, and takes nothing for 12 s, as one that has lost its replicas",
    "every process stays up; answers go on and are stored; live again within 6 s",
)
async def redis_refuses(scene: Scene) -> Found:
    stack = scene.stack
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        await audience.flowing()
        pids = [part.pid for part in (*stack.workers, *stack.webs)]
        client: Any = stack.redis.client()
        client.config_set("min-replicas-to-write", "1")
        try:
            await asyncio.sleep(12)
        finally:
            client.config_set("min-replicas-to-write", "0")
        took = await audience.growing(within_s=6)
        tally = await audience.stop()
    audience.none_began_anew()
    assert pids == [part.pid for part in (*stack.workers, *stack.webs) if part.alive], "a process has ended"
    return Found(1, tally, f"live again after {took:.1f} s")


@fault(
    15,
    "nonsense in Redis",
    "junk in the queues and in every channel; drafts and fences deleted, or of another type",
    "every process stays up; answers are whole",
)
async def nonsense(scene: Scene) -> Found:
    times = 0
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        for _ in range(3):
            await audience.flowing()
            times += await off(_litter, scene.stack.redis.client(), scene)
            await asyncio.sleep(1)
        await _alive(scene, audience)
        tally = await audience.stop()
    return Found(times, tally, "pieces of junk")


JUNK = [
    b"",
    b"\x00\xff" * 20,
    b"not json",
    b"{}",
    b'{"body": 1}',
    b"\x81\xa4type\xa5event",
    b"\x81\xa4type\xa4look",
    b"[" * 5000,
]


def _litter(client: Any, scene: Scene) -> int:
    times = 0
    for junk in JUNK:
        for queue in ("runs", "jobs"):
            client.lpush(queue, junk)
            times += 1
        for channel in client.pubsub_channels():
            client.publish(channel, junk)
            times += 1
    for key in client.keys("chat:*"):
        if scene.dice.random() < 0.3:
            client.delete(key)
            client.lpush(key, "of another type")
        times += 1
    return times


async def _alive(scene: Scene, audience: Audience) -> None:
    dead = [part for part in (*scene.stack.webs, *scene.stack.workers) if not part.alive]
    assert not dead, f"{dead} died"
    for index, client in enumerate(audience.clients[:2]):
        assert (await client.get("/readyz"))["status"] == "ok", f"web {index} is not well"
