"""What a worker does with a run that it may have: the claim, the limit of a user, and the ways to an end."""

from decimal import Decimal
from typing import Any

import pytest

from chat import stream
from chat.actions import attempts, claims, sessions, titles
from chat.actions.usage import Spending
from chat.models import Message, Run, Usage
from tests.inside import WAIT_S, Talk, new_talk, told
from tests.threads import Threads, stopped_at

SPENT = Spending("demo", 7, 5, Decimal("0.25"))
ERROR = {"code": "llm_unavailable", "message": "The language model cannot be reached.", "temporary": True}


# --- the claim --------------------------------------------------------------------------------------------------------


def test_a_claim_starts_the_run_and_promises_the_id_of_its_answer(talk: Talk) -> None:
    run = talk.queue()
    claimed = talk.claim()
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.attempt, now.worker_id, now.slot) == ("running", 1, talk.worker_id, 1)
    assert now.drafts == [str(now.answer_id)]
    event = talk.log()[-1]
    assert (event.type, event.run_id) == ("run.started", run.pk)
    assert (event.data["message_id"], event.data["attempt"]) == (str(now.answer_id), 1)
    assert (claimed.attempt, claimed.answer_id, claimed.worker_id) == (1, now.answer_id, talk.worker_id)


def test_a_claim_sets_the_fence_to_its_attempt(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"1"


def test_one_run_of_a_session_goes_on_and_the_others_wait_in_order(talk: Talk) -> None:
    first, second, third = talk.queue("1"), talk.queue("2", talk.ben), talk.queue("3")
    order = []
    for _ in range(3):
        run = talk.claim()
        order.append(run.pk)
        assert claims.claim_run(talk.worker_id, talk.pk) is None, "one is running"
        attempts.finish_run(run, "Hello!", SPENT)
    assert order == [first.pk, second.pk, third.pk]
    assert claims.claim_run(talk.worker_id, talk.pk) is None, "nothing is left"


def test_a_run_that_was_put_back_goes_before_those_that_came_after_it(talk: Talk) -> None:
    run = talk.start()
    talk.queue("later")
    back = attempts.put_back(run, "drained")
    assert back is not None and back.position == run.position
    assert talk.claim().pk == run.pk


def test_many_claims_of_one_session_at_once_start_one_run(talk: Talk, threads: Threads) -> None:
    talk.queue("1")
    talk.queue("2")
    claimed = threads.at_once(*[lambda: claims.claim_run(talk.worker_id, talk.pk)] * 6)
    assert [one is not None for one in claimed].count(True) == 1
    assert Run.objects.filter(status="running").count() == 1


def test_a_session_whose_first_run_asks_a_person_waits_for_the_answer(talk: Talk) -> None:
    asking = talk.queue()
    talk.queue("behind the question")
    Run.objects.filter(pk=asking.pk).update(status="interrupted")
    assert claims.claim_run(talk.worker_id, talk.pk) is None
    Run.objects.filter(pk=asking.pk).update(status="queued")
    assert talk.claim().pk == asking.pk


def test_nothing_is_claimed_in_a_session_that_is_gone(talk: Talk) -> None:
    talk.queue()
    sessions.delete_session(talk.ada, talk.pk)
    assert claims.claim_run(talk.worker_id, talk.pk) is None


# --- so many running runs a user --------------------------------------------------------------------------------------


def test_a_user_has_so_many_running_runs_and_others_are_not_held_by_it(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 2
    talks = [talk, *(new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3))]
    for one in talks:
        one.queue()
    started = [claims.claim_run(talk.worker_id, one.pk) for one in talks]
    assert [run.slot if run else None for run in started] == [1, 2, None, None]
    bens = new_talk(talk.ben, talk.ada, talk.worker_id)
    assert bens.start(by=talk.ben).slot == 1
    assert started[0] is not None
    attempts.finish_run(started[0], "Hello!", SPENT)
    assert talks[2].claim().slot == 1, "the first free one"


def test_no_limit_of_running_runs_is_none(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 0
    started = [new_talk(talk.ada, talk.ben, talk.worker_id).start() for _ in range(6)]
    assert [run.slot for run in started] == [None] * 6


@pytest.mark.postgres
def test_claims_that_saw_the_same_free_slot_do_not_both_take_it(talk: Talk, threads: Threads, settings: Any) -> None:
    """To count the running ones in the claim lets one too many through: each counts before the other commits."""
    settings.CHAT_RUNS_PER_USER = 1
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.queue()
    other.queue()
    with stopped_at("claim.slot") as stop:
        slow = threads.start(claims.claim_run, talk.worker_id, talk.pk)
        stop.wait()
        assert other.claim().slot == 1
        stop.go_on()
        assert slow.result(WAIT_S) is None
    assert Run.objects.filter(status="running").count() == 1


@pytest.mark.postgres
def test_a_claim_that_lost_the_race_for_a_slot_takes_the_next_one(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 2
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.queue()
    other.queue()
    with stopped_at("claim.slot") as stop:
        slow = threads.start(talk.claim)
        stop.wait()
        assert other.claim().slot == 1
        stop.go_on()
        assert slow.result(WAIT_S).slot == 2


def test_the_limit_holds_however_many_claims_come_at_once(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 3
    talks = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(8)]
    for one in talks:
        one.queue()
    claimed = threads.at_once(*[lambda one=one: claims.claim_run(talk.worker_id, one.pk) for one in talks])
    assert Run.objects.filter(status="running").count() == 3, claimed


# --- an end -----------------------------------------------------------------------------------------------------------


def test_an_answer_its_usage_and_the_end_of_its_run_are_one_transaction(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.finish_run(run, "Hello!", SPENT)
    message, now = Message.objects.get(pk=run.answer_id), Run.objects.get(pk=run.pk)
    assert (message.content, message.role, message.run_id, message.parent_id) == (
        "Hello!",
        "assistant",
        run.pk,
        run.message_id,
    )
    assert (now.status, now.drafts, now.slot, now.worker_id, now.llm) == ("succeeded", [], None, None, "demo")
    assert talk.types(before) == ["message.created", "session.updated", "run.succeeded"]
    assert talk.log()[-1].data["usage"] == {"input_tokens": 7, "output_tokens": 5, "cost_usd": 0.25}
    usage = Usage.objects.get(run=run, attempt=1)
    assert (usage.llm, usage.input_tokens, usage.output_tokens, usage.cost_usd) == ("demo", 7, 5, Decimal("0.25"))


def test_a_failure_keeps_what_was_shown_and_tells_people_why(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.fail_run(run, ERROR, "Hel", SPENT)
    partial = Message.objects.get(pk=run.answer_id)
    assert (partial.content, partial.data) == ("Hel", {"interrupted": True})
    notice = Message.objects.get(role="system")
    assert (notice.kind, notice.content, notice.author["kind"]) == ("error", ERROR["message"], "system")
    assert talk.types(before) == ["message.created", "message.created", "session.updated", "run.failed"]
    assert Run.objects.get(pk=run.pk).error == ERROR


def test_a_failure_before_anything_was_shown_makes_no_empty_message(talk: Talk) -> None:
    run = talk.start()
    attempts.fail_run(run, ERROR, " \n", SPENT)
    assert not Message.objects.filter(pk=run.answer_id).exists()


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_an_end_refuses_what_still_comes_and_forgets_the_draft(talk: Talk, redis: Any, end: str) -> None:
    run = talk.start()
    told()
    redis.set(stream.draft_key(talk.pk, run.answer_id), "so far")
    redis.set(stream.draft_key(talk.pk, run.answer_id, stream.REASONING), "so far")
    attempts.finish_run(run, "Hello!", SPENT) if end == "finish" else attempts.fail_run(run, ERROR, "", SPENT)
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"2"
    assert not redis.keys("chat:draft:*")


def test_what_a_stopped_attempt_cost_is_stored_after_its_end_without_an_event(talk: Talk) -> None:
    run = talk.start()
    talk.cancel(run.pk)
    before = talk.last_seq
    attempts.record_usage(run, SPENT)
    attempts.record_usage(run, Spending("demo", 100, 100))
    assert Usage.objects.get(run=run, attempt=1).output_tokens == 5, "an attempt is accounted for once"
    assert talk.last_seq == before


def test_a_run_costs_what_all_its_attempts_and_llms_cost(talk: Talk) -> None:
    run = talk.start()
    drained = [Spending("main", 10, 1, Decimal("0.5")), Spending("next", 20, 2, None)]
    back = attempts.put_back(run, "drained", *drained)
    assert back and (back.input_tokens, back.output_tokens, back.cost_usd) == (30, 3, Decimal("0.5"))
    assert talk.log()[-1].data["usage"] == {"input_tokens": 30, "output_tokens": 3, "cost_usd": 0.5}
    again = claims.claim_run(talk.worker_id, talk.pk)
    assert again
    spent = [Spending("main", 5, 0, Decimal("0.25")), Spending("next", 6, 4, Decimal("0.125"))]
    ended = attempts.finish_run(again, "Hello!", *spent, fallback_status="recovery")
    assert (ended.input_tokens, ended.output_tokens, ended.cost_usd) == (41, 7, Decimal("0.875"))
    assert (ended.llm, ended.fallback_status) == ("next", "recovery")
    told_last = talk.log()[-1].data
    assert (told_last["llm"], told_last["fallback_status"]) == ("next", "recovery")
    rows = Usage.objects.filter(run=run).order_by("attempt", "llm").values_list("attempt", "llm", "cost_usd")
    assert list(rows) == [
        (1, "main", Decimal("0.5")),
        (1, "next", None),
        (2, "main", Decimal("0.25")),
        (2, "next", Decimal("0.125")),
    ]


def test_what_a_cancelled_attempt_cost_is_on_its_run_too(talk: Talk) -> None:
    run = talk.start()
    talk.cancel(run.pk)
    attempts.record_usage(run, SPENT)
    row = Run.objects.get(pk=run.pk)
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (7, 5, Decimal("0.25"))
    assert row.status == "cancelled"


def test_what_a_lost_attempt_cost_is_told_by_the_next_event_of_the_run(talk: Talk) -> None:
    run = talk.start()
    back = attempts.put_back(run, "drained")
    assert back
    attempts.record_usage(run, SPENT)  # by the one that was lost, and woke up
    assert Run.objects.get(pk=run.pk).output_tokens == 0, "an open run changes with its events alone"
    again = claims.claim_run(talk.worker_id, talk.pk)
    assert again
    assert attempts.finish_run(again, "Hello!", SPENT).output_tokens == 10


def test_what_a_title_cost_is_not_the_runs(talk: Talk) -> None:
    lost = talk.start()
    attempts.put_back(lost, "worker_lost", stuck=True)
    again = talk.claim()
    titles.store_title(again, "Greetings", Spending("demo", 500, 500))  # found while a retry is under way, say
    attempts.put_back(again, "drained", Spending("demo", 1, 1))
    assert Run.objects.get(pk=lost.pk).input_tokens == 1
    attempts.finish_run(talk.claim(), "Hello!", Spending("demo", 10, 10))
    assert Run.objects.get(pk=lost.pk).input_tokens == 11
    attempts.record_usage(lost, Spending("demo", 7, 7))
    assert Run.objects.get(pk=lost.pk).input_tokens == 18


def test_the_text_for_emergencies_is_an_answer_that_tells_why(talk: Talk) -> None:
    run = talk.start()
    ended = attempts.finish_run(run, "Sorry.", Spending("main"), fallback_status="emergency", error=ERROR)
    assert (ended.status, ended.fallback_status, ended.error) == ("succeeded", "emergency", ERROR)
    message = Message.objects.get(pk=run.answer_id)
    assert (message.content, message.data) == ("Sorry.", {"emergency": True})
    assert not Message.is_talk(message.data)


def test_what_an_attempt_cost_in_a_session_that_is_gone_is_forgotten(talk: Talk) -> None:
    run = talk.start()
    sessions.delete_session(talk.ada, talk.pk)
    attempts.record_usage(run, SPENT)
    assert not Usage.objects.exists()
