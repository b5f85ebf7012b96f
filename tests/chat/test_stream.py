"""The outbox that no commit waits for."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app

from chat import jobs, metrics, stream
from chat.protocol import Delta, Frame
from tests.inside import WAIT_S, rung, told
from tests.processes import PATIENCE, eventually
from tests.servers import Redis

SESSION, RUN, MESSAGE = uuid4(), uuid4(), uuid4()
FENCE = stream.fence_key(SESSION, RUN)


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


def test_a_doorbell_is_a_message_with_ids_and_nothing_else(redis: Any) -> None:
    run_id = uuid4()
    jobs.run_agent(run_id, SESSION)
    told()
    message = json.loads(redis.lindex("runs", 0))
    assert message["headers"]["task"] == "run_agent"
    assert json.loads(base64.b64decode(message["body"]))[:2] == [[str(run_id), str(SESSION)], {}]
    assert rung(redis) == [run_id]
    jobs.summarise_session(SESSION)
    told()
    assert json.loads(redis.lindex("jobs", 0))["headers"]["task"] == "summarise_session"


def test_a_doorbell_is_what_celery_would_send(redis: Any) -> None:
    args = [str(RUN), str(SESSION)]
    jobs.run_agent(*args)
    told()
    current_app.send_task("run_agent", args=args, ignore_result=True)
    theirs, ours = (json.loads(one) for one in redis.lrange("runs", 0, -1))
    for message in (ours, theirs):
        assert message["headers"].pop("id") == message["headers"].pop("root_id")
        del message["headers"]["argsrepr"], message["headers"]["origin"]
        del message["properties"]["correlation_id"], message["properties"]["delivery_tag"]
    assert ours == theirs


def test_two_doorbells_are_two_messages(redis: Any) -> None:
    for _ in range(2):
        jobs.run_agent(RUN)
    told()
    one, other = (json.loads(message) for message in redis.lrange("runs", 0, -1))
    assert one["headers"]["id"] != other["headers"]["id"]
    assert one["properties"]["delivery_tag"] != other["properties"]["delivery_tag"]


def test_a_broker_that_hangs_elsewhere_holds_up_no_frame(
    redis: Any, live: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        took_s = []
        for number in range(4):
            jobs.run_agent(RUN)
            stream.publish(SESSION, [frame(number)])
            began = time.monotonic()
            assert live(), "the session's own shard is well"
            took_s.append(time.monotonic() - began)
        stream.client.cache_clear()
        stream.impatient.cache_clear()
    assert max(took_s) < 1.2 * PATIENCE
    assert sum(took_s[1:]) < 0.6 * PATIENCE, "once it did not answer, it is left alone"


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
    stream.outbox._broken_until[0] = time.monotonic() + 3600  # until somebody listens
    redis_server.start()
    listening = redis_server.client().pubsub(ignore_subscribe_messages=True)
    listening.subscribe(stream.channel_of(stream.session_group(SESSION)))
    listening.get_message(timeout=5)

    stream.outbox.recover()

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
    stream.outbox.recover()
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


def test_whoever_lost_a_frame_because_too_much_waited_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "OUTBOX_MAX", 2)
    outbox = stream.Outbox()
    outbox._thread = threading.current_thread()
    before = metrics.OUTBOX_DROPPED.n
    for group in ("session.1", stream.BROKER, "session.2", "session.3"):
        outbox.put(group, lambda _: None)
    assert outbox._missed == {"session.1"}
    assert metrics.OUTBOX_DROPPED.n == before + 2
