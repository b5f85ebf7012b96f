"""What a run costs, and whom it asks first: the LLM that was chosen, whatever an attempt before it fell back to."""

from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from chat.actions import attempts, interrupts
from chat.actions.questions import Question
from chat.actions.usage import Spending
from chat.models import Agent, Interrupt, Run
from chat.protocol.commands import Told
from tests.chat.actions.test_attempts_fence import ERROR
from tests.inside import Talk
from workers.bill import Bill, llms_of, price
from workers.llm.base import Spent
from workers.llm.chain import Call

CHOICES = [None, "chosen"]
QUESTION = Question(reason="question", prompt="Which?")
FELL_BACK = (Spending("typo"), Spending("next"))  # in the order in which they were asked


@pytest.fixture(autouse=True)
def offered(settings: Any) -> None:
    settings.CHAT_LLM, settings.CHAT_LLMS, settings.CHAT_FALLBACKS = "main", ["main", "chosen"], ["next"]


def first(llm: str | None) -> str:
    return llm or "main"


@pytest.mark.parametrize("llm", CHOICES)
def test_what_has_failed_is_asked_for_again_of_what_was_chosen(talk: Talk, llm: str | None) -> None:
    old = attempts.fail_run(talk.start(llm=llm), ERROR, "", *FELL_BACK)
    assert old.as_data()["llm"] == "next", "that was asked last"
    again = talk.retry(old.pk).run
    assert llms_of(again) == [first(llm), "next"]
    assert again.as_data()["llm"] == (llm or ""), "nothing was asked yet"


def test_an_agent_that_was_mended_answers_what_had_failed(talk: Talk) -> None:
    Agent.objects.create(name="expert", llm="typo", fallbacks=[])
    old = attempts.fail_run(talk.start(agent="expert"), ERROR, "", Spending("typo"))
    Agent.objects.filter(name="expert").update(llm="right")
    talk.retry(old.pk)
    assert llms_of(talk.claim()) == ["right"]


@pytest.mark.parametrize("llm", CHOICES)
def test_after_an_answer_of_people_a_run_begins_with_what_was_chosen(talk: Talk, llm: str | None) -> None:
    waiting = attempts.interrupt_run(talk.start(llm=llm), [QUESTION], *FELL_BACK, fallback_status="recovery")
    assert waiting.as_data()["llm"] == "next" and waiting.as_data()["fallback_status"] == "recovery"
    assert llms_of(waiting) == [first(llm), "next"]


@pytest.mark.parametrize("llm", CHOICES)
def test_what_joined_too_late_is_answered_by_what_was_chosen(talk: Talk, llm: str | None) -> None:
    attempts.interrupt_run(talk.start(llm=llm), [QUESTION], *FELL_BACK)
    interrupts.resolve_as_operator(talk.ada, Interrupt.objects.get().pk, Told(text="That one."))
    run = talk.claim()
    assert talk.post("And at eight.", on_busy="join").joined
    attempts.finish_run(run, "Hello!", Spending(first(llm)))
    late = talk.claim()
    assert late.pk != run.pk and llms_of(late) == [first(llm), "next"]


def test_a_message_for_the_llm_that_a_run_was_to_be_answered_by_joins_it(talk: Talk) -> None:
    attempts.interrupt_run(talk.start(llm="chosen"), [QUESTION], *FELL_BACK)
    assert talk.post(llm="chosen", on_busy="join").joined
    assert not talk.post(llm="main", on_busy="join").joined


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_each_call_has_its_own_price_and_the_bill_is_their_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt of more than 200,000 tokens costs more a token; five short ones are no long one."""
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    llm, short, long = "anthropic:claude-sonnet-4-5", Spent(50_000, 1000), Spent(250_000, 5000)
    bill = Bill()
    for _ in range(5):
        bill.add(Call(llm, short))
    [line] = await bill.lines(llm)
    each, at_once = price(llm, short), price(llm, long)
    assert each is not None and at_once is not None and line.cost_usd == 5 * each < at_once
    assert (line.input_tokens, line.output_tokens) == (250_000, 5000)


async def test_where_the_price_of_one_call_is_not_known_that_of_all_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.bill.price", lambda llm, spent: None if spent.input_tokens > 9 else Decimal(1))
    bill = Bill()
    for llm, tokens in [("a", 1), ("a", 10), ("b", 1), ("b", 1)]:
        bill.add(Call(llm, Spent(tokens, 0)))
    assert [(one.llm, one.cost_usd) for one in await bill.lines("a")] == [("a", None), ("b", Decimal(2))]


# --- of the version before --------------------------------------------------------------------------------------------


def upgraded(run: Run, **columns: Any) -> Run:
    """Give a run as the version before wrote it, after the upgrade."""
    Run.objects.filter(pk=run.pk).update(chosen_llm=None, **columns)
    import_module("chat.migrations.0010_chosen_llm").note_choices(apps, None)
    return Run.objects.select_related("agent").get(pk=run.pk)


@pytest.mark.parametrize("llm", CHOICES)
def test_what_is_open_at_an_upgrade_keeps_what_its_message_chose(talk: Talk, llm: str | None) -> None:
    run = upgraded(talk.start(llm=llm))
    assert run.chosen_llm == (llm or "") and llms_of(run) == [first(llm), "next"]


@pytest.mark.parametrize("llm", CHOICES)
def test_what_waits_for_people_at_an_upgrade_begins_with_what_was_asked_first(talk: Talk, llm: str | None) -> None:
    run = attempts.interrupt_run(talk.start(llm=llm), [QUESTION], Spending(first(llm)), Spending("next"))
    assert upgraded(run).chosen_llm == (llm or "")


def test_what_had_failed_before_an_upgrade_is_asked_of_its_agents_llm(talk: Talk) -> None:
    old = upgraded(attempts.fail_run(talk.start(), ERROR, "", *FELL_BACK))
    assert llms_of(talk.retry(old.pk).run) == ["main", "next"]


def test_what_the_version_before_still_sends_is_answered_by_what_it_chose(talk: Talk) -> None:
    talk.post(llm="chosen")
    Run.objects.update(chosen_llm=None)
    assert llms_of(talk.claim()) == ["chosen", "next"]
