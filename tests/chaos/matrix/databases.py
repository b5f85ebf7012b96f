"""Faults of the database: restarted, its connections ended, stalled, and written to by many at once."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest

from tests.chaos.matrix.audience import Audience
from tests.chaos.matrix.networks import round_trip
from tests.chaos.matrix.paces import BRIEF, LONG, STEADY
from tests.chaos.matrix.scene import Found, NotPlayed, Scene, fault, off, until
from tests.chaos.matrix.storm import percentile
from tests.processes import Process
from tests.servers import Postgres
from tests.stack import Stack
from tests.wire import Client, Refused

AWAY_S = 15.0  # three leases
TABLES = "chat_chatsession, chat_message, chat_run, chat_event, chat_worker"


def own_postgres(scene: Scene) -> tuple[Postgres, Process]:
    postgres = scene.workshop.postgres
    if postgres.process is None:
        raise NotPlayed("DATABASE_URL_PG names a Postgres that is not ours to kill")
    return postgres, postgres.process


@fault(
    16,
    "Postgres restarted",
    "an immediate shutdown in the middle of 20 answers, and a start; three times",
    "clients are told `unavailable` at worst, and their repeated sends are answered once",
    only="postgres",
)
async def postgres_restarted(scene: Scene) -> Found:
    _, process = own_postgres(scene)
    times, took = 3, []
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        for _ in range(times):
            await audience.flowing()
            begun = time.monotonic()
            process.signal(signal.SIGQUIT)
            await off(process.wait)
            await off(process.start)
            took.append(time.monotonic() - begun)
            await audience.growing(within_s=20)
        tally = await audience.stop()
        note = told(audience)
    return Found(times, tally, f"away for {max(took):.1f} s at the longest; {note}")


@fault(
    16,
    "Postgres away",
    f"an immediate shutdown in the middle of 20 answers, and a start {AWAY_S:g} s later: every lease has run out",
    "clients are told `unavailable` within 6 s, each answer is begun anew once and no more, live again within 20 s",
    only="postgres",
)
async def postgres_away(scene: Scene) -> Found:
    _, process = own_postgres(scene)
    async with scene.audience(sessions=20, pace=LONG) as audience:
        audience.start()
        await audience.flowing()
        client, session_id = audience.clients[0], audience.talks[0][1]
        process.signal(signal.SIGQUIT)
        await off(process.wait)
        gone_at = time.monotonic()
        waits, trips = await refused(client, session_id, AWAY_S)
        away_s = time.monotonic() - gone_at
        await off(process.start)
        back_at = time.monotonic()
        await audience.growing(within_s=20)
        live_s = time.monotonic() - back_at
        tally = await audience.stop()
        note = told(audience)
        anew = audience.most_restarts("worker_lost")
    how = borne(waits, trips)
    assert anew <= 1, f"an answer was begun anew {anew} times"
    return Found(1, tally, f"away for {away_s:.0f} s; {how}; live again after {live_s:.1f} s; {note}")


async def refused(client: Client, session_id: str, seconds: float) -> tuple[list[float], list[float]]:
    """Ask for a page again and again: how long until one is told that it cannot be read, and pings in between."""
    waits, trips, until_at = [], [], time.monotonic() + seconds
    while time.monotonic() < until_at:
        begun = time.monotonic()
        with pytest.raises(Refused) as problem:
            await client.get(f"/api/sessions/{session_id}/")
        waits.append(time.monotonic() - begun)
        assert (problem.value.code, problem.value.error["temporary"]) == ("unavailable", True), problem.value
        trips.append(await round_trip(client))
        await asyncio.sleep(0.5)
    return waits, trips


def borne(waits: list[float], trips: list[float]) -> str:
    """Hold what people are promised while the database is away, and say how long they waited to be told."""
    assert max(waits) <= 6, f"a request was answered after {max(waits):.1f} s"
    assert max(trips) <= 1, f"a ping took {max(trips):.1f} s"
    return f"{len(waits)} requests were refused after {max(waits):.1f} s at the longest"


def told(audience: Audience) -> str:
    refused, anew = audience.count("refused for now"), audience.restarts("worker_lost")
    return f"{refused} sends refused for now, {anew} answers begun anew"


def end_connections(stack: Stack) -> int:
    """End every connection to a stack's Postgres, and give how many there were."""
    name = stack.database_url.rpartition("/")[2]
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    with psycopg.connect(stack.workshop.postgres.admin_url, autocommit=True) as admin:
        return len(admin.execute(query, [name]).fetchall())


@fault(
    17,
    "connections ended",
    "pg_terminate_backend of every connection, every 2 s for 20 s",
    "new ones are made; nothing is lost",
    only="postgres",
)
async def connections_ended(scene: Scene) -> Found:
    times = 0
    async with scene.audience(sessions=20, pace=STEADY) as audience:
        audience.start()
        await audience.flowing(0.5)
        for _ in range(10):
            times += await off(end_connections, scene.stack)
            await asyncio.sleep(2)
        tally = await audience.stop()
        note = told(audience)
    assert times >= 10, "there was nothing to end"
    return Found(times, tally, note)


@asynccontextmanager
async def stalled(stack: Stack) -> AsyncIterator[None]:
    """Hold what every write needs: on SQLite the one lock, on Postgres the tables."""
    if stack.database == "sqlite":
        path = stack.folder / "data" / "chat.sqlite3"
        holder = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        await off(holder.execute, "BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")
            holder.close()
    else:
        with psycopg.connect(stack.database_url) as locker:
            await off(locker.execute, f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
            try:
                yield
            finally:
                locker.rollback()


@asynccontextmanager
async def frozen_backends(scene: Scene) -> AsyncIterator[None]:
    """Stop every process of Postgres that serves a connection: no query is answered, no connection ends."""
    _, process = own_postgres(scene)
    url = scene.workshop.postgres.admin_url
    with psycopg.connect(url, autocommit=True) as admin:
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        pids = [process.pid, *(pid for (pid,) in admin.execute(query))]
        for pid in pids:
            signal_to(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                signal_to(pid, signal.SIGCONT)


def signal_to(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def pinged(client: Client, seconds: float) -> list[float]:
    """Ping ten times a second, and give the round trips."""
    trips, until_at = [], time.monotonic() + seconds
    while time.monotonic() < until_at:
        trips.append(await round_trip(client))
        await asyncio.sleep(0.1)
    return trips


async def stall(scene: Scene, audience: Audience, how: str, seconds: float) -> list[float]:
    """Stall the database while answers are written, and ping meanwhile."""
    await audience.flowing(0.7)
    async with frozen_backends(scene) if how == "frozen" else stalled(scene.stack):
        return await pinged(audience.clients[0], seconds)


@fault(
    18,
    "database stalled",
    "for 10 s nobody can write (SQLite: the lock is held; Postgres: tables locked, then its processes frozen)",
    "sockets stay lively, nothing is lost",
)
async def database_stalled(scene: Scene) -> Found:
    hows = ["locked"] if scene.is_sqlite else ["locked", "frozen"]
    trips: list[float] = []
    async with scene.audience(sessions=20, pace=STEADY) as audience:
        audience.start()
        for how in hows:
            trips += await stall(scene, audience, how, 10)
            await audience.heard(within_s=10)
            await until(lambda: len(audience.streaming()) >= 10, "answers are written again", 30)
        tally = await audience.stop()
        note = told(audience)
    p99 = percentile(trips, 0.99) * 1000
    assert p99 <= 1000, f"p99 of the pings is {p99:.0f} ms"
    note = f"ping p50 {percentile(trips, 0.5) * 1000:.1f} ms, p99 {p99:.1f} ms; {note}"
    return Found(len(hows), tally, note, {"ping_p99_ms": round(p99, 1)})


@fault(19, "20 writers", "20 people write as fast as they can for 10 s, by two web processes", "nobody is refused")
async def twenty_writers(scene: Scene) -> Found:
    stack = scene.stack
    clients = [stack.client(stack.person("ada"), web=n % 2) for n in range(20)]
    refused: list[str] = []
    until_at = time.monotonic() + 10

    async def write(client: Client) -> int:
        count = 0
        session_id = await client.new_session()
        while time.monotonic() < until_at:
            try:
                await client.call("PATCH", f"/api/sessions/{session_id}/", {"title": f"Title {count}"})
                await client.post(f"/api/sessions/{session_id}/messages/", {"content": f"{count}", "llm": BRIEF.demo})
            except Refused as problem:
                refused.append(str(problem))
            count += 2
        return count

    counts = await asyncio.gather(*map(write, clients))
    for client in clients:
        await client.close_http()
    for worker in (*stack.webs, *stack.workers):
        assert "database is locked" not in worker.text(), f"{worker} says: database is locked"
    assert not refused, f"{len(refused)} refused, the first: {refused[0]}"
    assert min(counts) > 0, "somebody could not write at all"
    return Found(sum(counts), None, f"{sum(counts)} writes, {min(counts)} to {max(counts)} a person; 0 refused")
