"""What people do with a run: stop it, ask for it again, move it. What ends rings for what may go on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from chat import stream
from chat.actions import attempts, members, runs, sessions
from chat.errors import Conflict, Fenced, InvalidInput, NotAllowed, NotFound, SessionClosed
from chat.models import ChatSession, Message, Run, User
from chat.protocol.commands import NewMember
from tests.inside import WAIT_S, Talk, Threads, new_talk, rung, stopped_at, told, wait_until_blocked
from tests.servers import Redis


def show(redis: Any, run: Run, text: str) -> None:
    """Put into Redis what a worker has shown of its answer."""
    told()
    redis.set(stream.draft_key(run.session_id, run.answer_id), text)


def fails(run: Run, text: str = "") -> Run:
    return attempts.fail_run(run, attempts.WORKER_LOST, text, attempts.Spending())


# --- stopped ----------------------------------------------------------------------------------------------------------


def test_a_stop_keeps_what_was_shown_under_the_id_that_it_was_shown_with(talk: Talk, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "Hello wörld 🌍")
    before = talk.last_seq
    outcome = runs.cancel_run(talk.ben, run.pk)
    assert outcome.as_data() == {"run_id": str(run.pk), "status": "cancelled"}
    message = Message.objects.get(pk=run.answer_id)
    assert (message.content, message.data) == ("Hello wörld 🌍", {"interrupted": True})
    assert talk.types(before) == ["message.created", "session.updated", "run.cancelled"]
    assert [frame.seq for frame in outcome.frames] == [event.seq for event in talk.log(before)]


def test_a_stop_leaves_nothing_promised_and_no_slot_taken(talk: Talk) -> None:
    run = talk.start()
    runs.cancel_run(talk.ada, run.pk)
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.drafts, now.slot, now.worker_id, now.checkpoint) == ("cancelled", [], None, None, "")
    assert ChatSession.objects.get(pk=talk.pk).status == "waiting"


def test_a_stop_before_anything_was_shown_makes_no_message(talk: Talk, redis: Any) -> None:
    for text in ("", " \n"):
        run = talk.start()
        show(redis, run, text)
        runs.cancel_run(talk.ada, run.pk)
    assert not Message.objects.filter(role="assistant").exists()


def test_a_stop_raises_the_fence_and_forgets_the_draft(talk: Talk, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "so far")
    runs.cancel_run(talk.ada, run.pk)
    told()
    assert redis.hgetall(stream.fence_key(talk.pk, run.pk)) == {b"a": b"2"}
    assert not redis.exists(stream.draft_key(talk.pk, run.answer_id))


def test_a_stop_nudges_the_worker(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    listening = redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(stream.channel_of(stream.worker_group(talk.worker_id)))
    listening.get_message(timeout=5)
    runs.cancel_run(talk.ada, run.pk)
    told()
    message = listening.get_message(timeout=5)
    assert message is not None and stream.layer().deserialize(message["data"])["run_id"] == str(run.pk)
    listening.close()


def test_to_stop_twice_is_to_stop_once(talk: Talk) -> None:
    run = talk.start()
    runs.cancel_run(talk.ada, run.pk)
    before = talk.last_seq
    outcome = runs.cancel_run(talk.ben, run.pk)
    assert (outcome.run.status, outcome.frames, talk.last_seq) == ("cancelled", [], before)


def test_to_stop_what_is_over_says_how_it_ended(talk: Talk) -> None:
    run = talk.answer()
    before = talk.last_seq
    assert runs.cancel_run(talk.ada, run.pk).as_data()["status"] == "succeeded"
    assert talk.last_seq == before


def test_what_waits_is_stopped_without_redis(talk: Talk, redis_server: Redis) -> None:
    run = talk.queue()
    told()
    redis_server.kill()
    assert runs.cancel_run(talk.ada, run.pk).run.status == "cancelled"


def test_without_redis_a_stop_keeps_the_last_checkpoint_and_says_so(talk: Talk, redis_server: Redis) -> None:
    run = talk.start()
    told()
    redis_server.kill()
    attempts.keep_checkpoint(run, "Hello wo")
    runs.cancel_run(talk.ada, run.pk)
    message = Message.objects.get(pk=run.answer_id)
    assert (message.content, message.data) == ("Hello wo", {"interrupted": True, "incomplete": True})


def test_a_redis_that_has_forgotten_the_draft_is_as_good_as_none(talk: Talk, redis: Any) -> None:
    run = talk.start()
    attempts.keep_checkpoint(run, "Hello wo")
    told()
    redis.flushall()
    runs.cancel_run(talk.ada, run.pk)
    assert Message.objects.get(pk=run.answer_id).data["incomplete"] is True


def test_an_answer_that_was_begun_afresh_is_kept_as_it_is_shown_now(talk: Talk, redis: Any) -> None:
    """A checkpoint is older than the draft, and a draft that was cleared shows nothing."""
    run = talk.start()
    attempts.keep_checkpoint(run, "void")
    show(redis, run, "")
    runs.cancel_run(talk.ada, run.pk)
    assert not Message.objects.filter(pk=run.answer_id).exists()


def test_eve_finds_no_run_and_a_viewer_stops_none(talk: Talk, eve: User) -> None:
    run = talk.start()
    members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    for act in (runs.cancel_run, runs.retry_run):
        with pytest.raises(NotFound):
            act(eve, run.pk)
        with pytest.raises(NotAllowed):
            act(talk.ben, run.pk)
        with pytest.raises(NotFound):
            act(talk.ada, uuid4())
    assert Run.objects.get(pk=run.pk).status == "running"


def test_a_stop_and_an_end_at_once_make_one_of_the_two(talk: Talk, threads: Threads) -> None:
    for _ in range(5):
        run = talk.start()
        stopped, finished = threads.at_once(
            lambda run=run: runs.cancel_run(talk.ada, run.pk).run.status,
            lambda run=run: attempts.finish_run(run, "Hello!", attempts.Spending()).status,
        )
        now = Run.objects.get(pk=run.pk).status
        assert stopped == now
        assert now == "succeeded" if finished == "succeeded" else isinstance(finished, Fenced)
    assert Run.objects.filter(status__in=Run.OPEN).count() == 0


@pytest.mark.postgres
def test_an_end_that_waited_behind_a_stop_writes_nothing_after_it(talk: Talk, threads: Threads) -> None:
    """The fence has to be a statement of its own: within the lock's, Postgres judges it by what was before the wait."""
    run = talk.start()
    with stopped_at("cancel.commit") as stop:
        stopping = threads.start(runs.cancel_run, talk.ada, run.pk)
        stop.wait()
        finishing = threads.start(attempts.finish_run, run, "Hello!", attempts.Spending())
        wait_until_blocked()
        stop.go_on()
        stopping.result(WAIT_S)
        with pytest.raises(Fenced):
            finishing.result(WAIT_S)
    assert talk.types()[-1] == "run.cancelled"
    assert Run.objects.get(pk=run.pk).status == "cancelled"


@pytest.mark.postgres
def test_a_stop_that_waited_behind_an_end_says_how_it_ended(talk: Talk, threads: Threads) -> None:
    run = talk.start()
    with stopped_at("attempt.fenced") as stop:
        finishing = threads.start(attempts.finish_run, run, "Hello!", attempts.Spending())
        stop.wait()
        stopping = threads.start(runs.cancel_run, talk.ada, run.pk)
        wait_until_blocked()
        stop.go_on()
        finishing.result(WAIT_S)
        assert stopping.result(WAIT_S).as_data()["status"] == "succeeded"
    assert talk.types()[-1] == "run.succeeded"


def test_a_stop_that_met_a_new_attempt_keeps_what_that_one_shows(talk: Talk, threads: Threads, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "of the first attempt")
    with stopped_at("cancel.take") as stop:
        stopping = threads.start(runs.cancel_run, talk.ada, run.pk)
        stop.wait()
        attempts.put_back(run, "drained")
        again = talk.claim()
        show(redis, again, "of the second")
        stop.go_on()
        stopping.result(WAIT_S)
    [answer] = Message.objects.filter(role="assistant")
    assert (answer.pk, answer.content) == (again.answer_id, "of the second")


def test_a_stop_of_what_was_just_started_keeps_what_was_shown(
    talk: Talk, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = talk.queue()
    first_look = runs.run_for

    def look_and_start(user: User, run_id: Any) -> Run:
        monkeypatch.undo()
        seen = first_look(user, run_id)
        show(redis, talk.claim(), "already shown")
        return seen

    monkeypatch.setattr(runs, "run_for", look_and_start)
    assert runs.cancel_run(talk.ada, run.pk).run.status == "cancelled"
    assert Message.objects.get(role="assistant").content == "already shown"


# --- doorbells of what ends -------------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[Talk, Run], Any]] = {
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "fail": lambda talk, run: fails(run),
    "cancel": lambda talk, run: runs.cancel_run(talk.ada, run.pk),
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
    assert attempts.claim_run(talk.worker_id, others[0].pk) is None, "no slot is free"
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
    runs.cancel_run(talk.ada, second.pk)
    assert rung(redis) == []
    runs.cancel_run(talk.ada, first.pk)
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
    runs.cancel_run(talk.ada, run.pk)
    rung(redis)
    with pytest.raises(Fenced):
        attempts.finish_run(run, "Hello!", attempts.Spending())
    assert rung(redis) == []


# --- asked for again --------------------------------------------------------------------------------------------------


def test_a_failed_run_is_asked_for_again_as_a_new_run_of_the_same_message(talk: Talk, redis: Any) -> None:
    old = fails(talk.start(), "Hel")
    rung(redis)
    outcome = runs.retry_run(talk.ben, old.pk)
    again = Run.objects.get(pk=outcome.run.pk)
    assert (again.message_id, again.retry_of_id, again.user_id) == (old.message_id, old.pk, talk.ben.pk)
    assert (again.status, again.attempt) == ("queued", 0)
    assert again.position == talk.log()[-1].seq, "last in the queue"
    assert rung(redis) == [again.pk]
    assert Run.objects.get(pk=old.pk).status == "failed"


def test_to_ask_again_twice_is_to_ask_again_once(talk: Talk) -> None:
    old = fails(talk.start())
    first, before = runs.retry_run(talk.ada, old.pk), talk.last_seq
    second = runs.retry_run(talk.ada, old.pk)
    assert (second.run.pk, second.frames, talk.last_seq) == (first.run.pk, [], before)


def test_two_who_ask_again_at_once_get_one_run(talk: Talk, threads: Threads) -> None:
    old = fails(talk.start())
    asked = threads.at_once(*[lambda: runs.retry_run(talk.ada, old.pk).run.pk] * 4)
    assert len(set(asked)) == 1


def test_what_succeeded_or_is_still_open_is_not_asked_for_again(talk: Talk) -> None:
    with pytest.raises(Conflict):
        runs.retry_run(talk.ada, talk.answer().pk)
    with pytest.raises(Conflict):
        runs.retry_run(talk.ada, talk.start().pk)


def test_nothing_is_asked_for_again_in_a_closed_session(talk: Talk) -> None:
    old = fails(talk.start())
    sessions.close_session(talk.ada, talk.pk)
    with pytest.raises(SessionClosed):
        runs.retry_run(talk.ada, old.pk)


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
            runs.cancel_run(talk.ada, run.pk)
