"""Whatever ends rings for what may go on; what failed can be asked for again, and what waits can be moved."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from chat.actions import attempts, claims, runs, sessions
from chat.errors import Conflict, Fenced, InvalidInput, NotFound, SessionClosed
from chat.models import Message, Run, User
from tests.inside import Talk, new_talk, rung
from tests.threads import Threads


def fails(run: Run, text: str = "") -> Run:
    return attempts.fail_run(run, attempts.WORKER_LOST, text, attempts.Spending())


# --- doorbells of what ends -------------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[Talk, Run], Any]] = {
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "fail": lambda talk, run: fails(run),
    "cancel": lambda talk, run: talk.cancel(run.pk),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_a_run_rings_for_the_next_one_of_its_session(talk: Talk, redis: Any, end: str) -> None:
    run, second = talk.start(), talk.queue("second", talk.ben)
    talk.queue("third", talk.ben)
    rung(redis)
    ENDS[end](talk, run)
    assert rung(redis) == [second.pk]


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_a_run_rings_for_its_users_oldest_held_one(
    talk: Talk, redis: Any, settings: Any, end: str
) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    run = talk.start()
    others = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3)]
    held = [other.queue() for other in others]
    bens = new_talk(talk.ben, talk.ada, talk.worker_id)
    bens.queue(by=talk.ben)
    assert claims.claim_run(talk.worker_id, others[0].pk) is None, "no slot is free"
    rung(redis)
    ENDS[end](talk, run)
    assert rung(redis) == [held[0].pk]
    assert others[0].claim().pk == held[0].pk


def test_a_run_that_is_put_back_rings_for_itself(talk: Talk, redis: Any) -> None:
    run = talk.start()
    rung(redis)
    attempts.put_back(run, "drained")
    assert rung(redis) == [run.pk]


def test_the_end_of_a_waiting_one_rings_for_the_next_only_where_nothing_runs(talk: Talk, redis: Any) -> None:
    first, second, third = talk.start(), talk.queue("second"), talk.queue("third")
    rung(redis)
    talk.cancel(second.pk)
    assert rung(redis) == []
    talk.cancel(first.pk)
    assert rung(redis) == [third.pk]


def test_what_a_question_holds_up_is_not_rung_for_in_place_of_what_may_go_on(
    talk: Talk, redis: Any, settings: Any
) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    asks, free = (new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(2))
    asking = asks.queue()
    asks.queue("behind the question")
    Run.objects.filter(pk=asking.pk).update(status="interrupted")
    run = talk.start()
    may_go_on = free.queue()
    rung(redis)
    attempts.finish_run(run, "Hello!", attempts.Spending())
    assert rung(redis) == [may_go_on.pk]


def test_a_lost_race_rings_for_nothing(talk: Talk, redis: Any) -> None:
    run = talk.start()
    talk.queue("next")
    talk.cancel(run.pk)
    rung(redis)
    with pytest.raises(Fenced):
        attempts.finish_run(run, "Hello!", attempts.Spending())
    assert rung(redis) == []


# --- asked for again --------------------------------------------------------------------------------------------------


def test_a_failed_run_is_asked_for_again_as_a_new_run_of_the_same_message(talk: Talk, redis: Any) -> None:
    old = fails(talk.start(), "Hel")
    rung(redis)
    outcome = talk.retry(old.pk, talk.ben)
    again = Run.objects.get(pk=outcome.run.pk)
    assert (again.message_id, again.retry_of_id, again.user_id) == (old.message_id, old.pk, talk.ben.pk)
    assert (again.status, again.attempt) == ("queued", 0)
    assert again.position == talk.log()[-1].seq, "last in the queue"
    assert rung(redis) == [again.pk]
    assert Run.objects.get(pk=old.pk).status == "failed"


def test_to_ask_again_twice_is_to_ask_again_once(talk: Talk) -> None:
    old = fails(talk.start())
    first, before = talk.retry(old.pk), talk.last_seq
    second = talk.retry(old.pk)
    assert (second.run.pk, second.frames, talk.last_seq) == (first.run.pk, [], before)


def test_two_who_ask_again_at_once_get_one_run(talk: Talk, threads: Threads) -> None:
    old = fails(talk.start())
    asked = threads.at_once(*[lambda: talk.retry(old.pk).run.pk] * 4)
    assert len(set(asked)) == 1


def test_what_succeeded_or_is_still_open_is_not_asked_for_again(talk: Talk) -> None:
    with pytest.raises(Conflict):
        talk.retry(talk.answer().pk)
    with pytest.raises(Conflict):
        talk.retry(talk.start().pk)


def test_nothing_is_asked_for_again_in_a_closed_session(talk: Talk) -> None:
    old = fails(talk.start())
    sessions.close_session(talk.ada, talk.pk)
    with pytest.raises(SessionClosed):
        talk.retry(old.pk)


def withdrawn(run: Run) -> bool:
    return bool(Message.objects.get(pk=run.message_id).data.get("withdrawn"))


def test_to_cancel_one_more_answer_that_waits_withdraws_no_question_that_was_answered(talk: Talk) -> None:
    """Else the LLM would read the answer later, and not what it answers."""
    old = fails(talk.start())
    again = talk.retry(old.pk).run
    attempts.finish_run(talk.claim(), "Hello!", attempts.Spending())
    once_more = talk.retry(old.pk).run
    assert once_more.pk != again.pk
    talk.cancel(once_more.pk)
    assert not withdrawn(old)


def test_a_question_is_withdrawn_with_the_last_run_that_might_have_answered_it(talk: Talk) -> None:
    talk.start("first")
    old = talk.queue()
    talk.cancel(old.pk)
    assert withdrawn(old)
    first = talk.retry(old.pk).run
    assert not withdrawn(old)
    talk.cancel(first.pk)
    assert withdrawn(old), "nobody has begun to answer it"
    second, third = (talk.retry(run.pk).run for run in (old, first))
    talk.cancel(second.pk)
    assert not withdrawn(old), "another one is going to"
    talk.cancel(third.pk)
    assert withdrawn(old)


# --- moved ------------------------------------------------------------------------------------------------------------


def waiting(talk: Talk) -> list[str]:
    found = Run.objects.filter(session_id=talk.pk, status="queued").order_by("position")
    return list(found.values_list("message__content", flat=True))


def test_a_waiting_run_is_moved_before_another_or_to_the_end(talk: Talk) -> None:
    a, b, c = (talk.queue(name) for name in "abc")
    before = talk.last_seq
    runs.move_run(talk.ben, c.pk, a.pk)
    assert waiting(talk) == ["c", "a", "b"]
    assert talk.types(before) == ["run.moved"] * 3, "whoever changed its place is told"
    runs.move_run(talk.ada, c.pk, None)
    assert waiting(talk) == ["a", "b", "c"]
    runs.move_run(talk.ada, a.pk, c.pk)
    assert waiting(talk) == ["b", "a", "c"]
    before = talk.last_seq
    runs.move_run(talk.ada, b.pk, b.pk)
    runs.move_run(talk.ada, c.pk, None)
    assert talk.last_seq == before
    assert talk.claim().pk == b.pk, "a claim goes by the place"


def test_what_is_moved_stays_behind_what_runs(talk: Talk) -> None:
    running = talk.start("running")
    talk.queue("a")
    b = talk.queue("b")
    runs.move_run(talk.ada, b.pk, None)
    runs.move_run(talk.ada, b.pk, Run.objects.get(message__content="a").pk)
    assert waiting(talk) == ["b", "a"]
    assert Run.objects.get(pk=b.pk).position > running.position


def test_only_what_waits_in_the_same_session_is_moved_or_moved_before(talk: Talk) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    running, a, elsewhere = talk.start(), talk.queue(), other.queue()
    with pytest.raises(Conflict):
        runs.move_run(talk.ada, running.pk, None)
    for before in (running.pk, elsewhere.pk, uuid4()):
        with pytest.raises(InvalidInput):
            runs.move_run(talk.ada, a.pk, before)


def test_eve_moves_nothing(talk: Talk, eve: User) -> None:
    a, b = talk.queue(), talk.queue()
    with pytest.raises(NotFound):
        runs.move_run(eve, b.pk, a.pk)


def test_a_claim_and_a_move_at_once_leave_every_place_taken_once(talk: Talk, threads: Threads) -> None:
    for _ in range(3):
        made = [talk.queue(name) for name in "abcd"]
        moves = [partial(runs.move_run, talk.ada, run.pk, made[0].pk) for run in made[2:]]
        threads.at_once(talk.claim, *moves)
        places = list(Run.objects.filter(session_id=talk.pk, status__in=Run.OPEN).values_list("position", flat=True))
        assert len(set(places)) == 4
        for run in made:
            talk.cancel(run.pk)
