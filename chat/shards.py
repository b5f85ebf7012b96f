"""The Redis servers: which of them has what of a group, and clients that threads ask them with.

What a session has in Redis lives on one of them, by a hash of its live group; an event loop asks through the layer.
"""

from functools import cache

import redis
from channels.layers import get_channel_layer
from channels_redis.utils import _consistent_hash
from django.conf import settings
from redis import asyncio as aioredis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat.layers import ChatChannelLayer

BREAK_S = 1.0  # how long a shard is left alone after it failed


def layer() -> ChatChannelLayer:
    found = get_channel_layer()
    assert isinstance(found, ChatChannelLayer)
    return found


def channel_of(group: str) -> str:
    """The Redis channel that the layer subscribes to for a group."""
    return f"{layer().prefix}__group__{group}"


def shard_of(group: str) -> int:
    """Keys and channel of a session live on one host: the delta script touches them together."""
    return int(_consistent_hash(channel_of(group), len(settings.CHAT_REDIS_SHARDS)))


def shard_of_broker() -> int:
    """Mostly the broker is one of the shards, and a doorbell travels with what is published; else it is one more."""
    shards: list[str] = settings.CHAT_REDIS_SHARDS
    return shards.index(settings.REDIS_URL) if settings.REDIS_URL in shards else len(shards)


def _url_of(shard: int) -> str:
    url: str = [*settings.CHAT_REDIS_SHARDS, settings.REDIS_URL][shard]
    return url


@cache
def client(shard: int) -> redis.Redis:
    """For threads. Small time-outs: the defaults would block for seconds when Redis is away."""
    return redis.Redis.from_url(
        _url_of(shard),
        socket_timeout=0.5,
        socket_connect_timeout=0.3,
        # Once more where a pooled connection had died, and not where Redis did not answer in time.
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        health_check_interval=15,
    )


def on_loop(shard: int) -> aioredis.Redis:
    """For the running event loop. Ask it under a `Patience`: it has none."""
    return layer().redis_of(shard)


@cache
def impatient(shard: int) -> redis.Redis:
    """For what somebody waits for: it answers at once or not at all."""
    return redis.Redis.from_url(
        _url_of(shard),
        socket_timeout=0.1,
        socket_connect_timeout=0.1,
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
    )
