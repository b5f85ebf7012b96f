"""Listeners of the channel layer, and what Redis itself knows of them."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import redis as redis_py

from chat.layers import ChatChannelLayer, Listener, Shard
from tests.processes import PATIENCE

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


def subscribers(redis: redis_py.Redis, name: str) -> int:
    return int(redis.pubsub_numsub(channel(name))[0][1])


def shard(layer: ChatChannelLayer, name: str) -> Shard:
    return layer._get_layer().shard_of(name)


async def hears(layer: ChatChannelLayer, name: str, *listeners: Heard) -> None:
    """Check that a message of now reaches listeners."""
    mark = {"type": "mark", "mark": uuid4().hex}
    await layer.group_send(name, mark)
    await until(lambda: all(mark in one.messages for one in listeners), "a message of now is heard")
