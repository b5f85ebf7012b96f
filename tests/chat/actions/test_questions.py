"""Asking people: a run that asks lets go of everything but its place."""

from datetime import timedelta
from typing import Any

import pytest

from chat import stream
from chat.actions import attempts, claims
from chat.actions.questions import Question
from chat.actions.usage import Spending
from chat.models import Agent, Interrupt, Run
from tests.chat.actions.test_interrupts import REFUND, WHICH, YES, asks, resolve, state
from tests.inside import Talk, new_talk, rung, told


def test_a_run_that_asks_ends_its_attempt_and_waits(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.interrupt_run(run, [REFUND, WHICH], Spending("demo", 3, 2))
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.attempt, now.worker_id, now.slot, now.answer_id) == ("interrupted", 1, None, None, None)
    assert (now.drafts, now.llm, now.input_tokens, now.output_tokens) == ([], "demo", 3, 2)
    assert now.interrupted_at is not None
    assert talk.types(before) == ["interrupt.opened", "interrupt.opened", "session.updated", "run.interrupted"]
    assert state(talk) == ("interrupted", ["interrupted"])
    assert [row.prompt for row in Interrupt.objects.in_order()] == ["Refund order 7?", "Which order?"]


def test_a_question_expires_when_its_agent_says_so(talk: Talk) -> None:
    [asked] = asks(talk)
    assert asked.expires_at is not None
    assert asked.expires_at - asked.created_at == timedelta(minutes=30)
    resolve(talk.ada, asked, YES)
    attempts.finish_run(talk.claim(), "Done.")
    Agent.objects.filter(name=Agent.DEFAULT).update(interrupt_expires_s=0)
    assert asks(talk)[0].expires_at is None


def test_what_has_lost_its_claim_asks_nothing(talk: Talk) -> None:
    run = talk.start()
    attempts.put_back(run, "drained")
    with pytest.raises(attempts.Fenced):
        attempts.interrupt_run(run, [REFUND])
    assert not Interrupt.objects.exists()


def test_what_still_comes_of_the_attempt_that_asked_is_refused(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    redis.set(stream.draft_key(talk.pk, run.answer_id), "so far")
    attempts.interrupt_run(run, [REFUND])
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"2"
    assert not redis.keys("chat:draft:*")


def test_a_run_that_asks_nothing_would_wait_for_ever(talk: Talk) -> None:
    with pytest.raises(AssertionError):
        attempts.interrupt_run(talk.start(), [])


@pytest.mark.parametrize("choices", [[], ["a", "a"], [""], ["a" * 201], [1]])
def test_a_choice_that_nobody_can_make_is_not_offered(choices: list[Any]) -> None:
    with pytest.raises(AssertionError):
        Question("choice", "Which?", {"choices": choices})


def test_nothing_behind_a_question_starts_and_its_slot_is_free(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    asks(talk)
    talk.queue("behind it")
    held = other.queue()
    assert claims.claim_run(talk.worker_id, talk.pk) is None
    assert claims.claimable_sessions(0) == [other.pk]
    assert other.claim().pk == held.pk


def test_who_asks_rings_for_whoever_waited_for_the_slot(talk: Talk, settings: Any, redis: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    run, held = talk.start(), other.queue()
    rung(redis)
    attempts.interrupt_run(run, [REFUND])
    assert rung(redis) == [held.pk]


def test_no_sweep_takes_a_run_that_asks_for_lost(talk: Talk, settings: Any) -> None:
    asks(talk)
    settings.CHAT_LEASE_S = 0
    assert attempts.lost_runs() == [] and attempts.stuck_runs(0, lambda _: 0) == []
