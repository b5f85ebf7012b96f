"""The outbox that no commit waits for."""

import logging
import socket
import threading
import time
from typing import Any

import pytest
from celery import current_app

from chat import jobs, metrics, shards, stream
from chat.outbox import BROKER, Outbox, outbox
from tests.chat.published import RUN, SESSION, frame, heard
from tests.inside import WAIT_S, told
from tests.processes import PATIENCE, eventually
from tests.servers import Redis


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


def test_a_broker_that_hangs_elsewhere_holds_up_no_frame(redis: Any, live: Any, settings: Any) -> None:
    assert current_app.conf.broker_url  # Celery reads its settings once: not while they name the silent one
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        took_s = []
        for number in range(4):
            jobs.run_agent(RUN)
            stream.publish(SESSION, [frame(number)])
            began = time.monotonic()
            assert live(), "the session's own shard is well"
            took_s.append(time.monotonic() - began)
        shards.client.cache_clear()
        shards.impatient.cache_clear()
    assert max(took_s) < 1.2 * PATIENCE
    assert sum(took_s[1:]) < 0.6 * PATIENCE, "once it did not answer, it is left alone"


def test_nothing_is_sent_while_redis_is_left_alone(redis: Any, live: Any) -> None:
    outbox.pause()
    stream.publish(SESSION, [frame(1)])
    stream.raise_fence(SESSION, RUN, 3)
    jobs.run_agent(RUN)
    assert outbox.flush(WAIT_S), "a flush does not wait for Redis"
    assert not redis.exists(stream.fence_key(SESSION, RUN), "runs")


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
    with caplog.at_level(logging.WARNING, "chat.outbox"):
        for number in range(20):
            stream.publish(SESSION, [frame(number)])
            told()
    assert 1 <= len(caplog.records) <= 2


def test_the_outbox_goes_on_when_redis_is_back_and_tells_whoever_missed_something(
    redis: Any, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BREAK_S", 0.05)
    redis_server.kill()
    stream.publish(SESSION, [frame(1)])
    told()
    outbox._broken_until[0] = time.monotonic() + 3600  # until somebody listens
    redis_server.start()
    with heard(redis_server.client(), stream.session_group(SESSION)) as hear:
        outbox.recover()
        message = eventually(lambda: hear(0.1), "somebody says that there is something to look for", 5)
        assert message["type"] == "look"
        stream.publish(SESSION, [frame(2)])
        assert eventually(lambda: hear(0.1), "the next frame arrives", 5)["type"] == "event"


def test_what_cannot_be_sent_does_not_end_the_outbox(redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(pipe: Any) -> None:
        raise RuntimeError("a bug")

    outbox.put(stream.session_group(SESSION), fail)
    outbox.put(None, fail)
    told()
    outbox.recover()
    stream.raise_fence(SESSION, RUN, 1)
    told()
    assert redis.hget(stream.fence_key(SESSION, RUN), "a") == b"1"


def test_what_waits_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.outbox.OUTBOX_MAX", 5)
    outbox = Outbox()
    outbox._thread = threading.current_thread()  # nobody takes anything out
    seen: list[int] = []
    for number in range(12):
        outbox.put(None, lambda _, number=number: seen.append(number))
    assert len(outbox._items) == 5
    outbox._send(list(outbox._items))
    assert seen == [7, 8, 9, 10, 11]


def test_whoever_lost_a_frame_because_too_much_waited_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.outbox.OUTBOX_MAX", 2)
    outbox = Outbox()
    outbox._thread = threading.current_thread()
    before = metrics.OUTBOX_DROPPED.n
    for group in ("session.1", BROKER, "session.2", "session.3"):
        outbox.put(group, lambda _: None)
    assert outbox._missed == {"session.1"}
    assert metrics.OUTBOX_DROPPED.n == before + 2
