"""Whoever waits for Redis holds up nobody who writes: it is asked before the writer's turn."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chat import failpoints, limits
from chat.actions import messages, runs, sessions
from chat.database import reading, writing
from chat.errors import RateLimited
from chat.models import Message, Run
from chat.protocol.commands import NewMessage, NewSession
from tests.inside import WAIT_S, Talk, told


class SlowRedis:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> float:
        self.asked.set()
        assert self.answers.wait(WAIT_S), "nobody let it answer"
        return 0.0

    async def asking(self, *_: object) -> int:
        return int(await asyncio.to_thread(self))


async def others_write_meanwhile(talk: Talk, slow: SlowRedis, work: Coroutine[Any, Any, Any]) -> Any:
    """Start some work that asks Redis, and write something else while that does not answer."""
    working = asyncio.ensure_future(work)
    try:
        assert await asyncio.to_thread(slow.asked.wait, WAIT_S)
        async with asyncio.timeout(WAIT_S / 2):
            await writing(sessions.create_session, talk.ada, NewSession())
        assert not working.done()
    finally:
        slow.answers.set()
    return await working


@pytest.fixture
def slow_limits(monkeypatch: pytest.MonkeyPatch, settings: Any, talk: Talk) -> SlowRedis:
    slow = SlowRedis()
    settings.CHAT_MESSAGES_PER_10S = 10
    monkeypatch.setattr(limits, "_asking", slow.asking)
    return slow


async def test_a_message_waits_for_its_limit_alone(talk: Talk, slow_limits: SlowRedis) -> None:
    posted = await others_write_meanwhile(
        talk, slow_limits, messages.post_message(talk.ada, talk.pk, NewMessage(content="Hello?"))
    )
    assert await reading(Message.objects.filter(pk=posted.message_id).exists)


async def test_a_retry_waits_for_its_limit_alone(talk: Talk, slow_limits: SlowRedis, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    run = await writing(talk.queue)
    await runs.cancel_run(talk.ada, run.pk)
    settings.CHAT_MESSAGES_PER_10S = 10
    outcome = await others_write_meanwhile(talk, slow_limits, runs.retry_run(talk.ada, run.pk))
    assert outcome.run.retry_of_id == run.pk


@pytest.mark.parametrize("what", ["stop", "interrupt"])
async def test_what_was_shown_is_taken_before_the_writers_turn(talk: Talk, what: str) -> None:
    run = await writing(talk.start)
    slow = failpoints.armed["cancel.take"] = SlowRedis()  # type: ignore[assignment]
    works: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "stop": lambda: runs.cancel_run(talk.ada, run.pk),
        "interrupt": lambda: messages.post_message(talk.ada, talk.pk, NewMessage(content="Stop", on_busy="interrupt")),
    }
    await others_write_meanwhile(talk, slow, works[what]())  # type: ignore[arg-type]
    assert await reading(Run.objects.filter(pk=run.pk, status="cancelled").exists)


async def test_what_is_refused_off_the_loop_is_refused_and_given_back(talk: Talk, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 1
    wrong = NewMessage(content="Hello?", agent="nobody")
    for _ in range(2):
        with pytest.raises(messages.InvalidInput):
            await messages.post_message(talk.ada, talk.pk, wrong)
        await asyncio.to_thread(told)
    first = await messages.post_message(talk.ada, talk.pk, NewMessage(content="Hello?", key="k"))
    again = await messages.post_message(talk.ada, talk.pk, NewMessage(content="Hello?", key="k"))
    assert (again.run_id, again.duplicate) == (first.run_id, True)
    with pytest.raises(RateLimited):
        await messages.post_message(talk.ada, talk.pk, NewMessage(content="One more"))
