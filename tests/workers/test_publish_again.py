"""Drafts that Redis forgot or could not take: all of it again, and saved in the row meanwhile."""

import asyncio
import threading
import time
from typing import Any

import pytest
from django.db import OperationalError

from chat import stream
from chat.actions import attempts, runs
from chat.database import reading
from chat.models import Run
from tests.inside import WAIT_S, Talk, told
from tests.servers import Redis
from tests.workers.watching import NEVER_MS, Watching, kept
from workers import publish

# --- forgotten --------------------------------------------------------------------------------------------------------


async def test_a_redis_that_was_emptied_gets_all_of_it_again(watching: Watching, redis: Any) -> None:
    draft = await watching.begun("Hello")
    redis.flushall()
    draft.add(", wörld 🌍")
    await watching.until(lambda: watching.shown() == "Hello, wörld 🌍", "all of it")
    assert watching.texts() == ["Hello", "Hello, wörld 🌍"]
    assert kept(redis, draft) == "Hello, wörld 🌍"
    assert redis.hget(stream.fence_key(watching.run.session_id, watching.run.pk), "a") == b"1"
    draft.add("!")
    await draft.flush()
    await watching.until(lambda: watching.texts()[-1] == "!", "and goes on as before")


async def test_whoever_lost_its_claim_does_not_set_the_fence_anew(watching: Watching, talk: Talk, redis: Any) -> None:
    """The row knows what an emptied Redis does not."""
    draft = await watching.begun("Hello")
    await runs.cancel_run(talk.ada, watching.run.pk)
    await asyncio.to_thread(told)
    redis.flushall()
    draft.add(" late")
    await watching.until(lambda: watching.fenced, "it is told")
    assert watching.texts() == ["Hello"]
    assert redis.keys("chat:*") == []


async def test_to_set_the_fence_anew_never_lowers_a_newer_one(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    stream.raise_fence(watching.run.session_id, watching.run.pk, 7)
    await asyncio.to_thread(told)
    await watching.publisher._set_fence(draft)
    assert redis.hget(stream.fence_key(watching.run.session_id, watching.run.pk), "a") == b"7"


async def test_a_draft_alone_that_was_forgotten_is_sent_in_full(watching: Watching, redis: Any) -> None:
    draft = await watching.begun("Hello")
    redis.delete(stream.draft_key(watching.run.session_id, draft.message_id))
    draft.add("!")
    await watching.until(lambda: watching.texts() == ["Hello", "Hello!"], "all of it")
    assert kept(redis, draft) == "Hello!"


async def test_a_script_that_was_forgotten_is_loaded_again(watching: Watching, redis: Any, settings: Any) -> None:
    await watching.begun("Hello")
    redis.script_flush()
    settings.CHAT_DELTA_WINDOW_MS = NEVER_MS
    thought = watching.draft(stream.REASONING)
    thought.add("Hm")
    await watching.until(lambda: watching.shown(stream.REASONING) == "Hm", "a first piece is still told at once")
    assert watching.fenced == 0


async def test_what_one_draft_meets_does_not_disturb_another_in_the_same_pipeline(
    watching: Watching, redis: Any
) -> None:
    forgotten, well = watching.draft(), watching.draft(stream.REASONING)
    for draft in (forgotten, well):
        draft.add("Hello")
        await draft.flush()
    redis.delete(stream.draft_key(watching.run.session_id, forgotten.message_id))
    forgotten.add("!")
    well.add("?")
    await watching.until(lambda: watching.shown() == "Hello!", "the forgotten one")
    await watching.until(lambda: watching.texts(stream.REASONING) == ["Hello", "?"], "the other")


async def test_a_lost_fence_is_asked_for_once_while_the_database_stalls(
    watching: Watching, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await watching.begun("a")
    asked: list[int] = []
    go, real = threading.Event(), publish.workers.still_held

    def stall(*args: Any) -> Any:
        asked.append(1)
        go.wait(WAIT_S)
        return real(*args)

    monkeypatch.setattr(publish.workers, "still_held", stall)
    redis.flushall()
    try:
        draft.add("b")
        await watching.until(lambda: asked, "it is asked")
        for _ in range(10):
            draft.add("c")
            await asyncio.sleep(publish.HELD_S)
        assert len(watching.publisher._sending) == len(asked) == 1
    finally:
        go.set()
    await watching.until(lambda: watching.shown() == draft.text, "all of it is told")


async def test_a_lost_fence_is_asked_for_again_where_the_database_failed(
    watching: Watching, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await watching.begun("a")
    failures = [OperationalError("no database"), OperationalError("no database")]
    real = publish.workers.still_held

    def fail(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(publish.workers, "still_held", fail)
    redis.flushall()
    draft.add("b")
    await watching.until(lambda: watching.shown() == "ab", "all of it is told")
    assert not failures and watching.fenced == 0


# --- away -------------------------------------------------------------------------------------------------------------


async def checkpoint(run: Run) -> str:
    found = await reading(Run.objects.get, pk=run.pk)
    return str(found.checkpoint)


async def test_while_redis_is_away_the_text_so_far_is_saved_in_the_row(
    watching: Watching, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.05)
    draft, thought = watching.draft(), watching.draft(stream.REASONING)
    draft.add("Hello")
    thought.add("Hm")
    await draft.flush()
    assert await checkpoint(watching.run) == "", "with Redis nothing is written"
    redis_server.kill()
    for piece in (",", " world", " 🌍"):
        draft.add(piece)
        thought.add(piece)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(WAIT_S):
        while await checkpoint(watching.run) != "Hello, world 🌍":
            await asyncio.sleep(0.01)


async def test_when_redis_is_back_all_of_it_is_told(watching: Watching, redis_server: Redis, redis: Any) -> None:
    draft = await watching.begun("Hello")
    redis_server.kill()
    draft.add(", world")
    await watching.until(lambda: watching.publisher.is_broken, "it is noticed")
    redis_server.start()
    draft.add("!")
    await watching.until(lambda: kept(redis, draft) == "Hello, world!", "all of it is there again")
    assert watching.fenced == 0


async def test_a_redis_that_hangs_for_a_moment_loses_and_repeats_nothing(
    watching: Watching, redis_server: Redis, redis: Any
) -> None:
    draft = watching.draft()
    text = ""
    for number in range(40):
        draft.add(f"w{number} ")
        text += f"w{number} "
        if number == 10:
            redis_server.freeze()
        if number == 30:
            redis_server.thaw()
        await asyncio.sleep(0.015)
    await watching.until(lambda: watching.shown() == text, "all of it")
    assert kept(redis, draft) == text


async def test_a_run_that_was_cancelled_while_redis_is_away_is_noticed_by_its_checkpoint(
    watching: Watching, talk: Talk, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.02)
    draft = await watching.begun("Hello")
    redis_server.kill()
    await runs.cancel_run(talk.ada, watching.run.pk)
    draft.add(" late")
    await watching.until(lambda: watching.fenced, "it is told")
    assert await checkpoint(watching.run) == ""


async def test_the_thoughts_of_a_model_are_never_saved_as_its_answer(
    watching: Watching, redis: Any, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.02)
    thought = watching.draft(stream.REASONING)
    thought.add("Hm")
    await thought.flush()
    redis.flushall()
    thought.add("!")
    await watching.until(lambda: watching.shown(stream.REASONING) == "Hm!", "the fence is set anew")
    redis_server.kill()
    thought.add("?")
    await watching.until(lambda: watching.publisher.is_broken, "it is noticed")
    await asyncio.sleep(0.1)
    assert await checkpoint(watching.run) == ""


async def test_the_database_and_redis_both_away_end_nothing(
    watching: Watching, redis_server: Redis, monkeypatch: pytest.MonkeyPatch, redis: Any
) -> None:
    tried: list[int] = []

    def fail(run: Run, answer_id: str, text: str) -> None:
        tried.append(1)
        raise OperationalError("no database")

    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.02)
    monkeypatch.setattr(attempts, "keep_checkpoint", fail)
    draft = await watching.begun("Hello")
    redis_server.kill()
    draft.add("!")
    await watching.until(lambda: tried, "it is tried")
    redis_server.start()
    monkeypatch.undo()
    await watching.until(lambda: kept(redis, draft) == "Hello!", "and goes on when one is back")
    assert watching.fenced == 0


# --- a loop that stood ------------------------------------------------------------------------------------------------


async def test_a_loop_that_stood_does_not_take_a_quick_redis_for_one_that_is_away(watching: Watching) -> None:
    """All live pieces of that shard would stand for a second more."""
    draft = await watching.begun("Hello")
    draft.add(", world")
    while draft.in_flight is None:
        await asyncio.sleep(0)
    for _ in range(5):  # the sending is a task of its own
        await asyncio.sleep(0)
    time.sleep(publish.SEND_S * 1.2)  # noqa: ASYNC251 - it is what is tested
    await watching.until(lambda: draft.in_flight is None, "Redis has answered")
    assert not watching.publisher.is_broken
    await watching.until(lambda: watching.texts() == ["Hello", ", world"], "each piece once")
