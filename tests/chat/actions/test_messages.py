"""What people say, who may say it, and an answer that no Redis delays."""

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat import limits
from chat.actions import attempts, claims, events, members, messages, sessions
from chat.errors import ChatError, Conflict, InvalidInput, NotAllowed, NotFound
from chat.models import Agent, ChatSession, Message, Run, User
from chat.prepared import Asked, together
from chat.protocol.commands import NewMember, SessionChange
from tests.inside import Talk, new_talk, rung, told
from tests.processes import PATIENCE
from tests.servers import Redis
from tests.threads import Threads, failing_at, stopped_at

# --- what a message makes ---------------------------------------------------------------------------------------------


def test_a_message_makes_its_row_and_a_run_that_answers_it_in_one_transaction(talk: Talk) -> None:
    before = talk.last_seq
    posted = talk.post("What broke?", talk.ben, key="k1", context={"host": "pg-7"})
    message, run = Message.objects.get(pk=posted.message_id), Run.objects.get(pk=posted.run_id)
    assert (message.user_id, message.run_id, run.message_id, run.user_id) == (
        talk.ben.pk,
        run.pk,
        message.pk,
        talk.ben.pk,
    )
    assert (run.status, run.attempt, run.answer_id) == ("queued", 0, None)
    assert talk.types(before) == ["message.created", "session.updated", "run.queued"]
    assert {event.run_id for event in talk.log(before) if event.type != "session.updated"} == {run.pk}


def test_the_place_of_a_run_is_the_number_of_its_event(talk: Talk) -> None:
    """Ids are drawn before the commit and lie about the order."""
    placed = [talk.queue(f"Message {number}") for number in range(3)]
    numbers = {event.run_id: event.seq for event in talk.log() if event.type == "run.queued"}
    assert [run.position for run in placed] == [numbers[run.pk] for run in placed]
    assert [run.position for run in placed] == sorted(run.position for run in placed)


def test_a_failure_half_way_leaves_nothing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = talk.last_seq

    def fail(*asked: Asked[Any]) -> None:
        if asked[-1].read is not None:
            together(*asked)
            return
        together(*asked[:-1])
        raise RuntimeError("power cut")

    monkeypatch.setattr(events, "together", fail)
    with pytest.raises(RuntimeError):
        talk.post()
    assert not Message.objects.exists()
    assert not Run.objects.exists()
    assert talk.last_seq == before


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"agent": "nobody"}, InvalidInput),
        ({"parent_id": uuid4()}, InvalidInput),
        ({"llm": "openai:gpt-at-your-cost"}, InvalidInput),
    ],
)
def test_a_message_names_only_what_there_is(talk: Talk, more: dict[str, Any], error: type[ChatError]) -> None:
    with pytest.raises(error):
        talk.post(**more)
    assert not Message.objects.exists()


def test_a_message_may_answer_one_of_its_own_session_only(talk: Talk) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    here, elsewhere = talk.post("Here"), other.post("Elsewhere")
    assert Message.objects.get(pk=talk.post("Yes", parent_id=here.message_id).message_id).parent_id == here.message_id
    with pytest.raises(InvalidInput):
        talk.post("No", parent_id=elsewhere.message_id)


def test_a_message_may_choose_what_the_operator_offers(talk: Talk, settings: Any) -> None:
    settings.CHAT_LLMS = ["demo?tokens=5"]
    Agent.objects.create(name="expert", llm="openai:gpt-expert")
    assert talk.queue(llm="demo?tokens=5").llm == "demo?tokens=5"
    assert talk.queue(agent="expert", llm="openai:gpt-expert").agent_id == "expert"
    Agent.objects.filter(name="expert").update(enabled=False)
    with pytest.raises(InvalidInput):
        talk.post(agent="expert")


# --- who may say something --------------------------------------------------------------------------------------------


def test_eve_finds_no_session_to_write_in_and_a_viewer_only_reads(talk: Talk, eve: User) -> None:
    members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    with pytest.raises(NotFound):
        talk.post(by=eve)
    with pytest.raises(NotAllowed):
        talk.post(by=talk.ben)
    assert not Message.objects.exists()


async def test_what_eve_may_not_see_spends_none_of_her_limit(talk: Talk, eve: User, settings: Any, redis: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 1
    for _ in range(3):
        with pytest.raises(NotFound):
            await talk.say(by=eve)
    assert not redis.keys("chat:sent:*")


# --- doorbells --------------------------------------------------------------------------------------------------------


def test_a_message_rings_for_its_run_and_one_that_has_to_wait_does_not(talk: Talk, redis: Any) -> None:
    first = talk.post()
    assert rung(redis) == [first.run_id]
    talk.post("Another")
    assert rung(redis) == [], "the end of the first rings for it"


def test_a_message_whose_doorbell_died_with_its_process_still_waits_in_the_table(talk: Talk, redis: Any) -> None:
    with failing_at("commit.ring", RuntimeError("the process is gone")):
        posted = talk.post()
    assert rung(redis) == []
    assert claims.claimable_sessions(0) == [talk.pk]
    assert talk.claim().pk == posted.run_id


async def _took_s(talk: Talk) -> float:
    began = time.monotonic()
    await talk.say()
    return time.monotonic() - began


async def test_a_dead_redis_delays_no_message(talk: Talk, settings: Any, redis_server: Redis) -> None:
    settings.CHAT_MESSAGES_PER_10S = 100
    await asyncio.to_thread(told)
    redis_server.kill()
    took_s = [await _took_s(talk) for _ in range(5)]
    assert max(took_s) < 0.25 * PATIENCE, took_s
    assert await Run.objects.filter(status="queued").acount() == 5


async def test_a_redis_that_hangs_delays_one_message_and_then_none(
    talk: Talk, settings: Any, redis_server: Redis
) -> None:
    settings.CHAT_MESSAGES_PER_10S = 100
    await talk.say()
    await asyncio.to_thread(told)
    redis_server.freeze()
    first, *others = [await _took_s(talk) for _ in range(4)]
    redis_server.thaw()
    assert first < 0.25 * PATIENCE, first
    assert max(others) < 0.15 * PATIENCE, others


# --- changed while it waits -------------------------------------------------------------------------------------------


def test_what_waits_can_be_changed_by_its_author(talk: Talk) -> None:
    posted = talk.post("Tpyo")
    message = messages.update_message(talk.ada, posted.message_id, "Typo")
    assert message.content == "Typo"
    event = talk.log()[-1]
    assert (event.type, event.data["content"], event.run_id) == ("message.updated", "Typo", posted.run_id)
    before = talk.last_seq
    messages.update_message(talk.ada, posted.message_id, "Typo")
    assert talk.last_seq == before


def test_what_is_being_answered_or_was_once_begun_cannot_be_changed(talk: Talk) -> None:
    run = talk.start("Tpyo")
    with pytest.raises(Conflict):
        messages.update_message(talk.ada, run.message_id, "Typo")
    attempts.put_back(run, "drained")
    with pytest.raises(Conflict):
        messages.update_message(talk.ada, run.message_id, "Typo")


def test_a_change_that_comes_while_the_run_is_claimed_comes_too_late_or_is_read(talk: Talk, threads: Threads) -> None:
    run = talk.queue("Tpyo")
    with stopped_at("claim.commit") as stop:
        claiming = threads.start(talk.claim)
        stop.wait()
        changing = threads.start(messages.update_message, talk.ada, run.message_id, "Typo")
        stop.go_on()
        claimed = claiming.result()
        with pytest.raises(Conflict):
            changing.result()
    assert claimed.message.content == "Tpyo"


def test_nobody_changes_what_another_said(talk: Talk, eve: User) -> None:
    posted = talk.post("Mine")
    with pytest.raises(NotAllowed):
        messages.update_message(talk.ben, posted.message_id, "Yours")
    with pytest.raises(NotFound):
        messages.update_message(eve, posted.message_id, "Yours")
    with pytest.raises(NotFound):
        messages.update_message(talk.ada, UUID(int=1), "Nobody's")


def test_a_message_to_an_interrupted_session_waits_and_leaves_its_status(talk: Talk) -> None:
    with events.locked(talk.pk) as log:
        log.set_status("interrupted")
    talk.post()
    assert ChatSession.objects.get(pk=talk.pk).status == "interrupted"


def test_a_limit_of_none_asks_nobody(talk: Talk, settings: Any, redis: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    for _ in range(15):
        talk.post()
    assert not redis.keys("chat:sent:*")
    assert not limits._windows


# --- who is meant -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "agent"),
    [
        ("@Support where is it?", "support"),
        ("请@support帮我", "support"),
        ("@nobody, @support", "support"),
        ("@nobody", "assistant"),
        ("write to ada@support", "assistant"),
        ("@off are you there?", "assistant"),
        ("@inner, please", "assistant"),
        ("@AI and @ai", "AI"),
        ("@ai and @AI", "ai"),
        ("@Ai", "AI"),
    ],
)
def test_a_message_is_answered_by_the_agent_that_it_mentions(talk: Talk, content: str, agent: str) -> None:
    for name in ("support", "off", "inner", "AI", "ai"):
        visibility = "staff" if name == "inner" else "everyone"
        row = {"enabled": name != "off", "visibility": visibility}
        Agent.objects.update_or_create(name=name, defaults=row)
    assert talk.queue(content).agent_id == agent


def test_an_agent_that_is_named_apart_counts_more_than_one_that_is_mentioned(talk: Talk) -> None:
    Agent.objects.get_or_create(name="support")
    assert talk.queue("@support?", agent="assistant").agent_id == "assistant"


def test_agents_of_the_staff_are_there_for_staff_alone(talk: Talk) -> None:
    Agent.objects.create(name="inner", visibility="staff")
    with pytest.raises(InvalidInput):
        talk.post(agent="inner")
    User.objects.filter(pk=talk.ben.pk).update(is_staff=True)
    talk.ben.refresh_from_db()
    assert talk.queue("@inner", talk.ben).agent_id == "inner"
    sessions.update_session(talk.ben, talk.pk, SessionChange(agent="inner"))
    assert talk.queue("Who answers here?").agent_id == "inner", "a session may be given one to talk to"
