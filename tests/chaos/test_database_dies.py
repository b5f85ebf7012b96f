"""The database is restarted, cut off and stalled in the middle of answers; each still arrives once, and whole."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.chaos.crowd import OFFERED, QUICK, Crowd, demo
from tests.chaos.matrix.databases import end_connections, pinged, stalled
from tests.journeys.test_answers import numbered
from tests.stack import Stack, Workshop


@pytest.fixture(scope="module")
def mortal() -> Iterator[Stack]:
    """A stack on a Postgres of its own: the other tests' must not die."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL_PG", raising=False)
        workshop = Workshop()
        try:
            env = QUICK | {"CHAT_LLMS": ",".join(OFFERED)}
            with Stack(workshop, "postgres", webs=2, workers=2, env=env) as stack:
                yield stack.start()
        finally:
            workshop.end()


async def test_a_postgres_that_dies_and_comes_back_loses_nothing(mortal: Stack) -> None:
    process = mortal.workshop.postgres.process
    assert process is not None
    async with mortal.client(mortal.person("ada"), web=(0, 1), stays=True) as client:
        crowd = Crowd(mortal, client, tokens=100, seconds=4)
        await crowd.ask(10)
        assert crowd.in_flight() == 10
        process.signal(signal.SIGQUIT)  # an immediate shutdown: no client is waited for, nothing is put away
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(process.start)
        await crowd.all_whole()


async def test_connections_that_postgres_ends_are_made_anew(mortal: Stack) -> None:
    async with mortal.client(mortal.person("ada"), web=(0, 1), stays=True) as client:
        crowd = Crowd(mortal, client, tokens=100, seconds=4)
        await crowd.ask(10)
        ended = 0
        for _ in range(3):
            ended += await asyncio.to_thread(end_connections, mortal)
            await asyncio.sleep(0.5)
        assert ended >= 3, "there was nothing to end"
        await crowd.all_whole()


async def test_a_database_that_nobody_can_write_to_leaves_sockets_lively(stack: Stack) -> None:
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask(10)
        async with stalled(stack):
            asking = [asyncio.create_task(client.say(one, "Now?", llm=demo(20, 0.4))) for one in crowd.runs]
            trips = await pinged(client, 3)
            assert not any(task.done() for task in asking), "it was not stalled"
        print(f"a ping took {max(trips) * 1000:.0f} ms at the longest")
        assert len(trips) >= 5, "the socket waited for the database"
        for session_id, task in zip(crowd.runs, asking, strict=True):
            answers = await client.answered(session_id, crowd.runs[session_id], await task, within_s=60)
            assert [one["content"] for one in answers] == [numbered(100), numbered(20)]
        await client.agrees()
