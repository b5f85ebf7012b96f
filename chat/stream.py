"""What is published, and to whom: durable frames, deltas, drafts and doorbells.

Publishing follows a commit and may fail: the database holds what was said, and every reader looks there when it missed
something. So it never delays or breaks the action that caused it: one thread a process takes it from a bounded queue.
"""

import asyncio
import base64
import json
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from typing import Any
from uuid import uuid4

import redis
from celery import current_app
from channels.layers import get_channel_layer
from channels_redis.utils import _consistent_hash
from django.conf import settings
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat import metrics
from chat.layers import ChatChannelLayer
from chat.protocol import Delta, Frame

log = logging.getLogger(__name__)

DELTAS = MESSAGE, REASONING = "message.delta", "reasoning.delta"

DRAFT_TTL_MS = 15 * 60 * 1000
OUTBOX_MAX = 20_000
BREAK_S = 1.0  # how long Redis is left alone after it failed
BROKER = "broker"  # in place of a group: where doorbells hang

Pipeline = Any  # redis-py's, sync or async


def session_group(session_id: object) -> str:
    return f"session.{session_id}"


def worker_group(worker_id: object) -> str:
    return f"worker.{worker_id}"


def fence_key(session_id: object, run_id: object) -> str:
    return f"chat:fence:{session_id}:{run_id}"


def draft_key(session_id: object, message_id: object, kind: str = MESSAGE) -> str:
    return f"chat:draft:{session_id}:{message_id}" + ("" if kind == MESSAGE else ":reasoning")


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


def _shard_for(group: str) -> int:
    return _shard_of_broker() if group == BROKER else shard_of(group)


def _shard_of_broker() -> int:
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


@cache
def impatient(shard: int) -> redis.Redis:
    """For what somebody waits for: it answers at once or not at all."""
    return redis.Redis.from_url(
        _url_of(shard),
        socket_timeout=0.1,
        socket_connect_timeout=0.1,
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
    )


# --- the scripts ------------------------------------------------------------------------------------------------------
# A worker's delta: checks the fence, keeps the text so far, tells the live group.
#   1 done · -1 fenced · -2 the draft is not what the worker thinks: send it in full · -3 held by a cancel: wait
#   -4 no fence (Redis was emptied): look at the row, set the fence, send in full
APPEND = """
local f = redis.call('HMGET', KEYS[1], 'a', 'h')
local a = tonumber(f[1])
local mine = tonumber(ARGV[1])
if a and a > mine then return -1 end
if f[2] then
  local t = redis.call('TIME')
  if tonumber(f[2]) > t[1] * 1000 + math.floor(t[2] / 1000) then return -3 end
end
if not a then return -4 end
if a < mine then redis.call('HSET', KEYS[1], 'a', mine) end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[2], ARGV[4])
else
  if redis.call('STRLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return -2 end
  redis.call('APPEND', KEYS[2], ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
"""

# Raise the fence to an attempt; it never falls.
RAISE = """
local a = tonumber(redis.call('HGET', KEYS[1], 'a') or '0')
if a < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'a', ARGV[1]) end
if ARGV[3] == '1' then redis.call('HDEL', KEYS[1], 'h') end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# Hold a run's deltas for a moment and return its drafts: what a cancel keeps is what was shown.
TAKE = """
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'h', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local texts = {}
for i = 2, #KEYS do texts[i - 1] = redis.call('GET', KEYS[i]) end
return texts
"""


# --- the outbox -------------------------------------------------------------------------------------------------------
class Outbox:
    """Sends what commits caused, in their order, from one thread; drops what is a shard's while that one is away."""

    def __init__(self) -> None:
        self._items: deque[tuple[str | None, Callable[[Pipeline], None]]] = deque()
        self._wake = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._broken_until: dict[int, float] = {}  # by shard
        self._missed: set[str] = set()  # groups that something was dropped of

    @property
    def is_broken(self) -> bool:
        """Whether any shard did not answer just now."""
        return any(self.is_away(shard) for shard in tuple(self._broken_until))

    def is_away(self, shard: int) -> bool:
        return time.monotonic() < self._broken_until.get(shard, 0.0)

    def pause(self, shard: int = 0) -> None:
        """A shard did not answer: leave it alone for a moment."""
        self._broken_until[shard] = time.monotonic() + BREAK_S

    def recover(self) -> None:
        """Ask every shard again from now on."""
        self._broken_until.clear()

    def put(self, group: str | None, item: Callable[[Pipeline], None]) -> None:
        """A group's commands go to its shard in one pipeline; without a group the item is called after them."""
        self._items.append((group, item))
        if len(self._items) > OUTBOX_MAX:
            self._drop_oldest()
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
                    self._thread.start()
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was put before is out (or dropped)."""
        done = threading.Event()
        self.put(None, lambda _: done.set())
        return done.wait(timeout_s)

    def flushing(self, timeout_s: float) -> asyncio.Future[None]:
        """The same for an event loop: done when what was put before is out, or when the time is over."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            timer.cancel()
            if not done.done():
                done.set_result(None)

        def told(_: Pipeline) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end)

        timer = loop.call_later(timeout_s, end)
        self.put(None, told)
        return done

    def _drop_oldest(self) -> None:
        with suppress(IndexError):  # it was just taken
            group, _ = self._items.popleft()
            if group is not None:
                self._miss(group)

    def _miss(self, *groups: str) -> None:
        metrics.OUTBOX_DROPPED.n += len(groups)
        self._missed.update(group for group in groups if group != BROKER)  # a lost doorbell is found by the sweep

    def _work(self) -> None:
        while True:
            self._wake.wait(BREAK_S if self._missed else None)
            self._wake.clear()
            while self._items:
                batch = [self._items.popleft() for _ in range(min(len(self._items), 200))]
                self._send(batch)
            if self._missed:
                self._admit()

    def _send(self, batch: list[tuple[str | None, Callable[[Pipeline], None]]]) -> None:
        shards: dict[int, list[tuple[str, Callable[[Pipeline], None]]]] = defaultdict(list)
        afterwards = []
        for group, item in batch:
            if group is None:
                afterwards.append(item)
            else:
                shards[_shard_for(group)].append((group, item))
        for shard, items in sorted(shards.items()):  # a broker of its own comes last
            if not self._guarded(shard, partial(self._pipeline, shard, [item for _, item in items])):
                self._miss(*(group for group, _ in items))
        for item in afterwards:
            try:
                item(None)
            except Exception:  # the thread must live
                log.exception("what was to follow a publishing failed")

    def _admit(self) -> None:
        """Redis is back: whoever listens to a group that missed something is asked to look at the table.

        Their own connections may have been well all the time; then nothing else would tell them soon.
        """
        message = layer().serialize({"type": "look"})
        shards: dict[int, list[str]] = defaultdict(list)
        for group in tuple(self._missed):
            shards[shard_of(group)].append(group)
        for shard, groups in shards.items():
            items = [partial(_publish_to, channel_of(group), message) for group in groups]
            if self._guarded(shard, partial(self._pipeline, shard, items)):
                self._missed -= set(groups)

    def _pipeline(self, shard: int, items: Iterable[Callable[[Pipeline], None]]) -> None:
        # One that failed is tried again with little patience: the others' frames wait behind it.
        patient = shard not in self._broken_until or settings.CHAT_REDIS_SHARDS == [settings.REDIS_URL]
        pipe = (client if patient else impatient)(shard).pipeline(transaction=False)
        for item in items:
            item(pipe)
        pipe.execute()

    def _guarded(self, shard: int, call: Callable[[], None]) -> bool:
        if self.is_away(shard):
            return False
        try:
            call()
        except Exception as problem:  # whatever Redis or kombu raise: it is only the wire, and the thread must live
            if not self.is_away(shard):
                log.warning("publishing failed, Redis is left alone for %s s: %s", BREAK_S, type(problem).__name__)
            self.pause(shard)
            return False
        if not self.is_away(shard):  # else somebody else did not get an answer meanwhile
            self._broken_until.pop(shard, None)
        return True


def _publish_to(channel: str, message: bytes, pipe: Pipeline) -> None:
    pipe.publish(channel, message)


outbox = Outbox()
metrics.OUTBOX.read_by(lambda: len(outbox._items))
metrics.BREAKER.read_by(lambda: {"outbox": outbox.is_broken})


def publish(session_id: object, frames: Iterable[Frame]) -> None:
    """Tell everybody in a session's live group about durable frames."""
    group = session_group(session_id)
    channel = channel_of(group)
    messages = [layer().serialize({"type": "event", "frame": frame.pack()}) for frame in frames]

    def send(pipe: Pipeline) -> None:
        for message in messages:
            _publish_to(channel, message, pipe)

    outbox.put(group, send)


def delta_message(delta: Delta) -> bytes:
    message: bytes = layer().serialize({"type": "delta", "delta": delta.pack()})
    return message


def publish_live(session_id: object, text: str, sender: str) -> None:
    """A frame outside of the log, as its text; `sender` is the socket that need not hear it."""
    group = session_group(session_id)
    message = layer().serialize({"type": "live", "text": text, "sender": sender})
    outbox.put(group, partial(_publish_to, channel_of(group), message))


def nudge(worker_id: object, run_id: object) -> None:
    """Tell a worker to look at one of its runs now. Without it the worker finds out at its next lease tick."""
    group = worker_group(worker_id)
    message = layer().serialize({"type": "nudge", "run_id": str(run_id)})
    outbox.put(group, partial(_publish_to, channel_of(group), message))


def raise_fence(session_id: object, run_id: object, attempt: int, drop: Iterable[str] = ()) -> None:
    """Refuse deltas below an attempt from now on, and forget drafts."""
    drafts = [draft_key(session_id, message_id, kind) for message_id in drop for kind in DELTAS]

    def send(pipe: Pipeline) -> None:
        pipe.eval(RAISE, 1, fence_key(session_id, run_id), attempt, DRAFT_TTL_MS, "1")
        if drafts:
            pipe.delete(*drafts)

    outbox.put(session_group(session_id), send)


def take(session_id: object, run_id: object, message_ids: list[str], hold_ms: int = 2000) -> dict[str, str] | None:
    """Hold the deltas of a run for a moment and return its drafts; None without Redis. Not inside a transaction."""
    shard = shard_of(session_group(session_id))
    if outbox.is_away(shard):
        return None
    keys = [fence_key(session_id, run_id), *(draft_key(session_id, one) for one in message_ids)]
    try:
        texts = impatient(shard).eval(TAKE, len(keys), *keys, hold_ms, DRAFT_TTL_MS)
    except redis.RedisError:
        outbox.pause(shard)
        return None
    found = {}
    for message_id, text in zip(message_ids, texts, strict=False):
        if text is not None:
            found[message_id] = text.decode("utf-8", "replace")
    return found


def peek(session_id: object, message_ids: list[str]) -> dict[str, str] | None:
    """The drafts of a session as they are now, for whoever only looks; None without Redis."""
    shard = shard_of(session_group(session_id))
    if outbox.is_away(shard):
        return None
    try:
        texts: Any = impatient(shard).mget([draft_key(session_id, one) for one in message_ids]) if message_ids else []
    except redis.RedisError:
        outbox.pause(shard)
        return None
    return {one: text.decode("utf-8", "replace") for one, text in zip(message_ids, texts, strict=True) if text}


def ring(task: str, *args: str) -> None:
    """A doorbell: enqueue a task by name. Lost ones are found by the sweep."""
    queue, made = _bell(task)
    task_id = str(uuid4())
    message = {
        **made,
        "body": _body(args),
        "headers": {**made["headers"], "id": task_id, "root_id": task_id, "argsrepr": repr(args)},
        "properties": {**made["properties"], "correlation_id": task_id, "delivery_tag": str(uuid4())},
    }
    outbox.put(BROKER, lambda pipe: pipe.lpush(queue, json.dumps(message)))


@cache
def _bell(task: str) -> tuple[str, dict[str, Any]]:
    """The queue of a task, and a message for it as Celery makes it: copied with other ids and arguments.

    To make each anew, and to send it over a connection of its own, takes Celery as long as what it follows took.
    """
    queue: str = current_app.amqp.router.route({}, task)["queue"].name
    with Connection("memory://") as connection:
        current_app.send_task(task, args=[], connection=connection, ignore_result=True)
        made: dict[str, Any] = connection.default_channel._get(queue)  # type: ignore[attr-defined]
    assert base64.b64decode(made["body"]) == base64.b64decode(_body(())), "Celery has another form of arguments"
    return queue, made


def _body(args: tuple[str, ...]) -> str:
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return base64.b64encode(json.dumps([args, {}, nothing]).encode()).decode()
