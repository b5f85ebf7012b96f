"""The outbox: what commits caused goes from here to Redis.

Publishing follows a commit and may fail: the database holds what was said, and every reader looks there when it missed
something. So it never delays or breaks the action that caused it: it waits in a bounded queue, and one sender a process
takes it from there. Where the actions run on an event loop, that is a task of the loop, since to wake a thread costs
more than to send; else it is a thread.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from django.conf import settings
from structlog.contextvars import clear_contextvars

from chat import database, metrics, shards
from chat.patience import Patience

log = logging.getLogger(__name__)

OUTBOX_MAX = 20_000
BROKER = "broker"  # in place of a group: where doorbells hang

BATCH = 200
SEND_S, IMPATIENT_S = 0.5, 0.1

Pipeline = Any  # redis-py's, of threads or of loops
Commands = Callable[[Pipeline], object]
Sendable = tuple[str, Commands]  # of a group


class Outbox:
    """Sends what commits caused, in their order, and drops what is a shard's while that one is away."""

    def __init__(self) -> None:
        self._items: deque[tuple[str | None, Commands]] = deque()
        self._broken_until: dict[int, float] = {}  # by shard
        self._missed: set[str] = set()  # groups that something was dropped of
        self._wake = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._called: asyncio.AbstractEventLoop | None = None  # it was asked to send, and has not begun yet
        self._sending: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

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

    def put(self, group: str | None, item: Commands) -> None:
        """A group's commands go to its shard in one pipeline; without a group the item is called after them."""
        self._items.append((group, item))
        if len(self._items) > OUTBOX_MAX:
            self._drop_oldest()
        loop = database.acting_loop()
        if loop is None or not self._call(loop):
            self._wake_thread()

    def tell(self, group: str, *messages: bytes) -> None:
        """Publish to whoever listens to a group."""
        self.put(group, _publishing(shards.channel_of(group), messages))

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was put before is out (or dropped), in a thread: a loop would wait for itself."""
        assert not database.acts_here(), "on a loop, wait for `flushing`"
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

        timer = loop.call_later(timeout_s, end)
        self.put(None, lambda _: database.call_soon(loop, end))
        return done

    def _drop_oldest(self) -> None:
        with suppress(IndexError):  # it was just taken
            group, _ = self._items.popleft()
            if group is not None:
                self._miss(group)

    def _miss(self, *groups: str) -> None:
        metrics.OUTBOX_DROPPED.n += len(groups)
        self._missed.update(group for group in groups if group != BROKER)  # a lost doorbell is found by the sweep

    def _take(self) -> tuple[list[tuple[int, list[Sendable]]], list[Commands]]:
        """What is to be sent next, by shard, and what is to follow it."""
        by_shard: dict[int, list[Sendable]] = defaultdict(list)
        afterwards = []
        with suppress(IndexError):  # there is no more
            for _ in range(BATCH):
                group, item = self._items.popleft()
                if group is None:
                    afterwards.append(item)
                else:
                    by_shard[_shard_of(group)].append((group, item))
        return sorted(by_shard.items()), afterwards  # a broker of its own comes last

    def _looks(self) -> list[tuple[int, list[Sendable]]]:
        """Redis is back: whoever listens to a group that missed something is asked to look at the table.

        Their own connections may have been well all the time; then nothing else would tell them soon.
        """
        message = shards.layer().serialize({"type": "look"})
        by_shard: dict[int, list[Sendable]] = defaultdict(list)
        for group in tuple(self._missed):
            by_shard[shards.shard_of(group)].append((group, _publishing(shards.channel_of(group), [message])))
        return list(by_shard.items())

    def _is_patient(self, shard: int) -> bool:
        """One that failed is tried again with little patience: the others' frames wait behind it."""
        return shard not in self._broken_until or settings.CHAT_REDIS_SHARDS == [settings.REDIS_URL]

    def _has_heard(self, shard: int) -> None:
        if not self.is_away(shard):  # else somebody else did not get an answer meanwhile
            self._broken_until.pop(shard, None)

    def _has_failed(self, shard: int, problem: Exception) -> None:
        if not self.is_away(shard):
            kind = type(problem).__name__
            log.warning("publishing failed, Redis is left alone for %s s: %s", shards.BREAK_S, kind)
        self.pause(shard)

    # --- by a thread --------------------------------------------------------------------------------------------------
    def _wake_thread(self) -> None:
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
                    self._thread.start()
        if not self._wake.is_set():  # to wake a thread takes longer than all the rest, and a commit puts several
            self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait(shards.BREAK_S if self._missed else None)
            self._wake.clear()
            while self._items:
                self._send()
            for shard, items in self._looks() if self._missed else ():
                if self._tell(shard, items):
                    self._missed -= {group for group, _ in items}

    def _send(self) -> None:
        by_shard, afterwards = self._take()
        for shard, items in by_shard:
            if not self._tell(shard, items):
                self._miss(*(group for group, _ in items))
        _follow(afterwards)

    def _tell(self, shard: int, items: Iterable[Sendable]) -> bool:
        if self.is_away(shard):
            return False
        try:
            _commands(shards.client(shard) if self._is_patient(shard) else shards.impatient(shard), items).execute()
        except Exception as problem:  # whatever Redis or kombu raise: it is only the wire, and the thread must live
            self._has_failed(shard, problem)
            return False
        self._has_heard(shard)
        return True

    # --- by the loop that the actions run on --------------------------------------------------------------------------
    def _call(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Have a loop send. False where it has just ended."""
        if self._called is loop:
            return True
        self._called = loop
        return database.call_soon(loop, self._begin)

    def _begin(self) -> None:
        self._called = None
        self._more.set()
        sending = self._sending
        if sending is None or sending.done() or sending.get_loop() is not asyncio.get_running_loop():
            self._sending = asyncio.ensure_future(self._work_here())

    async def _work_here(self) -> None:
        clear_contextvars()  # it sends for all, not for the first
        self._more = asyncio.Event()
        while self._items or self._missed:
            self._more.clear()
            while self._items:
                await self._send_here()
            for shard, items in self._looks() if self._missed else ():
                if await self._tell_here(shard, items):
                    self._missed -= {group for group, _ in items}
            if self._missed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), shards.BREAK_S)

    async def _send_here(self) -> None:
        by_shard, afterwards = self._take()
        left = deque(by_shard)
        try:
            while left:
                shard, items = left[0]
                if await self._tell_here(shard, items):
                    left.popleft()
                else:
                    self._miss(*(group for group, _ in left.popleft()[1]))
        finally:
            for _, items in left:  # its loop ends in the middle
                self._miss(*(group for group, _ in items))
            _follow(afterwards)

    async def _tell_here(self, shard: int, items: Iterable[Sendable]) -> bool:
        if self.is_away(shard):
            return False
        try:
            async with Patience(SEND_S if self._is_patient(shard) else IMPATIENT_S):
                await _commands(shards.on_loop(shard), items).execute()
        except Exception as problem:  # whatever Redis raises: it is only the wire
            self._has_failed(shard, problem)
            return False
        self._has_heard(shard)
        return True


def _commands(client: Any, items: Iterable[Sendable]) -> Pipeline:
    pipe = client.pipeline(transaction=False)
    for _, item in items:
        item(pipe)
    return pipe


def _follow(afterwards: Iterable[Commands]) -> None:
    for item in afterwards:
        try:
            item(None)
        except Exception:  # whoever sends must live
            log.exception("what was to follow a publishing failed")


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
