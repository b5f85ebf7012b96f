"""From what a mode yields to what the world sees: drafts that grow in Redis and are told as deltas.

All drafts of the process share one task: it takes what is new of each, and sends it in one pipeline. The first piece of
a message leaves at once; after it, pieces are joined for a short window. The script in `chat/stream.py` refuses what
comes from a lost claim, and notices when Redis forgot a draft: then the whole text is sent again. A shard that fails is
left alone for a moment, and only its own sessions notice.
"""

import asyncio
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Set
from typing import Any

from django.conf import settings
from django.db import Error
from redis.exceptions import NoScriptError, RedisError
from structlog.contextvars import clear_contextvars

from chat import metrics, shards, stream
from chat.actions import attempts, workers
from chat.database import reading, writing
from chat.errors import Fenced, Unavailable
from chat.models import Run
from chat.patience import Patience
from chat.protocol import Delta

log = logging.getLogger(__name__)

SCRIPT_SHA = hashlib.sha1(stream.APPEND.encode(), usedforsecurity=False).hexdigest()
SEND_S = 0.5
HELD_S = 0.05
WINDOW_MIN_MS = 1.0  # with none at all, the loop would spin while Redis takes its time
CHECKPOINT_S = 1.0
FLUSH_S = 0.2

DONE, FENCED, BEHIND, HELD, UNFENCED = 1, -1, -2, -3, -4
REFUSALS: dict[Any, str] = {FENCED: "fenced", BEHIND: "behind", HELD: "held", UNFENCED: "unfenced"}


class Draft:
    """One message being written: all of its text, and how much of it Redis has."""

    def __init__(self, publisher: "Publisher", run: Run, kind: str, on_fenced: Callable[[], None]) -> None:
        self.run = run
        self.kind = kind
        self.message_id = str(run.answer_id)
        self.group = stream.session_group(run.session_id)
        self.keys = [
            stream.fence_key(run.session_id, run.pk),
            stream.draft_key(run.session_id, self.message_id, kind),
        ]
        self.channel = shards.channel_of(self.group)
        self.shard = shards.shard_of(self.group)
        self.on_fenced = on_fenced
        self.text = ""
        self.sent_chars = 0
        self.sent_bytes = 0
        self.is_whole = True  # the next sending replaces what is there
        self.clearings = 0
        self.is_dirty = False
        self.is_closed = False
        self.in_flight: asyncio.Event | None = None
        self.not_before = 0.0
        self.checkpoint_at = 0.0
        self._publisher = publisher

    def add(self, text: str) -> None:
        first = not self.text
        if first and not self.clearings and self.kind == stream.MESSAGE and not self.run.state:
            metrics.first_token(self.run.started_at)
        self.text += text
        self._publisher.mark(self, urgent=first)

    def clear(self) -> None:
        """What was shown is void: show nothing, and then from the start."""
        self.text = ""
        self.is_whole = True
        self.clearings += 1  # what is in flight counts for nothing
        self._publisher.mark(self, urgent=True)

    async def flush(self) -> None:
        """Wait until everything is told, for a moment: a delta after its fact would only be dropped by every hub."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while self.is_dirty or self.in_flight is not None:
                    if self.in_flight is not None:
                        await self.in_flight.wait()
                    elif self._publisher.is_away(self.shard):
                        return
                    else:
                        self._publisher.mark(self, urgent=True)
                        await asyncio.sleep(0.001)
        except TimeoutError:
            pass

    def close(self) -> None:
        self.is_closed, self.is_dirty = True, False
        self._publisher.dirty.pop(self, None)

    def land(self) -> None:
        """What was on its way has come to something: the next sending may begin."""
        done, self.in_flight = self.in_flight, None
        if done is not None:
            done.set()

    def arguments(self) -> tuple[list[Any], int, int]:
        """What the script is called with, and the length that Redis has when it succeeded: in characters, in bytes."""
        start = 0 if self.is_whole else self.sent_chars
        text = self.text[start:]
        encoded = text.encode()
        opening = {"role": "assistant", "author": self.run.agent.as_author(), "kind": "text"} if start == 0 else None
        delta = Delta(
            self.kind,
            str(self.run.session_id),
            str(self.run.pk),
            self.message_id,
            self.run.attempt,
            start,
            text,
            opening,
            self.clearings,
        )
        args = [
            *self.keys,
            self.run.attempt,
            0 if self.is_whole else self.sent_bytes,
            "1" if self.is_whole else "0",
            encoded,
            self.channel,
            stream.delta_message(delta),
            stream.DRAFT_TTL_MS,
        ]
        return args, start + len(text), (0 if self.is_whole else self.sent_bytes) + len(encoded)


class Publisher:
    """Tells the deltas of all runs of a process. Lives on its loop."""

    def __init__(self) -> None:
        self.dirty: dict[Draft, None] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._broken_until: dict[int, float] = {}  # by shard
        self._sending: set[asyncio.Task[None]] = set()
        self._saving: asyncio.Task[None] | None = None

    @property
    def is_broken(self) -> bool:
        """Whether any shard did not answer just now."""
        return any(self.is_away(shard) for shard in tuple(self._broken_until))

    def is_away(self, shard: int) -> bool:
        return time.monotonic() < self._broken_until.get(shard, 0.0)

    def mark(self, draft: Draft, *, urgent: bool) -> None:
        if draft.is_closed:
            return
        draft.is_dirty = True
        self.dirty[draft] = None
        self._wake.set()
        if urgent:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        clear_contextvars()  # it works for all runs, not for the first
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._hurry.clear()
            self._send_all()
            try:
                async with asyncio.timeout(max(settings.CHAT_DELTA_WINDOW_MS, WINDOW_MIN_MS) / 1000):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            if self.dirty:
                self._wake.set()
                await asyncio.sleep(0)

    def _send_all(self) -> None:
        now = time.monotonic()
        away = {shard for shard, until in self._broken_until.items() if now < until}
        by_shard: dict[int, list[Draft]] = defaultdict(list)
        for draft in list(self.dirty):
            if draft.in_flight is None and draft.not_before <= now and draft.shard not in away:
                del self.dirty[draft]
                draft.is_dirty = False
                draft.in_flight = asyncio.Event()
                by_shard[draft.shard].append(draft)
        for drafts in by_shard.values():
            self._keep(self._send(drafts))
        if away and (self._saving is None or self._saving.done()):
            self._saving = self._keep(self._checkpoint(away))

    async def _send(self, drafts: list[Draft]) -> None:
        calls = [(draft, draft.clearings, *draft.arguments()) for draft in drafts]
        results: list[Any]
        try:
            async with Patience(SEND_S):
                redis = shards.layer().redis(drafts[0].group)
                pipe = redis.pipeline(transaction=False)
                for _, _, args, _, _ in calls:
                    pipe.execute_command("EVALSHA", SCRIPT_SHA, 2, *args)
                results = await pipe.execute(raise_on_error=False)
                if any(isinstance(result, NoScriptError) for result in results):
                    await redis.script_load(stream.APPEND)
        except (RedisError, OSError, TimeoutError) as problem:
            results = [problem] * len(calls)
        for (draft, clearings, _, chars, size), result in zip(calls, results, strict=True):
            if result == DONE:
                metrics.DELTAS_PUBLISHED.n += 1
                if draft.clearings == clearings:  # else it was cleared meanwhile, and goes out whole
                    draft.is_whole = False
                    draft.sent_chars, draft.sent_bytes = chars, size
            else:
                self._recover(draft, result)
            if result != UNFENCED:  # else it stays "on its way" until `_set_fence` has asked the row
                draft.land()

    def _recover(self, draft: Draft, result: Any) -> None:
        metrics.DELTAS_REFUSED.labels(REFUSALS.get(result, "redis")).inc()
        if result == FENCED:
            draft.close()
            draft.on_fenced()
            return
        if result == HELD:
            draft.not_before = time.monotonic() + HELD_S
        elif result == UNFENCED:
            self._keep(self._set_fence(draft))
            draft.is_whole = True
        elif result == BEHIND or isinstance(result, NoScriptError):
            draft.is_whole = True
        else:  # Redis did not answer: whether it heard is unknown, so the whole text goes out when it is back
            if not self.is_away(draft.shard):
                problem = type(result).__name__
                log.warning("deltas are not told, Redis %s is left alone for a moment: %s", draft.shard, problem)
            self._broken_until[draft.shard] = time.monotonic() + shards.BREAK_S
            draft.is_whole = True
        self.mark(draft, urgent=result == BEHIND or isinstance(result, NoScriptError))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    async def _set_fence(self, draft: Draft) -> None:
        """Redis was emptied. Only the holder of the claim may go on, and only the row knows who that is."""
        run = draft.run
        assert run.worker_id is not None
        try:
            if not await reading(workers.still_held, run.worker_id, {run.pk: run.attempt}):
                draft.close()
                draft.on_fenced()
                return
            key = stream.fence_key(run.session_id, run.pk)
            async with Patience(SEND_S):
                redis = shards.layer().redis(draft.group)
                await redis.eval(stream.RAISE, 1, key, run.attempt, stream.DRAFT_TTL_MS, "0")
        except (Error, Unavailable, RedisError, OSError, TimeoutError):
            draft.not_before = time.monotonic() + HELD_S  # asked again with the next sending
        finally:
            draft.land()

    async def _checkpoint(self, away: Set[int]) -> None:
        """While shards are away, save the text so far of what is theirs, so that a cancel keeps it."""
        now = time.monotonic()
        for draft in list(self.dirty):
            if draft.shard not in away or draft.kind != stream.MESSAGE or draft.is_closed:
                continue
            if now - draft.checkpoint_at < CHECKPOINT_S:
                continue
            draft.checkpoint_at = now
            try:
                await writing(attempts.keep_checkpoint, draft.run, draft.message_id, draft.text)
            except Fenced:
                draft.close()
                draft.on_fenced()
            except (Error, Unavailable):
                return


publishers: dict[asyncio.AbstractEventLoop, Publisher] = {}
metrics.BREAKER.read_by(lambda: {"deltas": any(one.is_broken for one in tuple(publishers.values()))})


def publisher() -> Publisher:
    loop = asyncio.get_running_loop()
    if loop not in publishers:
        publishers[loop] = Publisher()
    return publishers[loop]
