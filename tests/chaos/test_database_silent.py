"""Postgres goes silent: packets are lost, and nobody is told. People hear so in time, and all comes back by itself.

CHAT_TEST_PARTITION_S: for how long at least (else until the worker has noticed).
Where no network namespace may be made, a proxy swallows what Postgres answers: then no kernel gives anything up.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat.database import ANSWER_S
from tests import network
from tests.chaos.crowd import OFFERED, QUICK, demo
from tests.journeys.test_answers import numbered
from tests.network import Network
from tests.processes import PATIENCE, Process, eventually, free_port, listens
from tests.proxy import Proxy
from tests.stack import Stack, Workshop, answers
from tests.wire import Client, Refused

PARTITION_S = float(os.environ.get("CHAT_TEST_PARTITION_S", "0"))
LONG, SHORT = demo(120, 4), demo(20, 0.4)


@dataclass
class Between:
    """What lies between the server and its Postgres."""

    url: str
    cut: Callable[[], None]
    mend: Callable[[], None]
    is_silent: bool  # for the kernel too: nothing is acknowledged


@contextlib.contextmanager
def between(stack: Stack) -> Iterator[Between]:
    address, _, name = stack.database_url.removeprefix("postgres://").partition("@")[2].partition("/")
    port = int(address.rpartition(":")[2])
    folder = stack.workshop.postgres.folder
    if folder is None or (reason := network.why_not()):
        print(f"a proxy instead of a network: {reason if folder else 'this Postgres is elsewhere'}")
        near = Proxy(port)
        try:
            yield Between(f"postgres://postgres@127.0.0.1:{near.port}/{name}", near.swallow, near.cut, False)
        finally:
            near.end()
        return
    net, port_there = Network(), free_port()
    socket = Path(folder / "data" / f".s.PGSQL.{port}")  # files are the same in each network
    command = net.command([sys.executable, "-m", "tests.proxy", net.inside, str(port_there), socket])
    far = Process("far", command, stack.folder / "far.log", ready=lambda _: listens(port_there, net.inside))
    try:
        far.start()
        yield Between(f"postgres://postgres@{net.inside}:{port_there}/{name}", net.cut, net.mend, True)
    finally:
        far.end()
        net.end()


@pytest.mark.parametrize("kind", ["postgres"])  # shared out to where that database is made already
async def test_people_are_told_in_time_and_web_and_worker_come_back(workshop: Workshop, kind: str) -> None:
    env = QUICK | {"CHAT_LLMS": ",".join(OFFERED)}
    with Stack(workshop, kind, webs=0, workers=0, env=env) as stack, between(stack) as line:
        stack.start()
        stack.add_web(DATABASE_URL=line.url)
        stack.add_worker(DATABASE_URL=line.url)
        async with stack.client(stack.person("ada"), stays=True) as client:
            session_id = await client.new_session()
            await client.subscribe(session_id)
            first = await client.say(session_id, "Before", llm=LONG)
            await client.shown(session_id, first, 50)
            await asyncio.to_thread(line.cut)
            parted_at = time.monotonic()
            await _everybody_is_told(client, session_id)
            assert await asyncio.to_thread(answers, stack.webs[0].url + "/healthz"), "the loop stands"
            if line.is_silent:
                # It could not know but for its kernel, which gave the connection up; and it asks again.
                gave_up = lambda: "the lease was not renewed" in stack.workers[0].text()  # noqa: E731
                await asyncio.to_thread(eventually, gave_up, "the worker gives its connections up", 15)
            await asyncio.sleep(parted_at + PARTITION_S - time.monotonic())
            parted_s = time.monotonic() - parted_at
            await asyncio.to_thread(line.mend)
            mended_at = time.monotonic()
            second = await _taken(client, session_id)
            taken_s = time.monotonic() - mended_at
            texts = [row["content"] for row in await client.answered(session_id, first, second, within_s=40)]
            assert texts == [numbered(120), numbered(20)]
            await client.agrees()
            print(
                f"silent for {parted_s:.1f} s; then a message was taken after {taken_s:.1f} s,"
                f" all was answered after {time.monotonic() - mended_at:.1f} s"
            )


async def _everybody_is_told(client: Client, session_id: str) -> None:
    """Over both doors, more than there are threads: those who come when each is stuck are told at once."""
    path, body = f"/api/sessions/{session_id}/messages/", {"content": "Meanwhile"}
    begun = time.monotonic()
    told = await asyncio.gather(
        client.command("message.send", session_id=session_id, content="Meanwhile", key="one"),
        *(client.post(path, body | {"key": f"over HTTP {n}"}) for n in range(12)),
        return_exceptions=True,
    )
    assert time.monotonic() - begun < (ANSWER_S + 2) * PATIENCE
    begun = time.monotonic()
    with contextlib.suppress(Refused):
        told.append(await client.get("/api/me/"))
    assert time.monotonic() - begun < 1 * PATIENCE, "no thread is free: it need not wait for that"
    for one in told:
        assert isinstance(one, Refused), one
        assert (one.error["code"], one.error["temporary"]) == ("unavailable", True)
        assert one.status in {None, 503}


async def _taken(client: Client, session_id: str) -> str:
    """Say something until it is taken, as a client does that was told that this is temporary."""
    until = time.monotonic() + 20 * PATIENCE
    while True:
        try:
            return await client.say(session_id, "After", key="after", llm=SHORT)
        except Refused as problem:
            if problem.code != "unavailable" or time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
