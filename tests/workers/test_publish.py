"""Drafts that grow in Redis: the first piece at once, the next ones joined, nothing of a lost claim."""

import asyncio
import time
from typing import Any

import pytest

from chat import stream
from tests.inside import WAIT_S, told
from tests.processes import PATIENCE
from tests.servers import Redis
from tests.workers.watching import NEVER_MS, Watching, kept
from workers import publish
from workers.publish import Draft


async def on_its_way(draft: Draft) -> None:
    """Wait until what is new of a draft was handed to a Redis that is frozen."""
    while draft.in_flight is None:
        await asyncio.sleep(0)
    for _ in range(5):  # the sending is a task of its own
        await asyncio.sleep(0)


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
    draft = await watching.begun("Hello")
    redis_server.freeze()
    draft.add(", world")
    await on_its_way(draft)
    flushing = asyncio.ensure_future(draft.flush())
    await asyncio.sleep(0.02)
    redis_server.thaw()
    await flushing
    await asyncio.sleep(0.02)
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")
    assert watching.texts() == ["Hello", ", world"], "no empty ones either"


async def test_a_flush_waits_no_longer_than_its_time(watching: Watching, redis_server: Redis) -> None:
    draft = await watching.begun("Hello")
    redis_server.freeze()
    draft.add("!")
    began = time.monotonic()
    await draft.flush()
    assert time.monotonic() - began < 0.3 * PATIENCE
    redis_server.thaw()


async def test_a_flush_does_not_wait_for_a_redis_that_is_away(watching: Watching, redis_server: Redis) -> None:
    draft = await watching.begun("Hello")
    redis_server.kill()
    draft.add("!")
    await watching.until(lambda: watching.publisher.is_broken, "it is noticed")
    began = time.monotonic()
    await draft.flush()
    assert time.monotonic() - began < 0.1 * PATIENCE


async def test_with_no_window_at_all_the_loop_does_not_spin_while_redis_takes_its_time(
    watching: Watching, redis_server: Redis, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_DELTA_WINDOW_MS = 0
    monkeypatch.setattr(publish, "SEND_S", WAIT_S)
    looks: list[float] = []
    send_all = watching.publisher._send_all

    def look() -> None:
        looks.append(time.monotonic())
        send_all()

    monkeypatch.setattr(watching.publisher, "_send_all", look)
    draft = await watching.begun("Hello")
    redis_server.freeze()
    draft.add(", ")
    await on_its_way(draft)
    draft.add("world")
    before = len(looks)
    await asyncio.sleep(0.1)
    redis_server.thaw()
    assert 0 < len(looks) - before <= 110 * PATIENCE
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")


async def test_what_was_closed_says_no_more(watching: Watching, redis: Any) -> None:
    draft = await watching.begun("Hello")
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
    draft = await watching.begun("A first try")
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
    draft = await watching.begun("Hello")
    redis_server.freeze()
    draft.add(" void")
    await on_its_way(draft)
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
    draft = await watching.begun("Hello")
    stream.raise_fence(watching.run.session_id, watching.run.pk, 2, [draft.message_id])
    await asyncio.to_thread(told)
    draft.add(" late")
    await watching.until(lambda: watching.fenced, "it is told")
    draft.add(" and later")
    await draft.flush()
    assert (watching.texts(), kept(redis, draft)) == (["Hello"], None)


async def test_what_is_held_goes_out_afterwards_in_order(watching: Watching, redis: Any) -> None:
    draft = await watching.begun("Hello")
    taken = await asyncio.to_thread(stream.take, watching.run.session_id, watching.run.pk, [draft.message_id], 80)
    assert taken == {draft.message_id: "Hello"}
    for piece in (",", " ", "world"):
        draft.add(piece)
        await asyncio.sleep(0.01)
    assert watching.texts() == ["Hello"]
    await watching.until(lambda: watching.shown() == "Hello, world", "all of it")
    assert (watching.fenced, kept(redis, draft)) == (0, "Hello, world")
