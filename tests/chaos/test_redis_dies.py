"""Redis is emptied, killed and away: the database is the memory, so nothing that anyone was told is lost."""

import asyncio
import time

import pytest

from tests.chaos.crowd import Crowd, demo
from tests.journeys.test_answers import numbered
from tests.stack import Stack
from tests.wire import Refused

SHORT = demo(20, 0.4)


@pytest.mark.enough_on("sqlite")
async def test_flushall_in_the_middle_of_twenty_answers(stack: Stack) -> None:
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=200, seconds=8)
        await crowd.ask()
        for _ in range(3):
            stack.redis.flush()
            await crowd.growing(within_s=2)
        # Who comes now, to a process that remembers nothing, is shown all that was said so far.
        async with stack.client(client.person, web=1) as late:
            for session_id, run_id in crowd.runs.items():
                seen = len(client.folds[session_id].draft(run_id))
                await late.open_page(session_id)
                if late.folds[session_id].status(run_id) == "running":
                    await late.shown(session_id, run_id, characters=seen, within_s=10)
            runs = await crowd.all_whole()
            await late.agrees()
        assert [run["attempt"] for run in runs] == [1] * 20, "emptying Redis is no reason to begin again"


@pytest.mark.enough_on("postgres")
async def test_redis_killed_for_three_seconds(stack: Stack) -> None:
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=300, seconds=15)
        await crowd.ask()
        stack.redis.kill()
        await asyncio.sleep(3)
        stack.redis.start()
        back_at = time.monotonic()
        await crowd.growing(within_s=6)
        print(f"Redis back to live again: {time.monotonic() - back_at:.1f} s")
        runs = await crowd.all_whole()
        assert [run["attempt"] for run in runs] == [1] * 20, "Redis away is no reason to begin again"


async def test_a_whole_conversation_over_http_without_redis(stack: Stack) -> None:
    stack.redis.kill()
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session(title="In the dark")
        for number in range(3):
            body = {"content": f"Number {number}", "llm": SHORT}
            asked = await client.post(f"/api/sessions/{session_id}/messages/", body, wait=20)
            assert asked["run"]["status"] == "succeeded"
            assert asked["reply"]["content"] == numbered(20)
        page = await client.get(f"/api/sessions/{session_id}/")
        assert len(page["messages"]) == 6 and page["status"] == "waiting"
        ready = await client.get("/readyz")
        assert ready["status"] == "degraded" and ready["checks"]["redis"]["status"] != "ok"
        assert ready["checks"]["database"]["status"] == "ok"

        # And over a socket: no deltas, but every event within a second.
        await client.subscribe(session_id)
        await client.answered(session_id, await client.say(session_id, "And now?", llm=SHORT), within_s=15)
        stopped = await client.say(session_id, "Stop", llm=demo(300, 15))
        running = lambda: client.folds[session_id].status(stopped) == "running"  # noqa: E731
        await client.until(running, "it starts")
        await client.command("run.cancel", run_id=stopped)
        assert client.folds[session_id].status(stopped) == "cancelled"
        await client.agrees()

        stack.redis.start()
        await client.answered(session_id, await client.say(session_id, "Back again", llm=SHORT))
        await client.agrees()


async def test_sign_in_history_and_sockets_need_no_redis(stack: Stack) -> None:
    ada = stack.person("ada")
    async with stack.client(ada) as before:
        session_id = await before.new_session()
        await before.subscribe(session_id)
        await before.answered(session_id, await before.say(session_id, "Hello", llm=SHORT))
        stack.redis.kill()
        for by in ("bearer", "subprotocol", "ticket"):
            async with stack.client(ada, by=by) as client:
                started = time.monotonic()
                fold = await client.subscribe(session_id)
                assert time.monotonic() - started < 3
                await client.until(lambda: len(fold.answers()) == 1, "the history is there")  # noqa: B023
                await client.agrees()
        with pytest.raises(Refused, match="not_found"):
            await before.command("run.cancel", run_id=session_id)


@pytest.mark.enough_on("postgres")
async def test_a_frozen_redis_slows_but_does_not_stop(stack: Stack) -> None:
    async with stack.client(stack.person("ada")) as client:
        crowd = Crowd(stack, client, tokens=200, seconds=8)
        await crowd.ask(10)
        stack.redis.freeze()
        started = time.monotonic()
        session_id = await client.new_session()
        await client.say(session_id, "Through the ice", llm=SHORT)
        assert time.monotonic() - started < 3
        await asyncio.sleep(3)
        stack.redis.thaw()
        runs = await crowd.all_whole()
        assert [run["attempt"] for run in runs] == [1] * 10, "a slow Redis is no reason to begin again"
