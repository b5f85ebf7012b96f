"""The scripts in Redis, code by code, and the outbox that no commit waits for."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from chat import jobs, stream
from chat.protocol import Delta, Frame
from tests.inside import WAIT_S, rung, told
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
    assert stream.outbox.is_broken
    began = time.monotonic()
    assert stream.take(SESSION, RUN, [str(MESSAGE)]) is None
    assert time.monotonic() - began < 0.02 * PATIENCE, "it is left alone for a moment"
    redis_server.thaw()


def test_a_pooled_connection_that_died_is_not_taken_for_a_dead_redis(redis: Any) -> None:
    stream.take(SESSION, RUN, [str(MESSAGE)])
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert stream.take(SESSION, RUN, [str(MESSAGE)]) == {}
    assert not stream.outbox.is_broken


def test_keys_and_channel_of_a_session_live_on_one_shard(settings: Any) -> None:
    settings.CHAT_REDIS_SHARDS = ["redis://a", "redis://b", "redis://c"]
    shards = {stream.shard_of(stream.session_group(uuid4())) for _ in range(50)}
    assert shards == {0, 1, 2}, "sessions are spread"


# --- the outbox -------------------------------------------------------------------------------------------------------


def frame(seq: int) -> Frame:
    from datetime import UTC, datetime

    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"title": "Größe 🌍"}
    session_id = str(SESSION)
    return Frame.make(
        type="session.updated", session_id=session_id, run_id=None, seq=seq, at=at, author_id=None, data=row
    )


@pytest.fixture
def live(redis: Any) -> Iterator[Any]:
    """What the session's live group hears, decoded: a call waits for the next message."""
    listening = redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(stream.channel_of(stream.session_group(SESSION)))
    listening.get_message(timeout=5)

    def hear(timeout_s: float = 5) -> Any:
        message = listening.get_message(timeout=timeout_s)
        return None if message is None else stream.layer().deserialize(message["data"])

    yield hear
    listening.close()


def test_frames_arrive_as_they_were_made(live: Any) -> None:
    stream.publish(SESSION, [frame(1), frame(2)])
    assert [Frame.unpack(live()["frame"]) for _ in range(2)] == [frame(1), frame(2)]


def test_a_delta_arrives_as_it_was_made(redis: Any, live: Any) -> None:
    delta = Delta(stream.MESSAGE, str(SESSION), str(RUN), str(MESSAGE), 1, 0, "Hello 🌍", {"role": "assistant"})
    redis.publish(stream.channel_of(stream.session_group(SESSION)), stream.delta_message(delta))
    assert Delta.unpack(live()["delta"]) == delta


def test_what_was_put_first_arrives_first_from_however_many_threads(live: Any) -> None:
    lock, order = threading.Lock(), []

    def put(number: int) -> None:
        for index in range(50):
            with lock:
                stream.publish_live(SESSION, f"{number}.{index}", "")
                order.append(f"{number}.{index}")

    workers = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [live()["text"] for _ in range(200)] == order


def test_a_fence_that_is_raised_forgets_the_drafts_of_both_kinds(redis: Any) -> None:
    for kind in stream.DELTAS:
        redis.set(stream.draft_key(SESSION, MESSAGE, kind), "so far")
    redis.hset(FENCE, "h", 10**15)
    stream.raise_fence(SESSION, RUN, 3, [str(MESSAGE)])
    told()
    assert not redis.keys("chat:draft:*")
    assert redis.hgetall(FENCE) == {b"a": b"3"}


def test_a_doorbell_is_a_message_with_an_id_and_nothing_else(redis: Any) -> None:
    run_id = uuid4()
    jobs.run_agent(run_id)
    told()
    message = json.loads(redis.lindex("runs", 0))
    assert message["headers"]["task"] == "run_agent"
    assert rung(redis) == [run_id]
    jobs.summarise_session(SESSION)
    told()
    assert json.loads(redis.lindex("jobs", 0))["headers"]["task"] == "summarise_session"


def test_nothing_is_sent_while_redis_is_left_alone(redis: Any, live: Any) -> None:
    stream.outbox.pause()
    stream.publish(SESSION, [frame(1)])
    stream.raise_fence(SESSION, RUN, 3)
    jobs.run_agent(RUN)
    assert stream.outbox.flush(WAIT_S), "a flush does not wait for Redis"
    assert not redis.exists(FENCE, "runs")


def test_putting_never_waits_even_while_redis_hangs(redis: Any, redis_server: Redis) -> None:
    redis_server.freeze()
    took_s = []
    for number in range(50):
        began = time.monotonic()
        stream.publish(SESSION, [frame(number)])
        jobs.run_agent(RUN)
        took_s.append(time.monotonic() - began)
    redis_server.thaw()
    assert max(took_s) < 0.1 * PATIENCE


def test_a_redis_that_is_away_costs_one_warning_a_second_and_not_one_a_message(
    redis: Any, redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.kill()
    with caplog.at_level(logging.WARNING, "chat.stream"):
        for number in range(20):
            stream.publish(SESSION, [frame(number)])
            told()
    assert len(caplog.records) <= 2


def test_the_outbox_goes_on_when_redis_is_back_and_tells_whoever_missed_something(
    redis: Any, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BREAK_S", 0.05)
    redis_server.kill()
    stream.publish(SESSION, [frame(1)])
    told()
    stream.outbox._broken_until = time.monotonic() + 3600  # until somebody listens
    redis_server.start()
    listening = redis_server.client().pubsub(ignore_subscribe_messages=True)
    listening.subscribe(stream.channel_of(stream.session_group(SESSION)))
    listening.get_message(timeout=5)

    stream.outbox._broken_until = 0.0

    def heard() -> list[str]:
        message = listening.get_message(timeout=0.1)
        return [] if message is None else [stream.layer().deserialize(message["data"])["type"]]

    assert eventually(heard, "somebody says that there is something to look for", 5) == ["look"]
    stream.publish(SESSION, [frame(2)])
    assert eventually(heard, "the next frame arrives", 5) == ["event"]
    listening.close()


def test_what_cannot_be_sent_does_not_end_the_outbox(redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(pipe: Any) -> None:
        raise RuntimeError("a bug")

    stream.outbox.put(stream.session_group(SESSION), fail)
    stream.outbox.put(None, fail)
    told()
    stream.outbox._broken_until = 0.0
    stream.raise_fence(SESSION, RUN, 1)
    told()
    assert redis.hget(FENCE, "a") == b"1"


def test_what_waits_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "OUTBOX_MAX", 5)
    outbox = stream.Outbox()
    outbox._thread = threading.current_thread()  # nobody takes anything out
    seen: list[int] = []
    for number in range(12):
        outbox.put(None, lambda _, number=number: seen.append(number))
    assert len(outbox._items) == 5
    outbox._send(list(outbox._items))
    assert seen == [7, 8, 9, 10, 11]
