"""A message that takes the place of the answer in progress: an interruption or a rollback; and a session's own way."""

from typing import Any
from uuid import UUID

import pytest

from chat import stream
from chat.actions import messages, sessions
from chat.errors import Busy, Conflict, Fenced, NotFound, SessionClosed
from chat.models import ChatSession, Event, Interrupt, Message, Run
from chat.protocol.commands import SessionChange
from tests.chat.actions.steering import ask_people, data_of, finish, log_of, queue, show
from tests.inside import Talk, rung, told
from tests.servers import Redis
from tests.threads import failing_at
from tests.workers.talk_as_read import told_to

# --- interrupt and rollback -------------------------------------------------------------------------------------------


def test_an_interruption_keeps_what_was_shown_and_takes_the_place_of_the_run(talk: Talk, redis: Any) -> None:
    run = talk.start("Count")
    other = talk.queue("Next")
    show(redis, run, "One, two")
    rung(redis)
    before = talk.last_seq
    posted = talk.post("No, in German", talk.ben, on_busy="interrupt")
    assert queue(talk) == [posted.run_id, other.pk] and rung(redis) == [posted.run_id]
    assert Run.objects.get(pk=posted.run_id).position == run.position
    assert log_of(talk, before) == [
        ("message.created", run.pk),
        ("run.cancelled", run.pk),
        ("message.created", posted.run_id),
        ("run.queued", posted.run_id),
    ]
    kept = Message.objects.get(pk=run.answer_id)
    assert (kept.content, kept.data) == ("One, two", {"interrupted": True})
    assert redis.hgetall(stream.fence_key(talk.pk, run.pk)) == {b"a": b"2"}
    with pytest.raises(Fenced):
        finish(run)
    assert told_to(talk.claim()) == ["u: Count", "u: No, in German"]


def test_a_rollback_takes_back_what_was_asked_and_shown(talk: Talk, redis: Any) -> None:
    talk.answer("Hello?", "Hello!")
    run = talk.queue("Cuont")
    talk.post("fast", on_busy="join")
    run = talk.claim()
    step = Message.objects.create(
        session_id=talk.pk, seq=talk.last_seq + 1000, run=run, role="tool", author=run.agent.as_author()
    )
    show(redis, run, "One, two")
    before = talk.last_seq
    posted = talk.post("Count", on_busy="rollback")
    [told_of] = Event.objects.filter(session_id=talk.pk, type="run.cancelled")
    gone = [str(pk) for pk in Message.objects.exclude(deleted_at=None).order_by("seq").values_list("pk", flat=True)]
    assert told_of.data["discarded"] == [*gone, str(run.answer_id)] and len(gone) == 3 and str(step.pk) in gone
    assert log_of(talk, before)[0] == ("run.cancelled", run.pk), "nothing of it is kept"
    assert told_to(talk.claim()) == ["u: Hello?", "a: Hello!", "u: Count"]
    with pytest.raises(Conflict):
        talk.retry(run.pk)
    with pytest.raises(NotFound):
        messages.update_message(talk.ada, run.message_id, "Again")
    Message.objects.filter(pk=step.pk).delete()
    assert posted.run_id


def test_nobody_takes_back_what_another_said(talk: Talk) -> None:
    run = talk.queue("Ada asks")
    talk.post("Ben adds", talk.ben, on_busy="join")
    run = talk.claim()
    talk.post("Ben starts afresh", talk.ben, on_busy="rollback")
    assert [m.content for m in Message.objects.shown().order_by("seq")] == ["Ada asks", "Ben starts afresh"]
    assert talk.retry(run.pk).run.message_id == run.message_id


def test_a_rollback_needs_no_redis(talk: Talk, redis_server: Redis) -> None:
    talk.start()
    told()
    redis_server.kill()
    with failing_at("cancel.take", AssertionError("Redis was asked")):
        posted = talk.post(on_busy="rollback")
    assert queue(talk) == [posted.run_id]


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
def test_a_run_that_waits_for_a_person_or_for_its_turn_is_replaced_too(talk: Talk, redis: Any, way: str) -> None:
    asking = ask_people(talk.start())
    rung(redis)
    posted = talk.post(on_busy=way)
    assert queue(talk) == [posted.run_id] and rung(redis) == [posted.run_id]
    assert ChatSession.objects.get(pk=talk.pk).status == "active"
    again = talk.post("Again", on_busy=way)
    assert queue(talk) == [again.run_id], "it had not begun yet, and is replaced all the same"
    assert [Run.objects.get(pk=pk).position for pk in (asking.pk, posted.run_id, again.run_id)] == [asking.position] * 3
    statuses = Run.objects.filter(pk__in=[asking.pk, posted.run_id]).values_list("status", flat=True)
    assert set(statuses) == {"cancelled"}
    assert Interrupt.objects.get(run_id=asking.pk).status == "withdrawn"
    assert ("interrupt.resolved", asking.pk) in log_of(talk, 0)


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
def test_what_takes_a_place_needs_none_of_its_own(talk: Talk, settings: Any, way: str) -> None:
    settings.CHAT_WAITING_PER_SESSION = 1
    talk.start()
    talk.post("Next")
    assert talk.post("Now", on_busy=way).run_id == queue(talk)[0]


def test_what_joined_an_interrupted_run_unread_is_not_lost(talk: Talk) -> None:
    talk.start("Count")
    late = talk.post("In German", talk.ben, on_busy="join")
    now = talk.post("Stop, sing", on_busy="interrupt")
    assert queue(talk)[0] == now.run_id and queue(talk)[1] == UUID(data_of(late.message_id)["run_id"])


def test_questions_of_one_place_are_read_in_their_order(talk: Talk) -> None:
    talk.start("One")
    talk.post("Two", on_busy="interrupt")
    talk.claim()
    talk.post("Three", on_busy="interrupt")
    assert told_to(talk.claim()) == ["u: One", "u: Two", "u: Three"]


def test_without_an_open_run_there_is_nothing_to_stop(talk: Talk, redis: Any) -> None:
    for way in ("interrupt", "rollback"):
        posted = talk.post(on_busy=way)
        assert rung(redis) == [posted.run_id]
        finish(talk.claim())


# --- of a session -----------------------------------------------------------------------------------------------------


def test_a_session_has_a_way_of_its_own_and_a_message_may_choose_another(talk: Talk) -> None:
    before = talk.last_seq
    session = sessions.update_session(talk.ada, talk.pk, SessionChange(on_busy="reject"))
    assert session.as_data()["on_busy"] == "reject" and talk.types(before) == ["session.updated"]
    run = talk.start()
    with pytest.raises(Busy):
        talk.post()
    assert talk.post(on_busy="join").run_id == run.pk
    talk.post(on_busy="queue")
    sessions.update_session(talk.ada, talk.pk, SessionChange(on_busy="interrupt"))
    assert talk.post().run_id == queue(talk)[0]


def test_a_closed_session_is_steered_no_more(talk: Talk) -> None:
    run = talk.start()
    posted = talk.post("More", on_busy="join")
    sessions.close_session(talk.ada, talk.pk)
    for way in ("join", "interrupt", "rollback"):
        with pytest.raises(SessionClosed):
            talk.post(on_busy=way)
    finish(run)
    assert queue(talk) == [UUID(data_of(posted.message_id)["run_id"])], "what was taken is answered"
