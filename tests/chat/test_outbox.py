"""The outbox that no commit waits for."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import pytest
from celery import current_app

from chat import database, jobs, metrics, shards, stream
from chat.outbox import BROKER, Outbox, outbox
from tests.chat.published import RUN, SESSION, frame, heard
from tests.inside import WAIT_S, told
from tests.processes import PATIENCE, eventually
from tests.servers import Redis


@pytest.fixture(params=["thread", "loop"], autouse=True)
def acting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Both senders: a thread, and a loop that actions run on. Called, it ends the loop as the end of a process does."""
    monkeypatch.setattr(database, "_acting", database._Acting())
    if request.param == "thread":
        yield lambda: None
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    database._acting.loop, database._acting.thread = ref(loop), thread.ident or 0
    eventually(loop.is_running, "the loop runs")

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def end() -> None:
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(cancel(), loop).result(WAIT_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    yield end
    end()


only_a_thread = pytest.mark.parametrize("acting", ["thread"], indirect=True)
only_a_loop = pytest.mark.parametrize("acting", ["loop"], indirect=True)


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


@only_a_loop
def test_where_actions_run_on_a_loop_it_sends_and_no_thread_is_begun(redis: Any) -> None:
    mine, by = Outbox(), []
    mine.put(None, lambda _: by.append(threading.get_ident()))
    assert mine.flush(WAIT_S)
    assert by == [database._acting.thread] and mine._thread is None


@only_a_loop
def test_when_the_loop_has_ended_a_thread_takes_over_and_tells_whoever_missed_something(
    redis: Any, redis_server: Redis, live: Any, acting: Callable[[], None]
) -> None:
    redis_server.freeze()
    stream.publish(SESSION, [frame(1)])
    eventually(lambda: not outbox._items, "it is on its way")
    acting()
    assert outbox._missed == {stream.session_group(SESSION)}
    redis_server.thaw()
    stream.publish(SESSION, [frame(2)])
    eventually(lambda: (live(0.1) or {}).get("type") == "look", "whoever missed something is told", 5)


@only_a_thread
def test_what_waits_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.outbox.OUTBOX_MAX", 5)
    outbox = Outbox()
    outbox._thread = threading.current_thread()  # nobody takes anything out
    seen: list[int] = []
    for number in range(12):
        outbox.put(None, lambda _, number=number: seen.append(number))
    assert len(outbox._items) == 5
    outbox._send()
    assert seen == [7, 8, 9, 10, 11]


@only_a_thread
def test_whoever_lost_a_frame_because_too_much_waited_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.outbox.OUTBOX_MAX", 2)
    outbox = Outbox()
    outbox._thread = threading.current_thread()
    before = metrics.OUTBOX_DROPPED.n
    for group in ("session.1", BROKER, "session.2", "session.3"):
        outbox.put(group, lambda _: None)
    assert outbox._missed == {"session.1"}
    assert metrics.OUTBOX_DROPPED.n == before + 2
