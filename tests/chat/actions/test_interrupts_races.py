"""Whoever settles a question does it once: people, sweeps and a cancel that come at the same time."""

import random
from collections import Counter
from functools import partial
from typing import Any

import pytest

from chat.actions import attempts, interrupts
from chat.errors import AlreadyResolved, ChatError, Expired, Fenced
from chat.models import Interrupt, Message, Run
from tests.chat.actions.test_interrupts import NO, REFUND, WHICH, YES, asks, resolve, state
from tests.inside import WAIT_S, Talk
from tests.threads import Threads, failing_at, stopped_at, wait_until_blocked


def test_of_many_answers_at_once_one_counts(talk: Talk, threads: Threads) -> None:
    [asked] = asks(talk)
    answers = [partial(resolve, *one) for one in ((talk.ada, asked, YES), (talk.ben, asked, NO)) * 4]
    told = threads.at_once(*answers)
    won = [one for one in told if isinstance(one, Interrupt)]
    assert len(won) == 1 and sum(isinstance(one, AlreadyResolved) for one in told) == 7, told
    now = Interrupt.objects.get(pk=asked.pk)
    assert (now.answer, now.resolved_by_id) == (won[0].answer, won[0].resolved_by_id)
    assert talk.types().count("interrupt.resolved") == 1
    assert Run.objects.get(pk=asked.run_id).attempt == 2


def test_the_last_two_questions_answered_at_once_queue_the_run_once(talk: Talk, threads: Threads) -> None:
    first, second = asks(talk, REFUND, WHICH)
    told = threads.at_once(partial(resolve, talk.ada, first, YES), partial(resolve, talk.ben, second, {"text": "7"}))
    assert all(isinstance(one, Interrupt) for one in told), told
    assert talk.types().count("run.queued") == 2, "when it was sent, and when it goes on"
    assert state(talk) == ("active", ["queued"])


def test_however_many_sweeps_look_what_nobody_answered_is_settled_once(talk: Talk, threads: Threads) -> None:
    asks(talk, REFUND, WHICH, in_time=False)
    assert sum(threads.at_once(*[interrupts.expire_interrupts] * 6)) == 1
    assert Message.objects.filter(kind="notice").count() == 1
    assert Counter(talk.types())["interrupt.resolved"] == 2
    assert Run.objects.get(session_id=talk.pk).attempt == 2


@pytest.mark.parametrize("faster", ["another answer", "a sweep", "a cancel"])
def test_an_answer_that_was_read_before_another_settled_it_is_refused(
    talk: Talk, threads: Threads, faster: str
) -> None:
    [asked] = asks(talk, in_time=faster != "a sweep")
    with stopped_at("resolve.read") as stop:
        slow = threads.start(resolve, talk.ben, asked, YES)
        stop.wait()
        if faster == "a sweep":
            assert interrupts.expire_interrupts() == 1
        elif faster == "a cancel":
            talk.cancel(asked.run_id)
        else:
            resolve(talk.ada, asked, NO)
        before = talk.last_seq
        stop.go_on()
        with pytest.raises(Expired if faster == "a sweep" else AlreadyResolved):
            slow.result(WAIT_S)
    assert talk.last_seq == before


@pytest.mark.postgres
@pytest.mark.parametrize("slower", ["an answer", "a sweep", "a cancel"])
def test_whoever_comes_while_it_is_being_settled_waits_and_finds_it_settled(
    talk: Talk, threads: Threads, slower: str
) -> None:
    [asked] = asks(talk, in_time=False)
    with stopped_at("cancel.commit" if slower == "a sweep" else "expire.commit") as stop:
        if slower == "a sweep":
            settling = threads.start(talk.cancel, asked.run_id)
        else:
            settling = threads.start(interrupts.expire_interrupts)
        stop.wait()
        calls: dict[str, Any] = {
            "an answer": partial(resolve, talk.ben, asked, YES),
            "a sweep": interrupts.expire_interrupts,
            "a cancel": partial(talk.cancel, asked.run_id, talk.ben),
        }
        waiting = threads.start(calls[slower])
        wait_until_blocked()
        stop.go_on()
        settling.result(WAIT_S)
        if slower == "an answer":
            with pytest.raises(Expired):
                waiting.result(WAIT_S)
        elif slower == "a sweep":
            assert waiting.result(WAIT_S) == 0
        else:
            assert waiting.result(WAIT_S).run.status == "cancelled"
    assert talk.types().count("interrupt.resolved") == 1


def test_whoever_dies_after_the_commit_of_an_answer_has_answered(talk: Talk) -> None:
    [asked] = asks(talk)
    with failing_at("resolve.committed", SystemExit()), pytest.raises(SystemExit):
        resolve(talk.ada, asked, YES)
    with pytest.raises(AlreadyResolved):
        resolve(talk.ada, asked, YES)
    assert talk.claim().attempt == 2
    assert Interrupt.objects.get(pk=asked.pk).resolved_by_id == talk.ada.pk


def test_a_worker_that_does_not_hear_that_its_run_asks_asks_once(talk: Talk) -> None:
    run = talk.start()
    with failing_at("interrupt.committed", SystemExit()), pytest.raises(SystemExit):
        attempts.interrupt_run(run, [REFUND])
    before = talk.last_seq
    with pytest.raises(Fenced):
        attempts.interrupt_run(run, [REFUND])
    assert (talk.last_seq, Interrupt.objects.count()) == (before, 1)


def test_answers_sweeps_and_cancels_in_any_order_leave_one_end(talk: Talk, threads: Threads) -> None:
    """What must hold besides is what a talk checks at its end: the log breaks no rule, and folds to the rows."""
    for _ in range(12):
        open_ones = asks(talk, REFUND, WHICH, in_time=random.random() < 0.5)
        run_id = open_ones[0].run_id
        calls: list[Any] = [
            partial(resolve, talk.ada, open_ones[0], YES),
            partial(resolve, talk.ben, open_ones[0], NO),
            partial(resolve, talk.ben, open_ones[1], {"text": "7"}),
            partial(talk.cancel, run_id),
            interrupts.expire_interrupts,
            interrupts.expire_interrupts,
        ]
        random.shuffle(calls)
        for told in threads.at_once(*calls):
            assert not isinstance(told, Exception) or isinstance(told, ChatError), told
        assert not Interrupt.objects.open().exists()
        run = Run.objects.get(pk=run_id)
        assert run.status in {"queued", "cancelled"}
        if run.status == "queued":
            attempts.finish_run(talk.claim(), "Done.")
