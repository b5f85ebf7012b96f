"""Limits over all processes, counted in Redis; and a bound that holds while Redis is away."""

import time
from typing import Any
from uuid import uuid4

import pytest

from chat import limits
from chat.errors import RateLimited, TooManyConnections
from chat.outbox import outbox
from tests.inside import told
from tests.servers import Redis


@pytest.fixture(autouse=True)
def clean(redis: Any, settings: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 3
    settings.CHAT_SOCKETS_PER_USER = 2


def another_process() -> None:
    """Forget what this process counted by itself, as one that was just started."""
    limits._windows.clear()
    limits._sockets.clear()


async def spend(user: str = "ada", session: str = "s") -> limits.Spent | None:
    return await limits.spend_message(user, session, uuid4().hex)


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_so_many_messages_and_no_more_and_it_says_how_long_to_wait() -> None:
    for _ in range(3):
        await spend()
    with pytest.raises(RateLimited) as refused:
        await spend()
    assert 9 < (refused.value.retry_after_s or 0) <= 10
    assert refused.value.temporary


async def test_the_count_holds_over_all_processes() -> None:
    for _ in range(3):
        await spend()
        another_process()
    with pytest.raises(RateLimited):
        await spend()


async def test_each_user_and_each_session_is_counted_by_itself() -> None:
    for _ in range(3):
        await spend()
    await spend("ben")
    await spend("ada", "another session")


async def test_the_window_moves(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WINDOW_S", 0.05)
    for _ in range(3):
        await spend()
    with pytest.raises(RateLimited) as refused:
        await spend()
    assert 0 < (refused.value.retry_after_s or 0) <= 0.05
    while redis.exists("chat:sent:ada:s"):
        pass
    await spend()


async def test_a_token_that_was_given_back_can_be_spent_again() -> None:
    tokens = [await spend() for _ in range(3)]
    await limits.giving_back(tokens[1])
    await spend()
    with pytest.raises(RateLimited):
        await spend()


async def test_to_give_nothing_back_is_fine() -> None:
    await limits.giving_back(None)


async def test_no_limit_is_none(settings: Any, redis: Any) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    assert [await spend() for _ in range(20)] == [None] * 20
    assert not redis.keys("*")


async def test_without_redis_each_process_bounds_by_itself(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WINDOW_S", 60.0)
    redis_server.kill()
    tokens = [await spend() for _ in range(3)]
    with pytest.raises(RateLimited) as refused:
        await spend()
    assert 50 < (refused.value.retry_after_s or 0) <= 60
    await limits.giving_back(tokens[0])
    await spend()


async def test_without_redis_the_window_moves_too(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    redis_server.kill()
    await spend()
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    outbox._broken_until[0] = 1e9
    limits._windows.clear()
    for _ in range(3):
        await spend()
    now += 9.9
    with pytest.raises(RateLimited):
        await spend()
    now += 0.2
    await spend()


def test_the_local_count_is_bounded_however_many_come(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.pause()
    for number in range(10_050):
        limits._spend_here(f"key {number}", 3, "t", 60.0)
    assert len(limits._windows) <= 10_001


async def test_redis_counts_again_when_it_is_back(redis_server: Redis) -> None:
    redis_server.kill()
    await spend()
    redis_server.start()
    outbox.recover()
    await spend()
    assert redis_server.client().zcard("chat:sent:ada:s") == 1


# --- sockets ----------------------------------------------------------------------------------------------------------


def test_so_many_sockets_over_all_processes_and_one_more_when_one_is_gone() -> None:
    limits.hold_socket("ada", "1")
    another_process()
    limits.hold_socket("ada", "2")
    another_process()
    with pytest.raises(TooManyConnections):
        limits.hold_socket("ada", "3")
    limits.hold_socket("ben", "3")
    limits.release_socket("ada", "2")
    told()
    limits.hold_socket("ada", "3")


def test_a_socket_is_counted_once_however_often_it_says_that_it_lives() -> None:
    for _ in range(5):
        limits.hold_socket("ada", "1")
    limits.hold_socket("ada", "2")


def test_a_socket_whose_process_died_is_forgotten(monkeypatch: pytest.MonkeyPatch, redis: Any) -> None:
    monkeypatch.setattr(limits, "SOCKET_TTL_S", 1)
    limits.hold_socket("ada", "1")
    limits.hold_socket("ada", "2")
    another_process()
    # As if its second were over: no test waits for a clock.
    redis.zadd("chat:sockets:ada", {"1": 1.0})
    limits.hold_socket("ada", "3")


def test_of_users_whose_processes_all_died_nothing_is_kept(redis: Any) -> None:
    limits.hold_socket("ada", "1")
    assert 0 < redis.ttl("chat:sockets:ada") <= limits.SOCKET_TTL_S


def test_without_redis_each_process_bounds_its_own_sockets(redis_server: Redis) -> None:
    redis_server.kill()
    limits.hold_socket("ada", "1")
    limits.hold_socket("ada", "2")
    with pytest.raises(TooManyConnections):
        limits.hold_socket("ada", "3")
    limits.release_socket("ada", "1")
    limits.hold_socket("ada", "3")


def test_what_redis_refuses_is_not_counted_here(redis: Any) -> None:
    limits.hold_socket("ada", "1")
    limits.hold_socket("ada", "2")
    another_process()
    for _ in range(3):
        with pytest.raises(TooManyConnections):
            limits.hold_socket("ada", "3")
    assert not limits._sockets


def test_a_socket_that_was_let_go_is_not_counted_again_by_a_slower_thread(redis: Any) -> None:
    limits.hold_socket("ada", "1")
    limits.keep_sockets([("ada", "1")])
    limits.release_socket("ada", "1")
    limits.keep_sockets([("ada", "1")])
    told()
    assert not limits._sockets and not redis.exists("chat:sockets:ada")


def test_a_socket_that_is_open_stays_counted_though_redis_has_let_in_others_meanwhile(redis: Any) -> None:
    for number in ("1", "2"):
        limits.hold_socket("ada", number)
    redis.flushall()
    redis.zadd("chat:sockets:ada", {"of another process": time.time() + 60, "and one more": time.time() + 60})
    limits.keep_sockets([("ada", "1"), ("ada", "2")])
    assert limits._sockets == {"chat:sockets:ada": {"1", "2"}}, "or each such moment would let in as many again"
    assert redis.zcard("chat:sockets:ada") == 4
    with pytest.raises(TooManyConnections):
        limits.hold_socket("ada", "3")


def test_many_sockets_say_that_they_live_in_one_call(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = [(f"user {number}", f"socket {number}") for number in range(300)]
    for one in everybody:
        limits.hold_socket(*one)
    redis.flushall()
    calls: list[object] = []
    ask = limits._ask

    def counted(*args: Any) -> int | None:
        calls.append(args)
        return ask(*args)

    monkeypatch.setattr(limits, "_ask", counted)
    limits.keep_sockets(everybody)
    assert len(calls) == 1
    assert len(redis.keys("chat:sockets:*")) == 300
    assert redis.zrange("chat:sockets:user 7", 0, -1) == [b"socket 7"]
    assert 50 < redis.ttl("chat:sockets:user 7") <= 60


def test_a_socket_that_is_let_go_while_it_says_that_it_lives_is_counted_no_more(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits.hold_socket("ada", "1")
    ask = limits._ask

    def late(*args: Any) -> int | None:
        limits.release_socket("ada", "1")
        told()
        return ask(*args)

    monkeypatch.setattr(limits, "_ask", late)
    limits.keep_sockets([("ada", "1")])
    told()
    assert not redis.exists("chat:sockets:ada")
