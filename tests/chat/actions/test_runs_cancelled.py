"""A stop is one transaction: what was shown is kept, and the log takes nothing more of that attempt."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chat import stream
from chat.actions import attempts, members, runs
from chat.errors import Fenced, NotAllowed, NotFound
from chat.models import ChatSession, Message, Run, User
from chat.protocol.commands import NewMember
from tests.chat.actions.steering import show
from tests.chat.published import heard
from tests.inside import WAIT_S, Talk, told
from tests.servers import Redis
from tests.threads import Threads, stopped_at, wait_until_blocked

# --- stopped ----------------------------------------------------------------------------------------------------------


def test_a_stop_keeps_what_was_shown_under_the_id_that_it_was_shown_with(talk: Talk, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "Hello wörld 🌍")
    before = talk.last_seq
    outcome = talk.cancel(run.pk, talk.ben)
    assert outcome.as_data() == {"run_id": str(run.pk), "status": "cancelled"}
    message = Message.objects.get(pk=run.answer_id)
    assert (message.content, message.data) == ("Hello wörld 🌍", {"interrupted": True})
    assert talk.types(before) == ["message.created", "session.updated", "run.cancelled"]
    assert [frame.seq for frame in outcome.frames] == [event.seq for event in talk.log(before)]


def test_a_stop_leaves_nothing_promised_and_no_slot_taken(talk: Talk) -> None:
    run = talk.start()
    talk.cancel(run.pk)
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.drafts, now.slot, now.worker_id, now.checkpoint) == ("cancelled", [], None, None, "")
    assert ChatSession.objects.get(pk=talk.pk).status == "waiting"


def test_a_stop_before_anything_was_shown_makes_no_message(talk: Talk, redis: Any) -> None:
    for text in ("", " \n"):
        run = talk.start()
        show(redis, run, text)
        talk.cancel(run.pk)
    assert not Message.objects.filter(role="assistant").exists()


def test_a_stop_raises_the_fence_and_forgets_the_draft(talk: Talk, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "so far")
    talk.cancel(run.pk)
    told()
    assert redis.hgetall(stream.fence_key(talk.pk, run.pk)) == {b"a": b"2"}
    assert not redis.exists(stream.draft_key(talk.pk, run.answer_id))


def test_a_stop_nudges_the_worker(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    with heard(redis, stream.worker_group(talk.worker_id)) as hear:
        talk.cancel(run.pk)
        told()
        message = hear()
    assert message is not None and message["run_id"] == str(run.pk)


def test_to_stop_twice_is_to_stop_once(talk: Talk) -> None:
    run = talk.start()
    talk.cancel(run.pk)
    before = talk.last_seq
    outcome = talk.cancel(run.pk, talk.ben)
    assert (outcome.run.status, outcome.frames, talk.last_seq) == ("cancelled", [], before)


def test_to_stop_what_is_over_says_how_it_ended(talk: Talk) -> None:
    run = talk.answer()
    before = talk.last_seq
    assert talk.cancel(run.pk).as_data()["status"] == "succeeded"
    assert talk.last_seq == before


def test_what_waits_is_stopped_without_redis(talk: Talk, redis_server: Redis) -> None:
    run = talk.queue()
    told()
    redis_server.kill()
    assert talk.cancel(run.pk).run.status == "cancelled"


def test_without_redis_a_stop_keeps_the_last_checkpoint_and_says_so(talk: Talk, redis_server: Redis) -> None:
    run = talk.start()
    told()
    redis_server.kill()
    attempts.keep_checkpoint(run, run.answer_id, "Hello wo")
    talk.cancel(run.pk)
    message = Message.objects.get(pk=run.answer_id)
    assert (message.content, message.data) == ("Hello wo", {"interrupted": True, "incomplete": True})


def test_a_redis_that_has_forgotten_the_draft_is_as_good_as_none(talk: Talk, redis: Any) -> None:
    run = talk.start()
    attempts.keep_checkpoint(run, run.answer_id, "Hello wo")
    told()
    redis.flushall()
    talk.cancel(run.pk)
    assert Message.objects.get(pk=run.answer_id).data["incomplete"] is True


def test_an_answer_that_was_begun_afresh_is_kept_as_it_is_shown_now(talk: Talk, redis: Any) -> None:
    """A checkpoint is older than the draft, and a draft that was cleared shows nothing."""
    run = talk.start()
    attempts.keep_checkpoint(run, run.answer_id, "void")
    show(redis, run, "")
    talk.cancel(run.pk)
    assert not Message.objects.filter(pk=run.answer_id).exists()


def test_eve_finds_no_run_and_a_viewer_stops_none(talk: Talk, eve: User) -> None:
    run = talk.start()
    members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    for act in (talk.cancel, talk.retry):
        with pytest.raises(NotFound):
            act(run.pk, eve)
        with pytest.raises(NotAllowed):
            act(run.pk, talk.ben)
        with pytest.raises(NotFound):
            act(uuid4())
    assert Run.objects.get(pk=run.pk).status == "running"


def test_a_stop_and_an_end_at_once_make_one_of_the_two(talk: Talk, threads: Threads) -> None:
    for _ in range(5):
        run = talk.start()
        stopped, finished = threads.at_once(
            lambda run=run: talk.cancel(run.pk).run.status,
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
        stopping = threads.start(talk.cancel, run.pk)
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
        stopping = threads.start(talk.cancel, run.pk)
        wait_until_blocked()
        stop.go_on()
        finishing.result(WAIT_S)
        assert stopping.result(WAIT_S).as_data()["status"] == "succeeded"
    assert talk.types()[-1] == "run.succeeded"


def by_its_author(talk: Talk, run: Run) -> Any:
    return asyncio.run(runs.cancel_run(talk.ada, run.pk))


def by_an_operator(talk: Talk, run: Run) -> Any:
    return runs.cancel_as_operator(talk.ada, run.pk)


STOPS = [by_its_author, by_an_operator]


@pytest.mark.parametrize("cancel", STOPS)
def test_a_stop_that_met_a_new_attempt_keeps_what_that_one_shows(
    talk: Talk, threads: Threads, redis: Any, cancel: Callable[[Talk, Run], Any]
) -> None:
    run = talk.start()
    show(redis, run, "of the first attempt")
    with stopped_at("cancel.take") as stop:
        stopping = threads.start(cancel, talk, run)
        stop.wait()
        attempts.put_back(run, "drained")
        again = talk.claim()
        show(redis, again, "of the second")
        stop.go_on()
        stopping.result(WAIT_S)
    [answer] = Message.objects.filter(role="assistant")
    assert (answer.pk, answer.content) == (again.answer_id, "of the second")


@pytest.mark.parametrize("cancel", STOPS)
def test_a_stop_of_what_was_just_started_keeps_what_was_shown(
    talk: Talk, redis: Any, monkeypatch: pytest.MonkeyPatch, cancel: Callable[[Talk, Run], Any]
) -> None:
    run = talk.queue()
    first_look = runs.run_for

    def look_and_start(user: User, run_id: Any, **how: bool) -> Run:
        monkeypatch.undo()
        seen = first_look(user, run_id, **how)
        show(redis, talk.claim(), "already shown")
        return seen

    monkeypatch.setattr(runs, "run_for", look_and_start)
    assert cancel(talk, run).run.status == "cancelled"
    assert Message.objects.get(role="assistant").content == "already shown"
