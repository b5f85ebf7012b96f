"""A run that acts ends in time, within its steps and its money, and takes its calls along."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chat.actions import runs
from chat.database import reading, writing
from chat.models import Agent, Message, Run, Usage
from tests.inside import WAIT_S, Talk
from tests.threads import stopped_at
from tests.workers.acting import AGENT, Deeds, answer, calling, questions, resumed, start, statuses, yes
from tests.workers.process import UNAVAILABLE, LedLLM, over, until_asked, until_row
from workers import runner
from workers.llm.base import Spent
from workers.runtime import DRAINED, Runtime


async def limit(**limits: Any) -> None:
    await writing(lambda: Agent.objects.filter(name=AGENT).update(run_limit=limits))


async def test_at_its_last_step_a_run_is_asked_to_end_with_words(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await limit(steps=2)
    run = await calling(talk, runtime, llm, "look")
    await until_asked(llm, 2)
    assert llm.prompts[0].may_call and not llm.prompts[1].may_call
    llm.say("That is all.")
    llm.call("look", "c2")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")
    assert deeds.names() == ["look"]


async def test_steps_are_counted_over_attempts(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await limit(steps=2)
    run = await calling(talk, runtime, llm, "send")
    await over(runtime)
    await answer(talk, run, yes())
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert not llm.prompts[1].may_call


async def limit_to_a_cent_and_a_half(settings: Any, folder: Any) -> None:
    table = folder / "prices.toml"
    table.write_text('["mine"]\ninput = 1000\noutput = 2000\n')
    settings.CHAT_LLM, settings.CHAT_PRICES = "mine", str(table)
    await limit(cost_usd=0.015)


async def test_a_run_that_has_cost_its_limit_ends_with_words(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, settings: Any, tmp_path: Any
) -> None:
    await limit_to_a_cent_and_a_half(settings, tmp_path)
    await start(talk, runtime)
    for number in (1, 2):
        llm.call("look", f"c{number}")
        llm.end(Spent(10, 0))  # one cent
        await until_asked(llm, number + 1)
    assert [prompt.may_call for prompt in llm.prompts] == [True, True, False]


async def test_cost_is_added_up_over_attempts(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, settings: Any, tmp_path: Any
) -> None:
    """Else each answer of people would give a run its money again."""
    await limit_to_a_cent_and_a_half(settings, tmp_path)
    run = await start(talk, runtime)
    llm.call("send")
    llm.end(Spent(10, 0))  # one cent
    await over(runtime)
    await answer(talk, run, yes())
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    llm.call("look", "c2")
    llm.end(Spent(10, 0))
    await until_asked(llm, 3)
    assert [prompt.may_call for prompt in llm.prompts] == [True, True, False]


def let_time_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = time.monotonic() + seconds
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: later))


async def until_out_of_time(run: Run, attempt: int) -> None:
    row = await until_row(run, status="failed", attempt=attempt)
    assert row.error and row.error["code"] == "run_too_long"


async def test_seconds_are_added_up_over_attempts(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await limit(seconds=3600)
    run = await start(talk, runtime)
    let_time_pass(monkeypatch, 3601)
    llm.call("send")
    llm.end()
    await over(runtime)
    await answer(talk, run, yes())
    await resumed(talk, runtime)
    await over(runtime)
    await until_out_of_time(run, attempt=2)


async def test_seconds_are_counted_up_to_a_question_and_not_while_people_think(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await limit(seconds=3600)
    now = [time.monotonic()]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def takes_long() -> str:
        now[0] += 2000
        return "seen"

    deeds.add("look", "pure", does=takes_long)
    run = await start(talk, runtime)
    for index in range(2):
        llm.call("look", f"a{index}")
        llm.call("send", f"b{index}")
        llm.end()
        await over(runtime)
        row = await until_row(run, status="interrupted")
        assert 2000 * (index + 1) <= row.state["seconds"] < 2000 * (index + 1) + 60
        now[0] += 10_000
        await answer(talk, run, yes())
        await resumed(talk, runtime)
    await over(runtime)
    await until_out_of_time(run, attempt=3)


async def test_a_restart_of_its_worker_gives_a_run_no_more_time(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await limit(seconds=3600)
    run = await start(talk, runtime)
    let_time_pass(monkeypatch, 3601)
    [held] = runtime.held.values()
    held.stop(DRAINED)
    await over(runtime)
    await until_row(run, status="queued")
    await resumed(talk, runtime)
    await over(runtime)
    await until_out_of_time(run, attempt=2)


async def test_a_run_that_takes_too_long_is_stopped_with_its_tools(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await limit(seconds=0.3)
    deeds.add("note", "idempotent", "write", deeds.wait, needs_approval=False)
    run = await calling(talk, runtime, llm, "note")
    await over(runtime)
    deeds.hold.set()
    row = await until_row(run, status="failed")
    assert row.error and row.error["code"] == "run_too_long"
    assert await statuses(run) == [("note", "unknown")], "it may have happened"


@pytest.mark.parametrize("text", ["", "Let me note it."])
async def test_a_run_whose_time_is_over_while_a_step_is_saved_is_stopped_with_that(
    talk: Talk,
    runtime: Runtime,
    llm: LedLLM,
    deeds: Deeds,
    redis: Any,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    await limit(seconds=1)
    fails, is_failing = runner._fail, asyncio.Event()

    async def note(*args: Any) -> None:
        is_failing.set()
        await fails(*args)

    monkeypatch.setattr(runner, "_fail", note)
    with stopped_at("step.committed") as saved:
        run = await start(talk, runtime)
        if text:
            llm.say(text)
        llm.call("note")
        llm.end()
        await asyncio.wait_for(is_failing.wait(), WAIT_S)
        saved.go_on()
        await over(runtime)
    row = await until_row(run, status="failed", crashes=0)
    assert row.error and row.error["code"] == "run_too_long"
    assert await statuses(run) == [("note", "unknown")] and not deeds.done
    said = await reading(lambda: list(Message.objects.filter(run_id=run.pk, role="assistant")))
    assert [(one.content, one.data) for one in said] == ([(text, {})] if text else [])


async def test_a_greeting_is_answered_without_tools(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await start(talk, runtime, "Hello!")
    await until_asked(llm, 1)
    assert llm.prompts[0].tools == ()


async def test_an_llm_that_fails_after_a_step_fails_the_run_and_the_step_stays(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.say("Let me look.")
    llm.call("look", number=7)
    llm.end(Spent(10, 2))
    await until_asked(llm, 2)
    llm.say("Sev")
    llm.fail(UNAVAILABLE)
    await over(runtime)
    await until_row(run, status="failed")
    said = await reading(lambda: list(Message.objects.filter(run_id=run.pk, role="assistant").order_by("seq")))
    assert [(one.content, one.data.get("interrupted")) for one in said] == [("Let me look.", None), ("Sev", True)]
    assert await reading(Usage.objects.filter(run_id=run.pk).count) == 1


async def test_a_run_that_is_cancelled_while_it_waits_takes_its_calls_along(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.call("send", "a")
    llm.call("look", "b")
    llm.end()
    await over(runtime)
    await runs.cancel_run(talk.ada, run.pk)
    assert await statuses(run) == [("send", "cancelled"), ("look", "cancelled")]
    assert not await questions(run)
