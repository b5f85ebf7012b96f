"""The channel layer: channels_redis' pub/sub, with one subscription a group and process, decoded once.

The stock layer copies each message into a queue for each consumer, where each decodes it again; it does not wait until
a subscription is confirmed, and it never says that it missed something. This one hands a decoded message to the
listeners of its group, waits for confirmations, notices a connection that only looks alive, comes back quickly, and
calls `on_gap` for every group that may have missed something.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import hiredis
from django.conf import settings
from redis import asyncio as aioredis
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from structlog.contextvars import clear_contextvars

from chat import metrics
from chat.patience import Patience
from chat.without import without

with without("cryptography.fernet"):  # 7 MB, to encrypt messages, which no setting here asks for
    from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
    from channels_redis.utils import _wrap_close, create_pool, decode_hosts

log = logging.getLogger(__name__)

CONFIRM_S = 1.0
CONNECT_S = 2.0
PUBLISH_S = 0.5
BACK_OFF_S = (0.05, 1.0)  # the first wait and the longest
BEAT_S = 1.0  # a connection that is silent for so long is asked for a sign of life,
UNHEARD_S = 3.0  # without one for so long it counts as unhealthy,
LOST_S = 10.0  # and for so long as gone


class Listener:
    """What a group's messages are handed to, on the loop: `on_message(message)`, and `on_gap()` after a loss."""

    def __init__(self, on_message: Callable[[dict[str, Any]], None], on_gap: Callable[[], None]) -> None:
        self.on_message = on_message
        self.on_gap = on_gap


class ChatChannelLayer(RedisPubSubChannelLayer):
    """The stock layer's interface, and `listen` and `unlisten` besides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prefix: str = kwargs.get("prefix", "asgi")

    def _get_layer(self) -> "ChatLoopLayer":
        loop = asyncio.get_running_loop()
        layer: ChatLoopLayer | None = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = ChatLoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer

    async def listen(self, group: str, listener: Listener) -> bool:
        """Hand a group's messages to a listener. True when Redis confirmed the subscription, within a second.

        Where it did not, the layer goes on trying, and tells by `on_gap` when it succeeded.
        """
        return await self._get_layer().listen(group, listener)

    async def unlisten(self, group: str, listener: Listener) -> None:
        await self._get_layer().unlisten(group, listener)

    def is_healthy(self, group: str) -> bool:
        """Whether the group's messages arrive, as far as is known."""
        return self._get_layer().is_healthy(group)

    def redis(self, group: str) -> aioredis.Redis:
        """A client of the shard that a group lives on, for this loop. Ask it under a `Patience`: it has none."""
        return self._get_layer().shard_of(group).commands()

    def redis_of(self, shard: int) -> aioredis.Redis:
        """The same by the shard's number; the number after the last is the broker's."""
        return self._get_layer().numbered(shard).commands()


class ChatLoopLayer(RedisPubSubLoopLayer):
    """The layer of one event loop: who listens here, and on which shard each group lives."""

    def __init__(self, hosts: Any = None, **kwargs: Any) -> None:
        super().__init__(hosts, **kwargs)
        self._shards = [Shard(host, self) for host in decode_hosts(hosts)]
        [broker] = decode_hosts([settings.REDIS_URL])
        self._broker = Shard(broker, self)  # where it is none of them
        self._listeners: dict[str, set[Listener]] = {}  # by Redis channel

    def shard_of(self, group: str) -> "Shard":
        shard: Shard = self._get_shard(self._get_group_channel_name(group))
        return shard

    def numbered(self, shard: int) -> "Shard":
        return self._shards[shard] if shard < len(self._shards) else self._broker

    async def listen(self, group: str, listener: Listener) -> bool:
        channel = self._get_group_channel_name(group)
        self._listeners.setdefault(channel, set()).add(listener)
        return await self.shard_of(group).subscribe(channel)

    async def unlisten(self, group: str, listener: Listener) -> None:
        channel = self._get_group_channel_name(group)
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(channel, None)
            await self.shard_of(group).unsubscribe(channel)

    def is_healthy(self, group: str) -> bool:
        return self.shard_of(group).is_healthy(self._get_group_channel_name(group))

    def is_needed(self, channel: str) -> bool:
        """Whether somebody here waits for a channel's messages: a listener, or a consumer of the stock kind."""
        return channel in self._listeners or channel in self.groups or channel in self.channels

    def deliver(self, channel: str, data: bytes) -> None:
        for name in (channel, *self.groups.get(channel, ())):
            if name in self.channels:
                self.channels[name].put_nowait(data)
        if listeners := self._listeners.get(channel):
            _guarded(self._hand_over, listeners, data)

    def _hand_over(self, listeners: set[Listener], data: bytes) -> None:
        message = self.channel_layer.deserialize(data)
        for listener in tuple(listeners):
            _guarded(listener.on_message, message)

    def tell_gap(self, channel: str) -> None:
        metrics.LAYER_GAPS.n += 1
        for listener in tuple(self._listeners.get(channel, ())):
            _guarded(listener.on_gap)

    async def flush(self) -> None:
        self._listeners.clear()
        await super().flush()
        await self._broker.flush()


def _guarded(call: Callable[..., None], *args: object) -> None:
    """Neither a message that cannot be read nor a listener's mistake may stop the reader or reach other listeners."""
    try:
        call(*args)
    except Exception:
        log.exception("a message was not heard")


class PackedInC:
    """Commands put together by hiredis. redis-py does that for threads alone; its own way takes seven times as long."""

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]  # SCRIPT LOAD is two words to Redis


class Shard:
    """One Redis host: one connection that listens, and a pool that asks.

    The connection is read here and not by redis-py's PubSub. That one takes a socket that died of ETIMEDOUT for "no
    message yet" and returns at once, for ever, without letting the loop run; and it reconnects on its own, unnoticed.
    """

    def __init__(self, host: dict[str, Any], layer: ChatLoopLayer) -> None:
        self._host = host
        self._layer = layer
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[bool]] = {}  # by channel: was it confirmed?
        self._heart = f"{layer.prefix}__heart__{uuid4().hex}"
        self._heard_at = 0.0
        self._connection: Connection | None = None
        self._is_away = False  # the last connection broke, or was refused
        self._reader: asyncio.Task[None] | None = None
        self._commands: aioredis.Redis | None = None

    def is_healthy(self, channel: str) -> bool:
        return channel in self._confirmed and asyncio.get_running_loop().time() - self._heard_at < UNHEARD_S

    def commands(self) -> aioredis.Redis:
        if self._commands is None:
            # RESP2: in RESP3 redis-py hands out pooled connections that the other side has closed. Whoever asks limits
            # the time (`Patience`): redis-py's own limit takes a task a command and a timer a reply.
            pool = create_pool({**self._host, "protocol": 2, "socket_timeout": None, "socket_connect_timeout": 0.3})
            pool.connection_class = type("PackedInC", (PackedInC, pool.connection_class), {})
            self._commands = aioredis.Redis(connection_pool=pool)
        return self._commands

    async def publish(self, channel: str, message: bytes) -> None:
        async with Patience(PUBLISH_S):
            try:
                await self.commands().publish(channel, message)
            except RedisConnectionError:
                await self.commands().publish(channel, message)  # the pool held a connection that had died

    # --- subscriptions ------------------------------------------------------------------------------------------------
    async def subscribe(self, channel: str) -> bool:
        """Subscribe, and wait until Redis says that it did; False where it does not, or is known to be away."""
        self._wanted.add(channel)
        self._ensure_reader()
        if channel in self._confirmed:
            return True
        if self._is_away:
            return False
        confirmation = self._waiting.get(channel)
        try:
            async with asyncio.timeout(CONFIRM_S):
                if confirmation is None:
                    confirmation = self._waiting[channel] = asyncio.get_running_loop().create_future()
                    await self._send("SUBSCRIBE", channel)
                return await asyncio.shield(confirmation)
        except (OSError, RedisError):
            if self._waiting.get(channel) is confirmation:
                del self._waiting[channel]  # when it is confirmed after all, that ends a gap
            return False

    async def unsubscribe(self, channel: str) -> None:
        if self._layer.is_needed(channel):
            return
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._waiting.pop(channel, None)
        with suppress(OSError, RedisError):  # it broke, and the next connection will not ask for this channel
            async with asyncio.timeout(CONFIRM_S):
                await self._send("UNSUBSCRIBE", channel)

    async def _send(self, command: str, channel: str) -> None:
        if self._connection is not None:  # else the reader asks for all that is wanted once it is connected
            await self._connection.send_command(command, channel)

    def _confirm(self, channel: str) -> None:
        if channel not in self._wanted:
            return
        self._confirmed.add(channel)
        waiting = self._waiting.pop(channel, None)
        if waiting is not None:
            waiting.set_result(True)
        else:
            # Nobody waits: it confirms a new connection's subscription, or comes late. Something may have been missed.
            self._layer.tell_gap(channel)

    # --- the reader ---------------------------------------------------------------------------------------------------
    def _ensure_reader(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.ensure_future(self._read_for_ever())

    async def _read_for_ever(self) -> None:
        clear_contextvars()
        loop = asyncio.get_running_loop()
        wait_s, longest_s = BACK_OFF_S
        while True:
            started = loop.time()
            try:
                await self._read_until_broken()
            except (OSError, RedisError) as problem:
                log.warning("lost the connection to Redis: %s", type(problem).__name__)
            except Exception:
                log.exception("the reader of the channel layer failed")
            if loop.time() - started > longest_s:
                wait_s = BACK_OFF_S[0]
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, longest_s)

    async def _read_until_broken(self) -> None:
        loop = asyncio.get_running_loop()
        # No time-out for reading: an idle subscription is healthy, and the heart tells of one that is not.
        pool = create_pool({**self._host, "protocol": 2, "socket_timeout": None, "socket_connect_timeout": CONNECT_S})
        connection: Connection = pool.make_connection()
        beating: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                self._connection, self._is_away = connection, False
                await connection.send_command("SUBSCRIBE", self._heart, *self._wanted)
            self._heard_at = loop.time()
            async with asyncio.timeout(LOST_S) as patience:
                beating = asyncio.ensure_future(self._beat(patience))
                while True:
                    response = await connection.read_response(
                        timeout=math.inf, disconnect_on_error=False, push_request=True
                    )
                    if response is None:  # ETIMEDOUT: from now on it would be None at once, for ever
                        raise RedisConnectionError("the connection timed out")
                    self._heard_at = loop.time()
                    self._take(response)
        finally:
            self._connection, self._is_away = None, True
            self._confirmed.clear()
            for waiting in self._waiting.values():
                waiting.set_result(False)
            self._waiting.clear()
            if beating is not None:
                beating.cancel()
            with suppress(OSError, RedisError):
                await connection.disconnect(nowait=True)

    def _take(self, response: Any) -> None:
        kind, name, data = response
        channel = name.decode()
        if kind == b"message":
            if channel != self._heart:
                self._layer.deliver(channel, data)
        elif kind == b"subscribe":
            self._confirm(channel)

    async def _beat(self, patience: asyncio.Timeout) -> None:
        """Publish to a channel of our own: what does not come back is gone, whatever the socket believes.

        So a silent partition is noticed, a server that hangs, and one that nobody publishes to any more.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(BEAT_S)
            if patience.expired():
                return
            patience.reschedule(self._heard_at + LOST_S)
            if loop.time() - self._heard_at > BEAT_S / 2:
                with suppress(OSError, RedisError):
                    await self.publish(self._heart, b"")

    async def flush(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
            self._reader = None
        self._is_away = False
        self._wanted.clear()
        if self._commands is not None:
            with suppress(OSError, RedisError):
                await self._commands.aclose(close_connection_pool=True)
            self._commands = None
