"""The channel layer on a real Redis: what it promises while all is well, and what it says when something was lost."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_py

from chat import layers
from chat.layers import ChatChannelLayer, Listener, Shard
from tests.processes import PATIENCE
from tests.servers import Redis

WAIT_S = 10 * PATIENCE


class Heard(Listener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.gaps = 0
        super().__init__(self.messages.append, self._on_gap)

    def _on_gap(self) -> None:
        self.gaps += 1


async def until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


def group() -> str:
    return f"session.{uuid4()}"


def channel(name: str) -> str:
    return f"asgi__group__{name}"


@pytest.fixture
async def layer(redis_server: Redis) -> AsyncIterator[ChatChannelLayer]:
    made = ChatChannelLayer(hosts=[redis_server.url])
    yield made
    await made.flush()


@pytest.fixture
def redis(redis_server: Redis) -> Iterator[redis_py.Redis]:
    """A client of the tests' own: what it sees is not what the layer believes."""
    client = redis_server.client()
    yield client
    client.close()


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that is missed sooner."""
    monkeypatch.setattr(layers, "BEAT_S", 0.05)
    monkeypatch.setattr(layers, "UNHEARD_S", 0.25)
    monkeypatch.setattr(layers, "LOST_S", 0.6)


def subscribers(redis: redis_py.Redis, name: str) -> int:
    return int(redis.pubsub_numsub(channel(name))[0][1])


def shard(layer: ChatChannelLayer, name: str) -> Shard:
    return layer._get_layer().shard_of(name)


async def hears(layer: ChatChannelLayer, name: str, *listeners: Heard) -> None:
    """Check that a message of now reaches listeners."""
    mark = {"type": "mark", "mark": uuid4().hex}
    await layer.group_send(name, mark)
    await until(lambda: all(mark in one.messages for one in listeners), "a message of now is heard")


# --- while all is well ------------------------------------------------------------------------------------------------


async def test_all_listeners_of_a_group_share_one_subscription_and_one_decoded_message(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, ada, ben = group(), Heard(), Heard()
    assert await layer.listen(name, ada)
    assert await layer.listen(name, ben)
    assert subscribers(redis, name) == 1
    assert redis.publish(channel(name), layer.serialize({"type": "event", "frame": [1]})) == 1
    await until(lambda: ada.messages and ben.messages, "both hear it")
    assert ada.messages == [{"type": "event", "frame": [1]}]
    assert ada.messages[0] is ben.messages[0]
    assert ada.gaps == ben.gaps == 0


async def test_listening_returns_when_redis_has_confirmed_it_and_not_before(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    for _ in range(30):
        name, heard = group(), Heard()
        assert await layer.listen(name, heard)
        assert redis.publish(channel(name), layer.serialize({"type": "at once"})) == 1
        assert layer.is_healthy(name)


async def test_two_who_listen_at_the_same_moment_are_both_confirmed_and_ask_once(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, ada, ben = group(), Heard(), Heard()
    assert await asyncio.gather(layer.listen(name, ada), layer.listen(name, ben)) == [True, True]
    await hears(layer, name, ada, ben)
    assert (ada.gaps, ben.gaps) == (0, 0)  # a second SUBSCRIBE would have been confirmed twice


async def test_order_is_kept_and_nothing_is_doubled(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    pipe = redis.pipeline(transaction=False)
    for number in range(2000):
        pipe.publish(channel(name), layer.serialize({"type": "event", "number": number}))
    pipe.execute()
    await until(lambda: len(heard.messages) >= 2000, "all arrive")
    assert [message["number"] for message in heard.messages] == list(range(2000))


async def test_who_leaves_leaves_nothing_behind(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, ada, ben = group(), Heard(), Heard()
    await layer.listen(name, ada)
    await layer.listen(name, ben)
    await layer.unlisten(name, ada)
    await hears(layer, name, ben)
    assert ada.messages == []
    await layer.unlisten(name, ben)
    await until(lambda: subscribers(redis, name) == 0, "the subscription is gone")
    mine = shard(layer, name)
    assert (mine._wanted, mine._confirmed, mine._waiting) == (set(), set(), {})
    assert layer._get_layer()._listeners == {}
    assert not layer.is_healthy(name)
    await layer.unlisten(name, ben)  # twice is no mistake


async def test_who_is_cancelled_while_listening_leaves_nothing_behind_either(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, heard = group(), Heard()
    asking = asyncio.ensure_future(layer.listen(name, heard))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    await layer.unlisten(name, heard)
    other = Heard()
    await layer.listen(group(), other)  # by now the first request has been answered
    assert subscribers(redis, name) == 0
    assert name not in str(shard(layer, name)._wanted)


async def test_one_who_comes_while_the_last_one_leaves_is_not_left_deaf(layer: ChatChannelLayer) -> None:
    for _ in range(20):
        name, old, new = group(), Heard(), Heard()
        await layer.listen(name, old)
        leaving = asyncio.ensure_future(layer.unlisten(name, old))
        for _ in range(3):
            await asyncio.sleep(0)
        assert await layer.listen(name, new)
        await leaving
        await hears(layer, name, new)


async def test_flushed_it_can_be_used_again(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    await layer.flush()
    await until(lambda: subscribers(redis, name) == 0, "the connection is closed")
    assert await layer.listen(name, heard)
    await hears(layer, name, heard)


async def test_garbage_on_a_channel_and_a_listener_that_fails_do_no_harm(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, good = group(), Heard()

    def fail(message: dict[str, Any]) -> None:
        raise KeyError(message["type"])

    await layer.listen(name, Listener(fail, lambda: None))
    await layer.listen(name, good)
    for garbage in (b"", b"\xc1\xff\x00", b"not msgpack at all", b"\x93\x01", b"x" * 100_000):
        redis.publish(channel(name), garbage)
    redis.publish(shard(layer, name)._heart, b"\xc1")
    await hears(layer, name, good)
    assert good.gaps == 0 and layer.is_healthy(name)


# --- what is lost is told ---------------------------------------------------------------------------------------------


async def test_a_connection_that_redis_kills_is_a_gap_for_every_listener(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    one, other = group(), group()
    listeners = [Heard(), Heard(), Heard()]
    for name, listener in zip((one, one, other), listeners, strict=True):
        await layer.listen(name, listener)
    for times in (1, 2):
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: [listener.gaps for listener in listeners] == [times] * 3, "everyone is told of the gap")  # noqa: B023
        await hears(layer, one, *listeners[:2])
        await hears(layer, other, listeners[2])
        assert subscribers(redis, one) == subscribers(redis, other) == 1


async def test_a_redis_that_dies_and_comes_back_is_a_gap_and_then_heard_again(
    layer: ChatChannelLayer, redis_server: Redis
) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    redis_server.kill()
    await until(lambda: not layer.is_healthy(name), "its end is noticed")
    began = time.monotonic()
    late = Heard()
    assert not await layer.listen(name, late)
    assert time.monotonic() - began < layers.CONFIRM_S / 2, "nobody waits for one that is known to be away"
    redis_server.start()
    await until(lambda: heard.gaps and late.gaps, "both are told of the gap")
    assert layer.is_healthy(name)
    await hears(layer, name, heard, late)
    assert (heard.gaps, late.gaps) == (1, 1)


async def test_a_redis_that_is_away_from_the_start_is_found_when_it_comes(tmp_path: Path) -> None:
    server, name, heard = Redis(tmp_path), group(), Heard()
    layer = ChatChannelLayer(hosts=[server.url])
    try:
        assert not await layer.listen(name, heard)
        assert not layer.is_healthy(name)
        server.start()
        await until(lambda: heard.gaps == 1, "the first confirmation ends a gap")
        await hears(layer, name, heard)
    finally:
        await layer.flush()
        server.end()


async def test_a_confirmation_that_comes_too_late_is_a_gap(
    layer: ChatChannelLayer, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, name, heard = group(), group(), Heard()
    await layer.listen(known, Heard())
    monkeypatch.setattr(layers, "CONFIRM_S", 0.1)
    redis_server.freeze()
    assert not await layer.listen(name, heard)
    assert heard.gaps == 0
    redis_server.thaw()
    await until(lambda: heard.gaps == 1, "the late confirmation is told")
    await hears(layer, name, heard)
    assert heard.gaps == 1


async def test_a_socket_that_died_of_a_time_out_does_not_stop_the_loop(layer: ChatChannelLayer) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    reader: Any = shard(layer, name)._connection._reader  # type: ignore[union-attr]
    # What the kernel says after a silent partition: the built-in TimeoutError, which redis-py takes for its own.
    reader.set_exception(OSError(errno.ETIMEDOUT, "Connection timed out"))
    ticks = 0
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5
    await until(lambda: heard.gaps == 1, "the lost connection is told")
    await hears(layer, name, heard)


async def test_a_connection_that_only_looks_alive_is_given_up(
    layer: ChatChannelLayer, redis_server: Redis, swift: None
) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    before = shard(layer, name)._connection
    redis_server.freeze()  # as a silent partition: no error, no end, no answer
    await until(lambda: not layer.is_healthy(name), "nobody calls it healthy")
    await until(lambda: shard(layer, name)._connection is not before, "it is given up")
    redis_server.thaw()
    await until(lambda: heard.gaps, "the gap is told")
    await hears(layer, name, heard)
    await until(lambda: layer.is_healthy(name), "it is healthy again")


async def test_a_connection_without_traffic_stays(layer: ChatChannelLayer, swift: None) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    before = shard(layer, name)._connection
    await asyncio.sleep(1.5 * layers.LOST_S)
    assert shard(layer, name)._connection is before
    assert layer.is_healthy(name) and heard.gaps == 0


# --- several Redis ----------------------------------------------------------------------------------------------------


async def test_each_group_lives_on_one_of_several_shards_and_the_others_do_not_care(
    redis_server: Redis, tmp_path: Path
) -> None:
    second = Redis(tmp_path)
    second.start()
    servers = [redis_server, second]
    layer = ChatChannelLayer(hosts=[server.url for server in servers])
    try:
        heard = {group(): Heard() for _ in range(12)}
        for name, listener in heard.items():
            assert await layer.listen(name, listener)
        homes = {name: [subscribers(server.client(), name) for server in servers] for name in heard}
        assert all(sum(home) == 1 for home in homes.values())
        assert {home.index(1) for home in homes.values()} == {0, 1}
        second.kill()
        there = [name for name, home in homes.items() if home[1]]
        await until(lambda: not any(layer.is_healthy(name) for name in there), "its groups are not healthy")
        for name, listener in heard.items():
            if name not in there:
                assert layer.is_healthy(name)
                await hears(layer, name, listener)
        second.start()
        await until(lambda: all(heard[name].gaps == 1 for name in there), "its groups are told of the gap")
        assert all(heard[name].gaps == 0 for name in heard if name not in there)
        for name, listener in heard.items():
            await hears(layer, name, listener)
    finally:
        await layer.flush()
        second.end()


# --- the stock interface ----------------------------------------------------------------------------------------------


async def test_the_stock_interface_still_works(layer: ChatChannelLayer, redis: redis_py.Redis) -> None:
    name, ada, ben = group(), await layer.new_channel(), await layer.new_channel()
    await layer.send(ada, {"type": "to.ada"})
    assert await asyncio.wait_for(layer.receive(ada), WAIT_S) == {"type": "to.ada"}
    for one in (ada, ben):
        await layer.group_add(name, one)
    await layer.group_send(name, {"type": "to.all"})
    for one in (ada, ben):
        assert await asyncio.wait_for(layer.receive(one), WAIT_S) == {"type": "to.all"}
    await layer.group_discard(name, ada)
    await layer.group_send(name, {"type": "to.ben"})
    assert await asyncio.wait_for(layer.receive(ben), WAIT_S) == {"type": "to.ben"}
    await layer.group_discard(name, ben)
    await until(lambda: subscribers(redis, name) == 0, "nobody is subscribed")


async def test_a_listener_and_a_stock_consumer_of_one_group_do_not_take_it_from_each_other(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name, heard, consumer = group(), Heard(), await layer.new_channel()
    await layer.group_add(name, consumer)
    await layer.listen(name, heard)
    await hears(layer, name, heard)
    assert (await asyncio.wait_for(layer.receive(consumer), WAIT_S))["type"] == "mark"
    await layer.unlisten(name, heard)
    await layer.group_send(name, {"type": "for.the.consumer"})
    assert await asyncio.wait_for(layer.receive(consumer), WAIT_S) == {"type": "for.the.consumer"}
    await layer.listen(name, heard)
    await layer.group_discard(name, consumer)
    await hears(layer, name, heard)
    assert subscribers(redis, name) == 1


async def test_a_consumer_that_is_cancelled_leaves_no_subscription(
    layer: ChatChannelLayer, redis: redis_py.Redis
) -> None:
    name = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(name))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait({receiving})
    await until(lambda: redis.pubsub_numsub(name)[0][1] == 0, "its channel is gone")
