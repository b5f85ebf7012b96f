"""Keys that are known and limits that are spent once, however many come at once."""

import asyncio
from typing import Any

import pytest

from chat.actions import messages, sessions
from chat.actions.messages import Posted
from chat.database import writing
from chat.errors import Busy, Conflict, RateLimited, TooManyWaiting
from chat.models import Event, Message, Run
from tests.inside import Talk, new_talk, told
from tests.threads import Threads

# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_repeated_key_is_answered_with_the_first_ids_and_writes_nothing(talk: Talk) -> None:
    first = talk.post("Once", key="k")
    before = talk.last_seq
    assert talk.post("Once", key="k") == Posted(first.message_id, first.run_id, duplicate=True)
    assert talk.last_seq == before
    assert Message.objects.count() == 1


async def test_a_known_key_is_answered_before_anything_is_asked_of_it(talk: Talk, settings: Any) -> None:
    """Its `ok` may have been lost: neither a limit nor a closed session may turn that message into an error now."""
    settings.CHAT_MESSAGES_PER_10S = 1
    settings.CHAT_WAITING_PER_SESSION = 1
    first = await talk.say("Once", key="k")
    with pytest.raises(RateLimited):
        await talk.say("Twice", key="k2")
    await writing(sessions.close_session, talk.ada, talk.pk)
    for on_busy in (None, "reject"):
        again = await talk.say("Once", key="k", on_busy=on_busy)
        assert (again.message_id, again.duplicate) == (first.message_id, True)


async def test_a_repeated_key_spends_no_limit(talk: Talk, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 2
    for key in ("k", "k", "k", "k", "k", "k2"):
        await talk.say("One", key=key)
    with pytest.raises(RateLimited):
        await talk.say("One", key="k3")


def test_a_key_with_other_content_is_a_conflict(talk: Talk) -> None:
    talk.post("One", key="k")
    with pytest.raises(Conflict) as refused:
        talk.post("Two", key="k")
    assert refused.value.fields == {"key": "already used"}


def test_a_key_is_its_authors_and_its_sessions_own(talk: Talk) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    posted = [talk.post("A", key="k"), talk.post("B", talk.ben, key="k"), other.post("C", key="k")]
    assert not any(one.duplicate for one in posted)
    assert Message.objects.count() == 3


def test_a_key_is_known_after_its_message_was_changed(talk: Talk) -> None:
    first = talk.post("Tpyo", key="k")
    messages.update_message(talk.ada, first.message_id, "Typo")
    assert talk.post("Tpyo", key="k").duplicate
    assert "Tpyo" not in str(Message.objects.get().as_data()), "nobody is shown what it was"
    assert "Tpyo" not in str(Event.objects.order_by("seq").last().data)
    with pytest.raises(Conflict):
        talk.post("Typo", key="k")


def test_a_key_that_comes_by_many_ways_at_once_makes_one_message_and_spends_once(
    talk: Talk, threads: Threads, settings: Any, redis: Any
) -> None:
    settings.CHAT_MESSAGES_PER_10S = 10
    posted = threads.at_once(*[lambda: asyncio.run(talk.say("Once", key="k"))] * 6)
    assert len({one.message_id for one in posted}) == 1
    assert sorted(one.duplicate for one in posted) == [False, *[True] * 5]
    assert Message.objects.count() == Run.objects.count() == 1
    told()
    assert redis.zcard(f"chat:sent:{talk.ada.pk}:{talk.pk}") == 1


def test_one_key_with_two_contents_at_once_makes_one_message_and_one_conflict(talk: Talk, threads: Threads) -> None:
    posted = threads.at_once(lambda: talk.post("One", key="k"), lambda: talk.post("Two", key="k"))
    assert sorted(type(one).__name__ for one in posted) == ["Conflict", "Posted"]
    assert Message.objects.count() == 1


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_limits_are_spent_before_the_session_is_locked(talk: Talk, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 1
    await talk.say()
    await writing(sessions.close_session, talk.ada, talk.pk)
    with pytest.raises(RateLimited):
        await talk.say()


async def test_a_message_that_is_refused_for_another_reason_gives_its_token_back(talk: Talk, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 2
    await talk.say()
    for _ in range(3):
        with pytest.raises(Busy):
            await talk.say(on_busy="reject")
    await talk.say()


def test_the_limit_of_waiting_messages_holds_however_many_come_at_once(
    talk: Talk, threads: Threads, settings: Any
) -> None:
    settings.CHAT_WAITING_PER_SESSION = 3
    talk.start()
    posted = threads.at_once(*[talk.post] * 6)
    assert [type(one).__name__ for one in posted].count("TooManyWaiting") == 3
    assert Run.objects.filter(status="queued").count() == 3


def test_no_limit_of_waiting_messages_is_none(talk: Talk, settings: Any) -> None:
    settings.CHAT_WAITING_PER_SESSION = 1
    talk.start()
    talk.post()
    with pytest.raises(TooManyWaiting):
        talk.post()
    settings.CHAT_WAITING_PER_SESSION = 0
    talk.post()


def test_reject_refuses_while_any_answer_is_in_progress(talk: Talk) -> None:
    run = talk.queue(on_busy="reject")
    with pytest.raises(Busy):
        talk.post(on_busy="reject")
    talk.cancel(run.pk)
    talk.post(on_busy="reject")
