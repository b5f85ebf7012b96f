"""A run that is stopped, handed back or left without a database or a session."""

import asyncio
import logging
from typing import Any

import pytest
from django.db import InterfaceError

from chat.actions import attempts, runs, sessions
from chat.database import reading, writing
from chat.models import Agent, Message, Run
from tests.inside import Talk, told
from tests.threads import failing_at
from tests.workers.process import (
    LOST,
    UNAVAILABLE,
    LedLLM,
    answering,
    answers,
    begun,
    over,
    shown,
    tick,
    types,
    until,
    until_row,
    usage,
)
from workers import runner
from workers import runtime as runtimes
from workers.context import build_context
from workers.llm.base import Spent
from workers.runtime import DRAINED, Runtime

# --- the database goes away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [LOST, InterfaceError("connection already closed")])
async def test_an_answer_waits_for_a_database_that_is_away(
    talk: Talk, runtime: Runtime, llm: LedLLM, problem: Exception
) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello!")
    with failing_at("attempt.fenced", problem, times=3) as seen:
        llm.end()
        await over(runtime)
    assert len(seen) == 3
    await until_row(held.run, status="succeeded")
    assert await answers() == ["Hello!"]


async def test_an_end_whose_reply_was_lost_is_not_written_twice(talk: Talk, runtime: Runtime, llm: LedLLM) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello!")
    with failing_at("finish.committed", LOST) as seen:
        llm.end()
        await over(runtime)
    assert seen
    await until_row(held.run, status="succeeded")
    assert await answers() == ["Hello!"]
    assert (await types(talk)).count("run.succeeded") == 1


async def test_a_database_that_is_away_when_a_run_begins_does_not_fail_it(
    talk: Talk, runtime: Runtime, llm: LedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def away_at_first(run: Run, **how: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise LOST
        return build_context(run, **how)

    away_at_first.__name__ = "build_context"
    for module in (runtimes, runner):  # with the claim, and then alone
        monkeypatch.setattr(module, "build_context", away_at_first)
    held = await answering(talk, runtime)
    llm.say("Hello!")
    llm.end()
    await over(runtime)
    await until_row(held.run, status="succeeded")
    assert len(tried) == 3


async def test_a_run_whose_context_cannot_be_read_fails_and_is_not_claimed_for_ever(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: Run, **how: Any) -> Any:
        raise ValueError("no JSON")

    broken.__name__ = "build_context"
    for module in (runtimes, runner):
        monkeypatch.setattr(module, "build_context", broken)
    run = await writing(talk.queue)
    await runtime.look_at(talk.pk)
    await over(runtime)
    await until_row(run, status="failed")


async def test_a_long_context_is_not_read_with_the_claim_since_that_may_be_on_the_loop(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Run] = []

    def reads(run: Run, **how: Any) -> Any:
        read.append(run)
        return build_context(run, **how)

    monkeypatch.setattr(runtimes, "build_context", reads)
    for tokens, times in ((runtimes.BRIEF_TOKENS, 1), (runtimes.BRIEF_TOKENS + 1, 0)):
        read.clear()
        settings.CHAT_CONTEXT_TOKENS = tokens
        held = await answering(talk, runtime)
        llm.say("Hello!")
        llm.end()
        await over(runtime)
        await until_row(held.run, status="succeeded")
        assert len(read) == times


# --- fenced -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["step", "end"])
async def test_what_an_attempt_that_is_fenced_has_cost_is_on_the_bill(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, at: str
) -> None:
    """The LLM was asked, whoever goes on with the run."""
    await writing(lambda: Agent.objects.create(name="doer", mode="react"))
    held = await answering(talk, runtime, agent="doer")
    llm.say("Hello!")
    await shown(held.run, "Hello!", redis)
    await writing(lambda: attempts.put_back(held.run, "worker_lost", stuck=True))
    if at == "step":
        llm.call("look")
    llm.end(Spent(11, 4))
    await over(runtime)
    assert await usage(held.run) == [(1, 11, 4)]


# --- stopped ----------------------------------------------------------------------------------------------------------


async def test_a_cancelled_run_closes_its_model_at_once_and_its_cost_is_stored(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello wor")
    await shown(held.run, "Hello wor", redis)
    await runs.cancel_run(talk.ada, held.run.pk)
    runtime._on_nudge({"type": "nudge", "run_id": str(held.run.pk)})
    await over(runtime)
    assert llm.closed == 1
    [(attempt, _, output)] = await usage(held.run)
    assert (attempt, output) == (1, 3)
    await until_row(held.run, status="cancelled", output_tokens=3)
    assert await answers() == ["Hello wor"]
    assert (await types(talk))[-1] == "run.cancelled"


async def test_a_cancelled_run_is_noticed_by_its_next_delta_without_a_nudge(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello")
    await shown(held.run, "Hello", redis)
    await runs.cancel_run(talk.ada, held.run.pk)
    await asyncio.to_thread(told)
    llm.say(" world")
    await over(runtime)
    assert llm.closed == 1
    assert await answers() == ["Hello"]


async def test_a_drained_run_is_handed_back_and_its_model_is_closed(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any
) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello")
    await shown(held.run, "Hello", redis)
    held.stop(DRAINED)
    await over(runtime)
    row = await until_row(held.run, status="queued", attempt=2, crashes=0, output_tokens=2)
    assert row.drafts == [] and llm.closed == 1
    assert (await types(talk))[-1] == "run.restarted"
    [(attempt, _, output)] = await usage(held.run)
    assert (attempt, output) == (1, 2), "its cost is known as if it had ended"


async def test_a_run_that_is_drained_before_its_first_step_is_handed_back_too(talk: Talk, runtime: Runtime) -> None:
    await writing(talk.post)
    await runtime.look_at(talk.pk)
    [held] = runtime.held.values()
    assert not held.has_begun
    held.stop(DRAINED)
    await over(runtime)
    await until_row(held.run, status="queued", attempt=2, crashes=0)


async def test_a_run_that_is_drained_while_it_waits_for_the_database_is_handed_back(
    talk: Talk, runtime: Runtime, llm: LedLLM
) -> None:
    held = await answering(talk, runtime)
    with failing_at("attempt.fenced", LOST, times=10**6) as seen:
        llm.fail(UNAVAILABLE)
        await until(lambda: len(seen) > 1, "its failure is tried")
        held.stop(DRAINED)
        await over(runtime)
    await until_row(held.run, status="queued", attempt=2, crashes=0)


async def test_a_drain_waits_for_the_database_with_a_run_that_it_hands_back(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back, tried = attempts.put_back, []

    def away_at_first(run: Run, reason: str, *spent: attempts.Spending, **how: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise LOST
        return put_back(run, reason, *spent, **how)

    away_at_first.__name__ = "put_back"
    monkeypatch.setattr(attempts, "put_back", away_at_first)
    held = await answering(talk, runtime)
    held.stop(DRAINED)
    await over(runtime)
    await until_row(held.run, status="queued", crashes=0)


async def test_a_session_that_is_deleted_under_a_run_ends_it_without_a_word(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    held = await answering(talk, runtime)
    llm.say("Hello")
    await shown(held.run, "Hello", redis)
    await writing(sessions.delete_session, talk.ada, talk.pk)
    with caplog.at_level(logging.WARNING):
        llm.end()
        await over(runtime)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert not await reading(Message.objects.exists)


async def test_a_session_that_is_deleted_before_a_run_begins_ends_it_at_the_next_tick_without_a_word(
    talk: Talk, runtime: Runtime, llm: LedLLM, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_first(run: Run, **how: Any) -> Any:
        sessions.delete_session(talk.ada, talk.pk)
        return build_context(run, **how)

    monkeypatch.setattr(runtimes, "build_context", delete_first)
    await writing(talk.post)
    with caplog.at_level(logging.WARNING):
        await begun(runtime, talk)
        await tick(runtime)
        await over(runtime)
    assert not caplog.records


async def test_a_run_without_redis_is_answered_too(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis_server: Any
) -> None:
    await asyncio.to_thread(told)
    redis_server.kill()
    held = await answering(talk, runtime)
    llm.say("Hello", " anyway!")
    llm.end()
    await over(runtime)
    await until_row(held.run, status="succeeded")
    assert await answers() == ["Hello anyway!"]
