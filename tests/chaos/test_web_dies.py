"""Web processes are killed and stopped: clients come back elsewhere, and nothing that was accepted is lost."""

import asyncio
import time
from typing import Any

import pytest

from tests.chaos.crowd import Crowd, demo
from tests.journeys.test_answers import numbered
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Gone


async def test_a_web_process_killed_in_the_middle_of_twenty_answers(stack: Stack) -> None:
    async with stack.client(stack.person("ada"), web=(0, 1), stays=True) as client:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask()
        stack.webs[0].kill()
        runs = await crowd.all_whole()
        assert client.closes == [1006]
        assert [run["attempt"] for run in runs] == [1] * 20, "the death of a web process is no reason to begin again"


@pytest.mark.enough_on("sqlite")
async def test_a_stopped_web_process_says_goodbye(stack: Stack) -> None:
    ada = stack.person("ada")
    async with stack.client(ada, web=(0, 1), stays=True) as client, stack.client(ada) as idle:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask()
        stack.webs[0].terminate()
        stopped_at = time.monotonic()
        assert await idle.closed_with() == 4412
        assert idle.errors[-1]["retry_after_s"] > 0 and idle.errors[-1]["temporary"]
        assert await asyncio.to_thread(stack.webs[0].wait, 10) == 0
        print(f"SIGTERM to the web process' end: {time.monotonic() - stopped_at:.1f} s")
        runs = await crowd.all_whole()
        assert client.closes == [4412]
        assert [(run["attempt"], run["crashes"]) for run in runs] == [(1, 0)] * 20


@pytest.mark.parametrize("point", ["commit.ring", "commit.publish"])
async def test_a_death_between_commit_and_what_follows_it_loses_nothing(stack: Stack, point: str) -> None:
    ada = stack.person("ada")
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        doomed = stack.add_web(CHAT_FAILPOINTS=f"{point}=exit")
        same = {"session_id": session_id, "content": "Heard?", "key": "once", "llm": demo(20, 0.4)}
        async with stack.client(ada, web=2) as unlucky:
            with pytest.raises(Gone):
                await unlucky.command("message.send", **same)
        assert await asyncio.to_thread(doomed.wait, 10) == 1
        again = await client.command("message.send", **same)
        assert again["duplicate"] is True
        [answer] = await client.answered(session_id, again["run_id"], within_s=10)
        assert answer["content"] == numbered(20)
        assert len(fold.messages) == 2
        await client.agrees()


@pytest.mark.enough_on("sqlite")
async def test_clients_that_vanish_in_the_middle_leave_nothing_behind(stack: Stack) -> None:
    channels: Any = stack.redis.client().pubsub_channels()
    before = set(channels)
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=100, seconds=4)
        await crowd.ask(5)
        guests = [stack.client(client.person) for _ in range(20)]
        for guest in guests:
            await guest.connect()
            for session_id in crowd.runs:
                await guest.subscribe(session_id)
        for guest in guests:
            await guest.drop()
            await guest.close_http()
        await crowd.all_whole()
        channels = stack.redis.client().pubsub_channels()
        assert len(set(channels) - before) >= 5
    gone = lambda: not set(stack.redis.client().pubsub_channels()) - before  # noqa: E731
    eventually(gone, "no session is listened to any more", 40)
