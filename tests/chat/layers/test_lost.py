"""What the channel layer says when something was lost, and how it comes back; of one Redis and of several."""

import asyncio
import errno
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from chat import layers
from chat.layers import ChatChannelLayer
from tests.chat.layers.hearing import Heard, group, hears, shard, subscribers, until
from tests.servers import Redis


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
    assert shard(layer, name)._connection is before, "long before"
    await until(lambda: shard(layer, name)._connection is not before, "it is given up")
    redis_server.thaw()
    await until(lambda: heard.gaps, "the gap is told")
    await hears(layer, name, heard)
    await until(lambda: layer.is_healthy(name), "it is healthy again")


async def test_a_redis_that_takes_connections_and_never_says_a_word_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else would end it: what listens has no time-out for reading."""
    monkeypatch.setattr(layers, "CONNECT_S", 0.1)
    monkeypatch.setattr(layers, "CONFIRM_S", 0.1)
    came: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: came.append(writer), "127.0.0.1", 0)
    layer = ChatChannelLayer(hosts=[f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0"])
    try:
        assert not await layer.listen(group(), Heard())
        await until(lambda: len(came) > 1, "another connection is tried")
    finally:
        await layer.flush()
        silent.close()
        for writer in came:
            writer.close()


async def test_a_connection_without_traffic_stays(layer: ChatChannelLayer, swift: None) -> None:
    name, heard = group(), Heard()
    await layer.listen(name, heard)
    before = shard(layer, name)._connection
    await asyncio.sleep(1.5 * layers.LOST_S)
    assert shard(layer, name)._connection is before
    assert layer.is_healthy(name) and heard.gaps == 0


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
