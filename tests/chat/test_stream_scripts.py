"""The scripts in Redis, code by code."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from chat import stream
from chat.outbox import outbox
from tests.processes import PATIENCE, eventually
from tests.servers import Redis

SESSION, RUN, MESSAGE = uuid4(), uuid4(), uuid4()
FENCE, DRAFT = stream.fence_key(SESSION, RUN), stream.draft_key(SESSION, MESSAGE)
CHANNEL = "test-channel"
DONE, FENCED, BEHIND, HELD, UNFENCED = 1, -1, -2, -3, -4


def append(redis: Any, text: str, *, attempt: int = 1, size: int = 0, full: bool = False, ttl_ms: int = 60_000) -> int:
    code = redis.eval(
        stream.APPEND, 2, FENCE, DRAFT, attempt, size, "1" if full else "0", text.encode(), CHANNEL, b"frame", ttl_ms
    )
    return int(code)


def raise_fence(redis: Any, attempt: int, *, clear: bool = True) -> None:
    redis.eval(stream.RAISE, 1, FENCE, attempt, 60_000, "1" if clear else "0")


@pytest.fixture
def heard(redis: Any) -> Iterator[Any]:
    """What is published on the test's channel: a call gives the messages since the last one."""
    listening = redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(CHANNEL)
    listening.get_message(timeout=5)

    def hear() -> list[bytes]:
        redis.publish(CHANNEL, b"end")
        messages = []
        while (message := listening.get_message(timeout=5)) is None or message["data"] != b"end":
            if message is not None:
                messages.append(message["data"])
        return messages

    yield hear
    listening.close()


# --- a delta ----------------------------------------------------------------------------------------------------------


def test_a_delta_is_kept_and_told_in_one_step(redis: Any, heard: Any) -> None:
    raise_fence(redis, 1)
    assert append(redis, "Hel", full=True) == DONE
    assert append(redis, "lo", size=3) == DONE
    assert redis.get(DRAFT) == b"Hello"
    assert heard() == [b"frame", b"frame"]


def test_a_delta_of_an_older_attempt_is_refused_and_nobody_hears_it(redis: Any, heard: Any) -> None:
    raise_fence(redis, 2)
    assert append(redis, "late", attempt=1, full=True) == FENCED
    assert append(redis, "late", attempt=1) == FENCED
    assert not redis.exists(DRAFT)
    assert heard() == []


def test_a_delta_of_a_newer_attempt_raises_the_fence(redis: Any) -> None:
    raise_fence(redis, 1)
    assert append(redis, "new", attempt=2, full=True) == DONE
    assert append(redis, "late", attempt=1, full=True) == FENCED
    assert redis.get(DRAFT) == b"new"


def test_without_a_fence_every_delta_is_refused(redis: Any, heard: Any) -> None:
    """Redis was emptied: it no longer knows who may write, so the row has to be asked."""
    assert append(redis, "text", full=True) == UNFENCED
    assert append(redis, "text") == UNFENCED
    assert not redis.exists(FENCE, DRAFT)
    assert heard() == []


def test_a_draft_of_another_length_than_the_worker_thinks_is_sent_in_full(redis: Any, heard: Any) -> None:
    raise_fence(redis, 1)
    assert append(redis, "lo", size=3) == BEHIND, "the draft was forgotten"
    assert append(redis, "Hello", full=True) == DONE
    assert append(redis, "lo", size=3) == BEHIND, "an earlier call did run although its reply was lost"
    assert redis.get(DRAFT) == b"Hello"
    assert heard() == [b"frame"]


def test_the_length_is_that_of_the_bytes(redis: Any) -> None:
    raise_fence(redis, 1)
    text = "wörld 🌍 𝔘𝔫𝔦"
    assert append(redis, text, full=True) == DONE
    assert append(redis, "!", size=len(text)) == BEHIND, "code points are for the wire"
    assert append(redis, "👩‍🚒", size=len(text.encode())) == DONE
    assert redis.get(DRAFT).decode() == text + "👩‍🚒"


def test_a_full_one_replaces_and_an_empty_one_clears(redis: Any, heard: Any) -> None:
    raise_fence(redis, 1)
    append(redis, "void", full=True)
    assert append(redis, "", full=True) == DONE
    assert redis.get(DRAFT) == b""
    assert append(redis, "anew", size=0) == DONE
    assert redis.get(DRAFT) == b"anew"
    assert heard() == [b"frame"] * 3


def test_what_is_held_waits_and_goes_on_afterwards(redis: Any, heard: Any) -> None:
    raise_fence(redis, 1)
    append(redis, "shown", full=True)
    assert redis.eval(stream.TAKE, 2, FENCE, DRAFT, 40, 60_000) == [b"shown"]
    assert append(redis, "more", size=5) == HELD
    assert append(redis, "all", full=True) == HELD
    assert redis.get(DRAFT) == b"shown"
    eventually(lambda: append(redis, "more", size=5) == DONE, "the hold is over", 2)
    assert heard() == [b"frame"] * 2


def test_the_fence_is_looked_at_before_the_hold_and_the_hold_before_a_missing_fence(redis: Any) -> None:
    raise_fence(redis, 2)
    redis.eval(stream.TAKE, 1, FENCE, 2000, 60_000)
    assert append(redis, "late", attempt=1) == FENCED, "it need not wait to hear that it is over"
    redis.flushall()
    redis.eval(stream.TAKE, 1, FENCE, 2000, 60_000)
    assert append(redis, "text", full=True) == HELD, "the cancel that is under way will set the fence"


def test_a_draft_and_its_fence_go_when_nobody_writes_for_long(redis: Any) -> None:
    raise_fence(redis, 1)
    append(redis, "text", full=True, ttl_ms=50_000)
    for key in (FENCE, DRAFT):
        assert 49_000 < redis.pttl(key) <= 50_000


# --- the fence and the hold -------------------------------------------------------------------------------------------


def test_a_fence_rises_and_never_falls(redis: Any) -> None:
    for attempt in (2, 1, 3, 2):
        raise_fence(redis, attempt)
    assert redis.hget(FENCE, "a") == b"3"


def test_the_fence_of_a_run_that_shows_nothing_goes_too(redis: Any) -> None:
    raise_fence(redis, 1)
    assert 59_000 < redis.pttl(FENCE) <= 60_000


def test_a_new_attempt_is_not_held_by_the_cancel_of_the_last_one_unless_it_says_so(redis: Any) -> None:
    redis.eval(stream.TAKE, 1, FENCE, 2000, 60_000)
    raise_fence(redis, 2, clear=False)
    assert append(redis, "text", attempt=2, full=True) == HELD
    raise_fence(redis, 2)
    assert append(redis, "text", attempt=2, full=True) == DONE


def test_what_is_taken_are_the_drafts_as_they_were_shown(redis: Any) -> None:
    other, unknown = str(uuid4()), str(uuid4())
    redis.set(DRAFT, "Hello 🌍".encode())
    redis.set(stream.draft_key(SESSION, other), b"")
    taken = stream.take(SESSION, RUN, [unknown, str(MESSAGE), other])
    assert taken == {str(MESSAGE): "Hello 🌍", other: ""}
    assert append(redis, "more", size=10) == HELD


def test_without_redis_nothing_is_taken_and_nobody_waits_for_it(redis: Any, redis_server: Redis) -> None:
    redis_server.freeze()
    began = time.monotonic()
    assert stream.take(SESSION, RUN, [str(MESSAGE)]) is None
    assert time.monotonic() - began < 0.2 * PATIENCE
    assert outbox.is_broken
    began = time.monotonic()
    assert stream.take(SESSION, RUN, [str(MESSAGE)]) is None
    assert time.monotonic() - began < 0.02 * PATIENCE, "it is left alone for a moment"
    redis_server.thaw()


def test_a_pooled_connection_that_died_is_not_taken_for_a_dead_redis(redis: Any) -> None:
    stream.take(SESSION, RUN, [str(MESSAGE)])
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert stream.take(SESSION, RUN, [str(MESSAGE)]) == {}
    assert not outbox.is_broken
