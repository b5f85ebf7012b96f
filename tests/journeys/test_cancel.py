"""A stop is a stop: told before its ok, nothing after it, what was shown is kept, the LLM's connection is closed."""

import asyncio
import time

import pytest

from tests.conftest import LONG, STEADY, SWIFT
from tests.journeys.test_answers import numbered
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Client, Person


def types_of(client: Client, run_id: str) -> list[str]:
    return [frame["type"] for _, frame in client.received if frame["run_id"] == run_id]


async def test_a_stop_is_told_before_its_ok_and_nothing_comes_after_it(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada, web=0) as client, stack.client(ben, web=1) as watcher:
        session_id = await client.new_session()
        await client.post(f"/api/sessions/{session_id}/members/", {"username": ben.username})
        for one in (client, watcher):
            await one.subscribe(session_id)
        run_id = await client.say(session_id, "Count for ever", llm=LONG)
        shown = await client.shown(session_id, run_id, characters=30)
        done = await client.command("run.cancel", run_id=run_id)
        assert done == {"run_id": run_id, "status": "cancelled"}
        told = [frame["type"] for _, frame in client.received if frame["run_id"] == run_id or frame["type"] == "ok"]
        ok = len(told) - 1 - told[::-1].index("ok")
        assert told[ok - 2 :] == ["message.created", "run.cancelled", "ok"]
        await asyncio.sleep(0.5)
        for one in (client, watcher):
            assert types_of(one, run_id)[-1] == "run.cancelled"
            partial = one.folds[session_id].answers()[0]
            assert partial["data"]["interrupted"] is True
            assert partial["content"].startswith(shown) and numbered(600).startswith(partial["content"])
            await one.agrees()
        again = await client.post(f"/api/runs/{run_id}/cancel/")
        assert again == done, "cancelling what is over answers with its status"


@pytest.mark.parametrize("llm", ["openai:tokens-600@100", "openai:stall-after-5"], ids=["talking", "silent"])
async def test_the_connection_to_the_llm_is_closed_within_200_ms(stack: Stack, ada: Person, llm: str) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, f"Count for {session_id}", llm=llm)
        await client.shown(session_id, run_id, characters=14)
        await client.command("run.cancel", run_id=run_id)
        stopped_at = time.time()
        [asked] = [one for one in stack.llm_saw("request") if session_id in one["messages"][-1]["content"]]
        [closed] = eventually(lambda: stack.llm_saw("close", id=asked["id"]), "the connection is closed", 5)
        assert closed["midstream"] and closed["by"] == "client"
        assert closed["at"] - stopped_at < 0.2
        await client.agrees()


async def test_stopping_what_waits_leaves_the_others(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        fold = await client.subscribe(session_id)
        first, second, third = [await client.say(session_id, text, llm=llm) for text, llm in
                                (("1", LONG), ("2", SWIFT), ("3", SWIFT))]  # fmt: skip
        await client.shown(session_id, first)
        assert (await client.command("run.cancel", run_id=second))["status"] == "cancelled"
        assert fold.runs[second]["started_at"] is None and fold.runs[second]["message_id"] is None
        await client.agrees()
        await client.command("run.cancel", run_id=first)
        await client.answered(session_id, third)
        await client.agrees()


async def test_a_cancelled_answer_can_be_asked_for_again(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Count", llm=STEADY)
        await client.shown(session_id, run_id, characters=10)
        await client.command("run.cancel", run_id=run_id)
        again = await client.command("run.retry", run_id=run_id)
        assert again["status"] in ("queued", "running")
        [answer] = await client.answered(session_id, again["run_id"])
        assert answer["content"] == numbered(40)
        await client.agrees()


async def test_twenty_stops_at_once_all_stop(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        runs: dict[str, str] = {}
        for _ in range(20):
            session_id = await client.new_session()
            await client.subscribe(session_id)
            runs[session_id] = await client.say(session_id, "Count", llm=LONG)
        await asyncio.gather(*(client.shown(*pair) for pair in runs.items()))
        await asyncio.gather(*(client.command("run.cancel", run_id=run_id) for run_id in runs.values()))
        await asyncio.sleep(0.3)
        for session_id, run_id in runs.items():
            assert types_of(client, run_id)[-1] == "run.cancelled"
            await client.agrees(session_id)
