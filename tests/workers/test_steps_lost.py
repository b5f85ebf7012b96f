"""A worker dies or freezes while a tool is at work, or nobody hears how it ended: what was done once is done once."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from django.db.models import F

from chat import failpoints
from chat.actions import attempts, interrupts
from chat.database import reading, writing
from chat.models import Interrupt, Message, Run
from tests.inside import Talk, told
from tests.workers.acting import (
    Deeds,
    answer,
    calling,
    calls,
    choice,
    questions,
    results,
    resumed,
    start,
    statuses,
    yes,
)
from tests.workers.process import LedLLM, begun, over, shown, tick, until, until_asked, until_row
from workers.ledger import AGAIN, HAPPENED, LEAVE
from workers.llm.base import Spent
from workers.runtime import Runtime
from workers.steps import MAY_HAVE
from workers.sweep import cost_of_shown


class Between:
    """Holds each call that was made and not yet written down."""

    def __init__(self) -> None:
        self.held = 0

    def __call__(self) -> Any:
        self.held += 1
        return asyncio.Event().wait()


async def lose(talk: Talk, runtime: Runtime, run: Run) -> None:
    """Let a run's worker be taken for dead, and let it find that out."""
    await writing(lambda: attempts.put_back(run, "worker_lost", stuck=True))
    failpoints.armed.clear()
    await tick(runtime)
    await over(runtime)


async def made_and_lost(talk: Talk, runtime: Runtime, run: Run, between: Between, count: int = 1) -> None:
    await until(lambda: between.held == count, "it was made and is not written down")
    await lose(talk, runtime, run)


@pytest.fixture
def between() -> Between:
    made = Between()
    failpoints.armed["tool.made"] = made
    return made


# --- lost between the effect and its record ---------------------------------------------------------------------------


async def test_what_is_pure_is_called_again(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, between: Between
) -> None:
    run = await start(talk, runtime)
    llm.say("Let me look.")
    llm.call("look", number=7)
    llm.end()
    await made_and_lost(talk, runtime, run, between)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert deeds.done == [("look", 7)] * 2
    assert json.loads(results(llm)[0][0])["number"] == 7
    [call] = await calls(run)
    assert (call.status, call.calls, call.attempt) == ("returned", 2, 2)
    said = await reading(lambda: list(Message.objects.filter(run_id=run.pk, role="assistant")))
    assert [one.content for one in said] == ["Let me look."], "the step that was saved stays"


async def test_what_is_idempotent_is_called_again_with_the_same_key(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, between: Between
) -> None:
    run = await calling(talk, runtime, llm, "note", number=7)
    await made_and_lost(talk, runtime, run, between)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    first, second = deeds.contexts
    assert first.key == second.key and first.tool_call_id == second.tool_call_id


@pytest.mark.parametrize(
    ("chosen", "made", "status", "is_error"),
    [(HAPPENED, 1, "returned", False), (AGAIN, 2, "returned", False), (LEAVE, 1, "failed", True)],
)
async def test_what_is_done_once_is_not_called_again_unless_a_person_says_so(
    talk: Talk,
    runtime: Runtime,
    llm: LedLLM,
    deeds: Deeds,
    redis: Any,
    between: Between,
    chosen: str,
    made: int,
    status: str,
    is_error: bool,
) -> None:
    deeds.add("send", "once", "write", needs_approval=False)
    run = await start(talk, runtime)
    llm.call("send", number=7)
    llm.call("look", "c2", number=1)
    llm.end()
    await made_and_lost(talk, runtime, run, between)
    await resumed(talk, runtime)
    await over(runtime)
    await until_row(run, status="interrupted")
    assert deeds.done == [("send", 7)], "nor is what comes after it"
    assert await statuses(run) == [("send", "unknown"), ("look", "held")]
    [question] = await questions(run)
    assert question.reason == "choice" and question.payload["args"]["number"] == 7
    await answer(talk, run, choice(chosen))
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert Counter(deeds.names()) == {"send": made, "look": 1}
    assert await statuses(run) == [("send", status), ("look", "returned")]
    assert results(llm)[0][1] is is_error
    if chosen == AGAIN:
        assert len({context.key for context in deeds.contexts[:2]}) == 1


async def test_an_answer_about_one_loss_says_nothing_about_the_next(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, between: Between
) -> None:
    run = await calling(talk, runtime, llm, "send", number=7)
    await over(runtime)
    await answer(talk, run, yes())
    for losses in (1, 2):
        failpoints.armed["tool.made"] = between
        held = await begun(runtime, talk)
        await made_and_lost(talk, runtime, held.run, between, losses)
        await resumed(talk, runtime)
        await over(runtime)
        row = await until_row(run, status="interrupted")
        assert row.attempt == 1 + 2 * losses
        assert len(deeds.done) == losses, "neither the approval nor the last answer lets it go again"
        await answer(talk, run, choice(AGAIN))
        await until_row(run, status="queued")
        if losses < 2:
            await asyncio.to_thread(told)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert len(deeds.done) == 3


async def test_a_question_about_a_lost_call_that_nobody_answers_leaves_it(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, between: Between
) -> None:
    deeds.add("send", "once", "write", needs_approval=False)
    run = await calling(talk, runtime, llm, "send")
    await made_and_lost(talk, runtime, run, between)
    await resumed(talk, runtime)
    await over(runtime)
    await until_row(run, status="interrupted")

    def let_it_expire() -> None:
        before = Interrupt.objects.get(run_id=run.pk)
        Interrupt.objects.filter(pk=before.pk).update(expires_at=F("created_at"))
        assert interrupts.expire_interrupts() == 1

    await writing(let_it_expire)
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert len(deeds.done) == 1
    assert await statuses(run) == [("send", "failed")]


async def test_steps_that_were_finished_are_not_done_again(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.call("look", number=1)
    llm.call("note", "c2", number=2)
    llm.end()
    await until_asked(llm, 2)
    llm.say("One and t")
    await lose(talk, runtime, run)
    await resumed(talk, runtime)
    await until_asked(llm, 3)
    assert deeds.done == [("look", 1), ("note", 2)]
    assert llm.prompts[2].talk == llm.prompts[1].talk, "it reads what it had read"


async def test_what_a_lost_attempt_had_spent_is_known_up_to_its_last_step(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    llm.call("look")
    llm.end(Spent(100, 10))
    await until_asked(llm, 2)
    llm.say("Four")
    await shown(run, "Four", redis)
    [spent] = await reading(lambda: cost_of_shown(Run.objects.select_related("agent").get(pk=run.pk)))
    assert (spent.input_tokens, spent.output_tokens) == (100, 11)
    await lose(talk, runtime, run)
    row = await until_row(run, status="queued")
    assert await reading(cost_of_shown, row) == [], "the next attempt has spent nothing yet"


async def test_a_call_that_was_saved_and_not_made_counts_as_called(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    """From outside nobody can tell it from one that was made."""
    deeds.add("send", "once", "write", needs_approval=False)
    between = failpoints.armed["tool.call"] = Between()
    run = await calling(talk, runtime, llm, "send")
    await made_and_lost(talk, runtime, run, between)
    await resumed(talk, runtime)
    await over(runtime)
    await until_row(run, status="interrupted")
    assert not deeds.done


# --- nobody knows, though the worker lives ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raises", "takes too long"])
async def test_a_call_that_must_not_be_made_twice_and_breaks_off_is_asked_about(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, how: str
) -> None:
    def fail() -> None:
        raise ConnectionError("the reply was lost")

    does = fail if how == "raises" else deeds.wait
    deeds.add("send", "once", "write", does, needs_approval=False, timeout_s=0.05 if how == "takes too long" else 30)
    run = await calling(talk, runtime, llm, "send")
    await over(runtime)
    deeds.hold.set()
    await until_row(run, status="interrupted")
    [call] = await calls(run)
    assert call.status == "unknown" and call.error and call.error["code"] in ("internal", "timeout")
    await answer(talk, run, choice(HAPPENED))
    await resumed(talk, runtime)
    await until_asked(llm, 2)
    assert len(deeds.done) == 1


@pytest.mark.parametrize(("effect", "told"), [("idempotent", True), ("pure", False)])
async def test_of_a_call_that_took_too_long_the_llm_is_told_that_it_may_have_happened(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any, effect: str, told: bool
) -> None:
    deeds.add("charge", effect, timeout_s=0.05, does=deeds.wait)
    run = await start(talk, runtime)
    llm.call("charge", number=7)
    llm.end()
    await until_asked(llm, 2)
    deeds.hold.set()
    assert await statuses(run) == [("charge", "failed")]
    [(text, is_error)] = results(llm)
    assert is_error and text.startswith("The tool took longer") and (MAY_HAVE in text) is told
    llm.end()
