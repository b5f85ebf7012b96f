"""Drafts that grow in Redis: the first piece at once, the next ones joined, all of it again when Redis forgot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from chat import stream
from chat.actions import attempts, runs
from chat.database import reading, writing
from chat.layers import Listener
from chat.models import Run
from chat.protocol import Delta
from tests.inside import WAIT_S, Talk, told
from tests.processes import PATIENCE
from tests.servers import Redis
from workers import publish
from workers.publish import Draft, Publisher

NEVER_MS = 3_600_000


@dataclass
class Watching:
    """What a hub of this session is told, and a run whose answer is being written."""

    run: Run
    publisher: Publisher
    deltas: list[Delta] = field(default_factory=list)
    fenced: int = 0

    def draft(self, kind: str = stream.MESSAGE) -> Draft:
        return Draft(self.publisher, self.run, kind, self._on_fenced)

    def _on_fenced(self) -> None:
        self.fenced += 1

    def texts(self, kind: str = stream.MESSAGE) -> list[str]:
        return [delta.text for delta in self.deltas if delta.type == kind]

    def shown(self, kind: str = stream.MESSAGE) -> str:
        """Fold the deltas as a client does: offset 0 replaces, anything else appends where the text ends."""
        text = ""
        for delta in self.deltas:
            if delta.type == kind:
                assert delta.offset in (0, len(text)), f"a gap: {delta.offset} after {len(text)}"
                text = delta.text if delta.offset == 0 else text + delta.text
        return text

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.002)
        assert holds(), what


@pytest.fixture
async def watching(talk: Talk, redis: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    settings.CHAT_DELTA_WINDOW_MS = 5
    monkeypatch.setattr(stream, "BREAK_S", 0.1)
    monkeypatch.setattr(publish, "SEND_S", 0.15)
    run = await writing(talk.start)
    await asyncio.to_thread(told)
    watching = Watching(run, Publisher())

    def on_message(message: dict[str, Any]) -> None:
        if message["type"] == "delta":
            watching.deltas.append(Delta.unpack(message["delta"]))

    listener = Listener(on_message, lambda: None)
    group = stream.session_group(talk.pk)
    assert await stream.layer().listen(group, listener)
    yield watching
    await stream.layer().unlisten(group, listener)
    if watching.publisher._task is not None:
        watching.publisher._task.cancel()


def kept(redis: Any, draft: Draft) -> str | None:
    text = redis.get(stream.draft_key(draft.run.session_id, draft.message_id, draft.kind))
    return None if text is None else str(text.decode())


# --- when it leaves ---------------------------------------------------------------------------------------------------


async def test_the_first_piece_of_a_message_leaves_at_once(watching: Watching, settings: Any, redis: Any) -> None:
    settings.CHAT_DELTA_WINDOW_MS = NEVER_MS
    draft = watching.draft()
    draft.add("Hel")
    await watching.until(lambda: watching.texts() == ["Hel"], "the first piece is told")
    [delta] = watching.deltas
    assert (delta.offset, delta.attempt, delta.message_id) == (0, 1, str(watching.run.answer_id))
    assert delta.opening == {"role": "assistant", "author": watching.run.agent.as_author(), "kind": "text"}
    assert kept(redis, draft) == "Hel"


async def test_the_first_piece_does_not_wait_for_the_window_of_another_message(
    watching: Watching, settings: Any
) -> None:
    settings.CHAT_DELTA_WINDOW_MS = NEVER_MS
    watching.draft().add("answer")
    await watching.until(lambda: watching.texts() == ["answer"], "the first")
    watching.draft(stream.REASONING).add("thought")
    await watching.until(lambda: watching.texts(stream.REASONING) == ["thought"], "the second")


async def test_what_follows_is_joined_within_the_window(watching: Watching, settings: Any) -> None:
    settings.CHAT_DELTA_WINDOW_MS = 60
    draft = watching.draft()
    draft.add("w0 ")
    await watching.until(watching.texts, "the first piece")
    for number in range(1, 20):
        draft.add(f"w{number} ")
        await asyncio.sleep(0)
    await watching.until(lambda: watching.shown().endswith("w19 "), "the rest")
    assert watching.texts() == ["w0 ", "".join(f"w{number} " for number in range(1, 20))]


async def test_a_flush_tells_the_rest_now_and_once(watching: Watching, settings: Any) -> None:
    settings.CHAT_DELTA_WINDOW_MS = NEVER_MS
    draft = watching.draft()
    draft.add("Hello")
    await watching.until(watching.texts, "the first piece")
    draft.add(", ")
    draft.add("world")
    await draft.flush()
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")
    await draft.flush()
    assert watching.texts() == ["Hello", ", world"]


async def test_a_flush_waits_for_what_is_on_its_way_and_sends_nothing_twice(
    watching: Watching, redis_server: Redis
) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.freeze()
    draft.add(", world")
    while draft.in_flight is None:
        await asyncio.sleep(0)
    flushing = asyncio.ensure_future(draft.flush())
    await asyncio.sleep(0.02)
    redis_server.thaw()
    await flushing
    await asyncio.sleep(0.02)
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")
    assert watching.texts() == ["Hello", ", world"], "no empty ones either"


async def test_a_flush_waits_no_longer_than_its_time(watching: Watching, redis_server: Redis) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.freeze()
    draft.add("!")
    began = time.monotonic()
    await draft.flush()
    assert time.monotonic() - began < 0.3 * PATIENCE
    redis_server.thaw()


async def test_a_flush_does_not_wait_for_a_redis_that_is_away(watching: Watching, redis_server: Redis) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.kill()
    draft.add("!")
    await watching.until(lambda: watching.publisher.is_broken, "it is noticed")
    began = time.monotonic()
    await draft.flush()
    assert time.monotonic() - began < 0.1 * PATIENCE


async def test_what_was_closed_says_no_more(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    draft.add("!")
    draft.close()
    draft.add("?")
    await draft.flush()
    assert kept(redis, draft) == "Hello"
    assert draft not in watching.publisher.dirty


# --- text -------------------------------------------------------------------------------------------------------------


async def test_offsets_are_code_points_and_the_drafts_length_is_bytes(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    pieces = ["Größe: ", "🌍", "👩‍🚒", "𝔘𝔫𝔦", "日本語", "e\u0301", "."]
    for piece in pieces:
        draft.add(piece)
        await draft.flush()
    await watching.until(lambda: watching.shown() == "".join(pieces), "all of it, without a gap")
    assert [delta.offset for delta in watching.deltas] == [sum(map(len, pieces[:n])) for n in range(len(pieces))]
    assert kept(redis, draft) == "".join(pieces)
    assert draft.sent_bytes == len("".join(pieces).encode())


async def test_reasoning_has_a_draft_and_deltas_of_its_own(watching: Watching, redis: Any) -> None:
    answer, thought = watching.draft(), watching.draft(stream.REASONING)
    for piece in ("a", "b", "c"):
        answer.add(piece)
        thought.add(piece.upper())
        await answer.flush()
        await thought.flush()
    await watching.until(lambda: watching.shown(stream.REASONING) == "ABC", "the thought")
    assert (watching.shown(), kept(redis, answer), kept(redis, thought)) == ("abc", "abc", "ABC")


async def test_what_was_cleared_is_shown_from_the_start_again(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    draft.add("A first try")
    await draft.flush()
    draft.clear()
    await draft.flush()
    await watching.until(lambda: watching.texts()[-1] == "", "nothing is shown")
    assert kept(redis, draft) == ""
    draft.add("A second")
    await draft.flush()
    draft.add(" try")
    await draft.flush()
    await watching.until(lambda: watching.shown() == "A second try", "the second")
    assert kept(redis, draft) == "A second try"


async def test_what_was_cleared_while_it_was_on_its_way_does_not_come_back(
    watching: Watching, redis_server: Redis, redis: Any
) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.freeze()
    draft.add(" void")
    while draft.in_flight is None:
        await asyncio.sleep(0)
    draft.clear()
    draft.add("A much longer second answer")
    redis_server.thaw()
    await draft.flush()
    draft.add(".")
    await draft.flush()
    await watching.until(lambda: watching.shown() == "A much longer second answer.", "only the second")
    assert kept(redis, draft) == "A much longer second answer."


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_a_worker_that_lost_its_claim_learns_it_by_its_next_delta(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    stream.raise_fence(watching.run.session_id, watching.run.pk, 2, [draft.message_id])
    await asyncio.to_thread(told)
    draft.add(" late")
    await watching.until(lambda: watching.fenced, "it is told")
    draft.add(" and later")
    await draft.flush()
    assert (watching.texts(), kept(redis, draft)) == (["Hello"], None)


async def test_what_is_held_goes_out_afterwards_in_order(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    taken = await asyncio.to_thread(stream.take, watching.run.session_id, watching.run.pk, [draft.message_id], 80)
    assert taken == {draft.message_id: "Hello"}
    for piece in (",", " ", "world"):
        draft.add(piece)
        await asyncio.sleep(0.01)
    assert watching.texts() == ["Hello"]
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")
    assert (watching.fenced, kept(redis, draft)) == (0, "Hello, world")


# --- forgotten --------------------------------------------------------------------------------------------------------


async def test_a_redis_that_was_emptied_gets_all_of_it_again(watching: Watching, redis: Any) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
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
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    await writing(runs.cancel_run, talk.ada, watching.run.pk)
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
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis.delete(stream.draft_key(watching.run.session_id, draft.message_id))
    draft.add("!")
    await watching.until(lambda: watching.texts() == ["Hello", "Hello!"], "all of it")
    assert kept(redis, draft) == "Hello!"


async def test_a_script_that_was_forgotten_is_loaded_again(watching: Watching, redis: Any, settings: Any) -> None:
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
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
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
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
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.kill()
    await writing(runs.cancel_run, talk.ada, watching.run.pk)
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
    from django.db import OperationalError

    tried: list[int] = []

    def fail(run: Run, text: str) -> None:
        tried.append(1)
        raise OperationalError("no database")

    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.02)
    monkeypatch.setattr(attempts, "keep_checkpoint", fail)
    draft = watching.draft()
    draft.add("Hello")
    await draft.flush()
    redis_server.kill()
    draft.add("!")
    await watching.until(lambda: tried, "it is tried")
    redis_server.start()
    monkeypatch.undo()
    await watching.until(lambda: kept(redis, draft) == "Hello!", "and goes on when one is back")
    assert watching.fenced == 0
