"""The outbox: what commits caused goes from here to Redis, in a thread of its own.

Publishing follows a commit and may fail: the database holds what was said, and every reader looks there when it missed
something. So it never delays or breaks the action that caused it: one thread a process takes it from a bounded queue.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from django.conf import settings

from chat import metrics, shards

log = logging.getLogger(__name__)

OUTBOX_MAX = 20_000
BROKER = "broker"  # in place of a group: where doorbells hang

Pipeline = Any  # redis-py's


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
        self._broken_until[shard] = time.monotonic() + shards.BREAK_S

    def recover(self) -> None:
        """Ask every shard again from now on: for tests, whose Redis is another one each time."""
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
        if not self._wake.is_set():  # to wake a thread takes longer than all the rest, and a commit puts several
            self._wake.set()

    def tell(self, group: str, *messages: bytes) -> None:
        """Publish to whoever listens to a group."""
        self.put(group, _publishing(shards.channel_of(group), messages))

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
            self._wake.wait(shards.BREAK_S if self._missed else None)
            self._wake.clear()
            while self._items:
                batch = [self._items.popleft() for _ in range(min(len(self._items), 200))]
                self._send(batch)
            if self._missed:
                self._admit()

    def _send(self, batch: list[tuple[str | None, Callable[[Pipeline], None]]]) -> None:
        by_shard: dict[int, list[tuple[str, Callable[[Pipeline], None]]]] = defaultdict(list)
        afterwards = []
        for group, item in batch:
            if group is None:
                afterwards.append(item)
            else:
                by_shard[_shard_of(group)].append((group, item))
        for shard, items in sorted(by_shard.items()):  # a broker of its own comes last
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
        message = shards.layer().serialize({"type": "look"})
        by_shard: dict[int, list[str]] = defaultdict(list)
        for group in tuple(self._missed):
            by_shard[shards.shard_of(group)].append(group)
        for shard, groups in by_shard.items():
            items = [_publishing(shards.channel_of(group), [message]) for group in groups]
            if self._guarded(shard, partial(self._pipeline, shard, items)):
                self._missed -= set(groups)

    def _pipeline(self, shard: int, items: Iterable[Callable[[Pipeline], None]]) -> None:
        # One that failed is tried again with little patience: the others' frames wait behind it.
        patient = shard not in self._broken_until or settings.CHAT_REDIS_SHARDS == [settings.REDIS_URL]
        pipe = (shards.client if patient else shards.impatient)(shard).pipeline(transaction=False)
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
                kind = type(problem).__name__
                log.warning("publishing failed, Redis is left alone for %s s: %s", shards.BREAK_S, kind)
            self.pause(shard)
            return False
        if not self.is_away(shard):  # else somebody else did not get an answer meanwhile
            self._broken_until.pop(shard, None)
        return True


def _shard_of(group: str) -> int:
    return shards.shard_of_broker() if group == BROKER else shards.shard_of(group)


def _publishing(channel: str, messages: Iterable[bytes]) -> Callable[[Pipeline], None]:
    def send(pipe: Pipeline) -> None:
        for message in messages:
            pipe.publish(channel, message)

    return send


outbox = Outbox()
metrics.OUTBOX.read_by(lambda: len(outbox._items))
metrics.BREAKER.read_by(lambda: {"outbox": outbox.is_broken})
