"""What a socket still has to be sent: one queue and one task, joined deltas, and a bound.

A delta waits in a slot, and its successors join it until the task comes round to it: a slow client gets fewer, longer
deltas instead of a growing queue. A durable frame of the same run ends the slot, so order holds. What waits when the
task comes round leaves together, up to a size: one system call costs more than all else that a frame does. What comes
after a silence leaves at once: to wake the task would cost more than to send.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from django.conf import settings

from chat import metrics
from chat.protocol import Delta

QUEUED_MAX = 2 * 1024 * 1024  # characters
ROOM = QUEUED_MAX // 8
TOGETHER_MAX = 16 * 1024  # characters
SILENCE_S = 0.025  # before a frame: then it is not the next one of a burst


class Follower(Protocol):
    """Whose frames they are."""

    written: int  # the last durable one that was sent


class Text(NamedTuple):
    """A frame. A follower's may be dropped: it is sent again, or is not needed. Any other must arrive."""

    text: str
    follower: Follower | None = None
    seq: int | None = None

    @property
    def size(self) -> int:
        return len(self.text)


class Slot:
    """Deltas of one message that leave as one frame."""

    __slots__ = ("delta", "followed_by", "follower", "size")

    def __init__(self, delta: Delta, follower: Follower) -> None:
        self.follower = follower
        self._begin(delta)

    def _begin(self, delta: Delta) -> None:
        self.delta, self.size = delta, len(delta.text)
        self.followed_by: list[str] = []

    def join(self, delta: Delta) -> None:
        if delta.offset == 0:
            self._begin(delta)
        else:
            self.followed_by.append(delta.text)
            self.size += len(delta.text)

    @property
    def text(self) -> str:
        return self.delta.as_text(self.followed_by)


class Writer:
    """Sends what is queued, in order.

    `send(texts)` sends some frames, `drained()` returns when the server holds little of what was sent. Beyond the bound
    nothing more that is relayed is taken (answers are) until the queue is out. Then `start_again` is called: whoever
    relays goes on after what was written. `write(texts)` sends at once, or gives False where the client is waited for.
    """

    def __init__(
        self,
        send: Callable[[Sequence[str]], Awaitable[None]],
        drained: Callable[[], Awaitable[None]],
        start_again: Callable[[], None],
        write: Callable[[Sequence[str]], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._drained = drained
        self._start_again = start_again
        self._write = write
        self._clock = clock
        self._queue: deque[Text | Slot] = deque()
        self._slots: dict[tuple[str, str], Slot] = {}  # those that may be joined, by message and type
        self._size = 0
        self._wake = asyncio.Event()
        self._progress_at = clock()
        self._put_at = 0.0
        self.is_behind = False
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def is_full(self) -> bool:
        """Whether the client asks for more than it reads: only answers can pass the bound, what is relayed cannot."""
        return self._size > QUEUED_MAX

    @property
    def is_stalled(self) -> bool:
        """Whether the client takes nothing any more, or asks more than it reads."""
        waits_s = 0.0 if self.idle.is_set() else self._clock() - self._progress_at
        return self.is_full or waits_s > settings.CHAT_SLOW_S

    async def room(self) -> None:
        """Wait while much is queued."""
        while self._size > ROOM or self.is_behind:
            await self.idle.wait()

    # --- what comes ---------------------------------------------------------------------------------------------------
    def put_answer(self, text: str) -> None:
        self._put(Text(text))

    def put_fact(self, text: str, follower: Follower, seq: int, run_id: str | None) -> None:
        """Queue a durable frame; one of a run comes after the deltas that wait, and before those to come."""
        if self._slots and run_id is not None:
            self._slots = {key: slot for key, slot in self._slots.items() if slot.delta.run_id != run_id}
        self._put_relayed(Text(text, follower, seq))

    def put_live(self, text: str, follower: Follower) -> None:
        self._put_relayed(Text(text, follower, None))

    def put_delta(self, delta: Delta, follower: Follower) -> None:
        key = (delta.message_id, delta.type)
        slot = self._slots.get(key)
        if slot is None:
            slot = Slot(delta, follower)
            if self._put_relayed(slot):  # it waits, and may be joined
                self._slots[key] = slot
        elif self._takes(len(delta.text)):
            self._size -= slot.size
            slot.join(delta)
            self._size += slot.size

    def _put_relayed(self, item: Text | Slot) -> bool:
        return self._takes(item.size) and self._put(item)

    def _takes(self, size: int) -> bool:
        # An empty queue takes anything: what is larger than the bound would not fit the next time either.
        self.is_behind = self.is_behind or (bool(self._queue) and self._size + size > QUEUED_MAX)
        return not self.is_behind

    def _put(self, item: Text | Slot) -> bool:
        """Send it if nothing else is to be sent about now, else queue it. Whether it waits."""
        if self.idle.is_set():
            put_at, self._put_at = self._put_at, self._clock()
            if self._put_at - put_at > SILENCE_S and self._write((item.text,)):
                _note(item)
                return False
            self.idle.clear()
            self._progress_at = self._put_at
        self._queue.append(item)
        self._size += item.size
        self._wake.set()
        return True

    def end(self) -> None:
        """Send nothing at once any more; the task, while it works, sends the rest."""
        self._write = lambda _: False

    # --- what is dropped ----------------------------------------------------------------------------------------------
    def forget(self, *, run_id: str | None = None, message_id: str | None = None) -> None:
        """Drop the deltas that wait of a run or a message."""
        # The table alone is not enough: a slot that a frame has ended is no longer in it, and may still wait.
        if any(isinstance(item, Slot) for item in self._queue):
            self._keep(
                lambda item: (
                    not isinstance(item, Slot) or (item.delta.run_id != run_id and item.delta.message_id != message_id)
                )
            )

    def drop(self, follower: Follower) -> None:
        """Drop whatever waits of one who no longer follows."""
        self._keep(lambda item: item.follower is not follower)

    def _keep(self, is_kept: Callable[[Text | Slot], bool]) -> None:
        self._queue = deque(item for item in self._queue if is_kept(item))
        self._size = sum(item.size for item in self._queue)
        waiting = {item for item in self._queue if isinstance(item, Slot)}
        self._slots = {key: slot for key, slot in self._slots.items() if slot in waiting}

    # --- what goes ----------------------------------------------------------------------------------------------------
    async def work(self) -> None:
        """Send for ever; cancel it to stop."""
        while True:
            while self._queue:
                await self._drained()
                if self._queue:  # it may have been dropped meanwhile
                    await self._send_next()
            if self.is_behind:
                self.is_behind = False
                self._start_again()
                continue
            self.idle.set()
            self._wake.clear()
            await self._wake.wait()

    async def _send_next(self) -> None:
        items: list[Text | Slot] = []
        size = 0
        while self._queue and (not items or size + self._queue[0].size <= TOGETHER_MAX):
            item = self._queue.popleft()
            size += item.size
            if isinstance(item, Slot):
                key = (item.delta.message_id, item.delta.type)
                if self._slots.get(key) is item:
                    del self._slots[key]  # on its way: what comes now needs another one
                metrics.DELTAS_MERGED.n += len(item.followed_by)
            items.append(item)
        self._size -= size
        await self._send([item.text for item in items])
        for item in items:
            _note(item)
        self._progress_at = self._put_at = self._clock()


def _note(sent: Text | Slot) -> None:
    if isinstance(sent, Text) and sent.follower is not None and sent.seq is not None:
        sent.follower.written = sent.seq
