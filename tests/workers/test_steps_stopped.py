"""A worker has to go, a run is stopped, or the database is away while a tool is at work."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from chat.actions import runs
from chat.database import reading
from tests.inside import Talk
from tests.threads import failing_at
from tests.workers.acting import Deeds, calling, questions, resumed, start, statuses, types
from tests.workers.process import LOST, LedLLM, over, until, until_asked, until_row
from workers import steps
from workers.runtime import DRAINED, Runtime
from workers.tools import tool

# --- the worker has to go ---------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_what_cannot_be_called_again_and_not_for_the_rest(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    looks, cancelled = asyncio.Event(), asyncio.Event()

    async def look() -> str:
        """Look."""
        looks.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return "seen"

    deeds.tools["look"] = tool(effect="pure", access="read")(look)
    deeds.add("ask", "once", does=deeds.wait)
    run = await start(talk, runtime)
    llm.call("look", "a")
    llm.call("ask", "b")
    llm.end()
    await until(looks.is_set, "one is called")
    await asyncio.to_thread(deeds.held.wait, 10)
    [held] = runtime.held.values()
    held.stop(DRAINED)
    await until(cancelled.is_set, "what is pure is broken off at once")
    assert runtime.held, "the other one is waited for"
    deeds.hold.set()
    await over(runtime)
    row = await until_row(run, status="queued", attempt=2, crashes=0)
    assert await statuses(row) == [("look", "called"), ("ask", "returned")]
    deeds.add("look", "pure")
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert Counter(deeds.names()) == {"ask": 1, "look": 1}


async def test_a_drain_does_not_wait_for_ever_and_what_it_leaves_is_asked_about(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FINISH_S", 0.05)
    deeds.add("send", "once", "write", does=deeds.wait, needs_approval=False)
    run = await calling(talk, runtime, llm, "send")
    await asyncio.to_thread(deeds.held.wait, 10)
    [held] = runtime.held.values()
    held.stop(DRAINED)
    await over(runtime)
    deeds.hold.set()
    await until_row(run, status="queued", attempt=2, crashes=0)
    await resumed(talk, runtime)
    await over(runtime)
    await until_row(run, status="interrupted")
    assert len(deeds.done) == 1 and await statuses(run) == [("send", "unknown")]


# --- a stop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "status"), [("pure", "cancelled"), ("idempotent", "unknown"), ("once", "unknown")])
async def test_a_stop_cancels_the_tool_and_says_what_is_known_of_it(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, effect: str, status: str
) -> None:
    works, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        """Work."""
        works.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return "done"

    deeds.tools["work"] = tool(effect=effect, access="read")(work)  # type: ignore[arg-type]
    run = await start(talk, runtime)
    llm.say("I begin.")
    llm.call("work", "a")
    llm.call("send", "b")
    llm.end()
    await until(lambda: runtime.held, "it works")
    while await statuses(run) != [("work", "called"), ("send", "waiting")]:
        await asyncio.sleep(0.002)
    await until(works.is_set, "it is called, which is written before")
    await runs.cancel_run(talk.ada, run.pk)
    runtime._on_nudge({"type": "nudge", "run_id": str(run.pk)})
    await asyncio.wait_for(cancelled.wait(), 10)
    await over(runtime)
    assert await statuses(run) == [("work", status), ("send", "cancelled")]
    told_of = await types(talk, run)
    assert told_of[-1] == "run.cancelled" and "step.finished" in told_of
    [event] = [one for one in await reading(talk.log) if one.type == "step.finished"]
    assert event.data["status"] == "cancelled"


async def test_a_thread_that_returns_after_a_stop_writes_nothing(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    deeds.add("send", "once", "write", does=deeds.wait, needs_approval=False)
    run = await calling(talk, runtime, llm, "send")
    await asyncio.to_thread(deeds.held.wait, 10)
    await runs.cancel_run(talk.ada, run.pk)
    seq = await reading(lambda: talk.last_seq)
    runtime._on_nudge({"type": "nudge", "run_id": str(run.pk)})
    await over(runtime)
    deeds.hold.set()
    await until(lambda: deeds.done, "it has returned")
    await asyncio.sleep(0.02)
    assert await reading(lambda: talk.last_seq) == seq
    assert await statuses(run) == [("send", "unknown")]


# --- the database goes away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["step.fenced", "step.committed", "calls.fenced", "calls.committed"])
async def test_a_write_whose_reply_was_lost_is_not_written_twice(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, place: str
) -> None:
    deeds.add("send", "once", "write", needs_approval=False)
    run = await start(talk, runtime)
    llm.say("I send it.")
    llm.call("send", number=7)
    with failing_at(place, LOST) as seen:
        llm.end()
        await until_asked(llm, 2)
    assert seen and deeds.done == [("send", 7)]
    told_of = Counter(await types(talk, run))
    assert [told_of[one] for one in ("step.started", "tool.called", "tool.returned", "step.finished")] == [1] * 4
    llm.say("Sent.")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")


async def test_questions_whose_reply_was_lost_are_asked_once(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.call("send")
    with failing_at("interrupt.committed", LOST) as seen:
        llm.end()
        await over(runtime)
    assert seen and len(await questions(run)) == 1
    await until_row(run, status="interrupted")
