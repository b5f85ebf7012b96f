"""One event loop a worker process: where its runs live, and who looks after their lease.

Celery's threads only ring here and go on. A run costs a coroutine, not a thread. Beside the loop there are two threads:
one renews the lease (and only while the loop is alive), one sweeps.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error, connection

from chat import metrics, shards, stream
from chat.actions import attempts, claims, workers
from chat.database import let_go, reading, writing, writing_briefly
from chat.layers import Listener
from chat.models import Run
from chat.outbox import outbox
from chat.prepared import Given, Prepared
from workers.context import Context, build_context, tokens_for
from workers.llm import close_clients

log = logging.getLogger(__name__)

LEASE_TICK_S = 1.0
LOOP_ALIVE_S = 4.0
DRAIN_S = 5.0
BRIEF_TOKENS = 16_000  # of a context, which may be read on the loop

NAME = f"{socket.gethostname()}:{os.getpid()}"

FENCED, DRAINED = "fenced", "drained"


@dataclass(slots=True)
class Held:
    """A run in this process."""

    run: Run
    context: Context | None = None  # read with the claim; whoever works on it takes it
    task: asyncio.Task[None] | None = None
    why: str | None = None  # it was cancelled: fenced or drained
    has_begun: bool = False
    kept_since: Callable[[float], bool] = lambda _: True  # whether the lease has held without a gap since then

    def stop(self, why: str) -> None:
        if self.why is None:
            self.why = why
            # A task that is cancelled before its first step never runs at all, and could hand nothing back: such a
            # one looks at `why` when it begins.
            if self.task is not None and self.has_begun:
                self.task.cancel()


@dataclass(slots=True)
class Runtime:
    worker_id: UUID | None = None
    held: dict[UUID, Held] = field(default_factory=dict)
    draining: bool = False
    _loop: asyncio.AbstractEventLoop | None = None
    _ticked_at: float = 0.0
    _renewed_at: float = float("-inf")
    _lapsed_at: float = float("-inf")  # when it was last found that the lease had run out
    _unknown: dict[UUID, int] = field(default_factory=dict)
    _looking: dict[UUID, bool] = field(default_factory=dict)  # sessions, and whether to look once more
    _broken: set[UUID] = field(default_factory=set)  # runs whose task failed to end them
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _lease_thread: threading.Thread | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    # --- starting and stopping ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the loop and the two threads. Needs neither Redis nor the database to answer yet."""
        ready = threading.Event()
        threading.Thread(target=self._run_loop, args=(ready,), name="runtime", daemon=True).start()
        ready.wait()
        self._lease_thread = threading.Thread(target=self._keep_lease, name="lease", daemon=True)
        self._lease_thread.start()

    def measure(self) -> None:
        """Tell how this process is, whenever somebody asks for its metrics."""
        metrics.RUNS_HELD.read_by(lambda: len(self.held))
        metrics.LEASE_AGE.read_by(lambda: None if self.worker_id is None else time.monotonic() - self._renewed_at)
        # What alerts watch is there from the start: Prometheus sees no rise in a counter that first appears at 12.
        for what in ("lost", "stuck", "waiting"):
            metrics.SWEPT.labels(what)
        for name, result in product(("sweep", "tidying"), ("done", "failed")):
            metrics.SWEEPS.labels(name, result)

    def _run_loop(self, ready: threading.Event) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._tick)
        self._loop.call_soon(metrics.loop_lag.watch)
        self._loop.call_soon(ready.set)
        self._loop.run_forever()

    def _tick(self) -> None:
        assert self._loop is not None
        self._ticked_at = time.monotonic()
        self._loop.call_later(0.5, self._tick)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the loop, from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._keep, work)

    def _keep(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log.error("%s failed", task.get_coro(), exc_info=problem)

    def drain(self) -> None:
        """Take no more runs and hand back those that are held: rows first, then a ring."""
        if not self.draining:
            self.draining = True
            self.spawn(self._drain())

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self.held or self._looking:  # a claim that is under way still brings a run
                    for held in list(self.held.values()):
                        held.stop(DRAINED)
                    await asyncio.sleep(0.01)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await close_clients()
        self._ended.set()

    def wait_drained(self) -> None:
        """Wait until every run is handed back and everything is told."""
        self.drain()
        self._ended.wait(DRAIN_S + 1)
        outbox.flush(1.0)
        if self._lease_thread is not None:
            self._lease_thread.join(1.0)  # a renewal that is under way must not come after the end
        if self.worker_id is not None:
            try:
                workers.end_lease(self.worker_id)
            except Error as problem:
                log.warning("the lease was not ended: %s", type(problem).__name__)

    # --- doorbells ----------------------------------------------------------------------------------------------------
    def ring(self, run_id: str, session_id: str | None = None) -> None:
        """A doorbell, from a Celery thread: look at the session of that run."""
        self.spawn(self.look_at(UUID(session_id)) if session_id else self._answer(UUID(run_id)))

    async def _answer(self, run_id: UUID) -> None:
        session_id = await reading(_session_of, run_id)
        if session_id is not None:
            await self.look_at(session_id)

    async def look_at(self, session_id: UUID) -> None:
        """Claim and start the oldest claimable run of a session, if there is one and room for it."""
        if session_id in self._looking:
            self._looking[session_id] = True  # that claim may have looked before what this ring is about
            return
        if self.draining or self.worker_id is None or not self.holds_lease or self._is_full:
            return
        self._looking[session_id] = False
        try:
            held = await writing_briefly(_claim, self.worker_id, session_id)
        finally:
            again = self._looking.pop(session_id)
        if held is not None:
            self._begin(held)
        elif again:
            await self.look_at(session_id)

    @property
    def _is_full(self) -> bool:
        return 0 < settings.CHAT_RUNS_PER_WORKER <= len(self.held) + len(self._looking)

    def _begin(self, held: Held) -> None:
        from workers.runner import execute
        from workers.watch import followed

        self.held[held.run.pk] = held
        held.kept_since = self.kept_lease_since
        held.task = asyncio.ensure_future(followed(held.run, execute(held)))
        held.task.add_done_callback(lambda task: self._end(held, task))
        if self.draining:
            held.stop(DRAINED)

    def _end(self, held: Held, task: asyncio.Task[None]) -> None:
        self.held.pop(held.run.pk, None)
        if not task.cancelled() and (problem := task.exception()):
            log.error("run %s was left as it is", held.run.pk, exc_info=problem)
            self._broken.add(held.run.pk)

    # --- the lease ----------------------------------------------------------------------------------------------------
    @property
    def holds_lease(self) -> bool:
        """Whether others take this process for alive. One that was frozen must not claim before it has renewed."""
        return time.monotonic() - self._renewed_at < settings.CHAT_LEASE_S

    def kept_lease_since(self, moment: float) -> bool:
        """Whether nobody can have taken this process for dead since then: that it holds a lease now is not enough."""
        return self.holds_lease and self._lapsed_at < moment

    def _keep_lease(self) -> None:
        from workers.sweep import sweep_forever, tidy_forever
        from workers.tools.announced import announce

        while self.worker_id is None:
            try:
                announce()
                now = time.monotonic()
                self.worker_id, self._renewed_at = workers.register_worker(NAME), now
            except Error as problem:
                log.warning("no database yet: %s", type(problem).__name__)
                let_go()
                time.sleep(1)
        self.spawn(self._listen_for_nudges())
        threading.Thread(target=sweep_forever, args=(self,), name="sweep", daemon=True).start()
        threading.Thread(target=tidy_forever, args=(self,), name="tidying", daemon=True).start()
        while not self._ended.wait(LEASE_TICK_S):
            try:
                self._renew()
                connection.close_if_unusable_or_obsolete()
            except Error as problem:
                log.warning("the lease was not renewed: %s", type(problem).__name__)
                let_go()
        connection.close()

    def _renew(self) -> None:
        if time.monotonic() - self._ticked_at > LOOP_ALIVE_S:
            log.error("the event loop does not turn: the lease is left to run out")
            return
        assert self.worker_id is not None and self._loop is not None
        now, was_held = time.monotonic(), self.holds_lease
        if not workers.renew_lease(self.worker_id, NAME) or not was_held:
            self._lapsed_at = time.monotonic()  # said before it counts as renewed
        self._renewed_at = now
        self._loop.call_soon_threadsafe(self._compare, workers.held_runs(self.worker_id))

    def _compare(self, mine: dict[UUID, int]) -> None:
        """Let go of runs that are no longer ours, and hand back rows that we hold without knowing.

        A row that is unknown here at two looks is of a claim whose reply was lost, or of a task that failed to end it.
        """
        for run_id, held in list(self.held.items()):
            if mine.get(run_id) != held.run.attempt and held.task is not None and not held.task.done():
                self._keep(self._check(held))
        unknown = {one: attempt for one, attempt in mine.items() if one not in self.held}
        for run_id, attempt in unknown.items():
            if self._unknown.get(run_id) == attempt:
                self._keep(self._hand_back(run_id, attempt))
        self._unknown = unknown

    async def _check(self, held: Held) -> None:
        """Ask the row whether the claim still holds."""
        assert self.worker_id is not None
        try:
            if held.run.pk not in await reading(workers.still_held, self.worker_id, {held.run.pk: held.run.attempt}):
                held.stop(FENCED)
        except Error:
            return  # the next tick asks again

    async def _hand_back(self, run_id: UUID, attempt: int) -> None:
        run = await reading(Run.objects.filter(pk=run_id, attempt=attempt).first)
        if run is None or run_id in self.held or run.session_id in self._looking:
            return  # it is being claimed just now, or has an end
        log.warning("handing back run %s, which we hold without working on it", run_id)
        if run_id in self._broken:  # it may well break us again: that counts
            self._broken.discard(run_id)
            await writing(partial(attempts.put_back, run, "worker_lost", stuck=True))
        else:
            await writing(attempts.put_back, run, DRAINED)

    # --- nudges -------------------------------------------------------------------------------------------------------
    async def _listen_for_nudges(self) -> None:
        listener = Listener(self._on_nudge, lambda: None)
        await shards.layer().listen(stream.worker_group(self.worker_id), listener)

    def _on_nudge(self, message: dict[str, Any]) -> None:
        run_id = message.get("run_id")  # without one it is a `look`: nudges were lost, so look at all
        for held in self.held.values():
            if run_id in {None, str(held.run.pk)}:
                self._keep(self._check(held))


def _claim(worker_id: UUID, session_id: UUID) -> Held | None:
    """Claim a run and, where that is brief, read its context on the same way to the database."""
    run = claims.claim_run(worker_id, session_id)
    if run is None:
        return None
    held = Held(run)
    if tokens_for(run.agent) <= BRIEF_TOKENS:
        # The run is ours by now. Whatever is wrong, who works on it meets it again, and can wait or tell people.
        with suppress(Exception):
            held.context = build_context(run, brief=True)
    return held


_SESSION = Prepared(
    lambda: Run.objects.filter(pk=Given("pk"), status=Run.Status.QUEUED).values_list("session_id", flat=True)
)


def _session_of(run_id: UUID) -> UUID | None:
    return _SESSION.first(pk=run_id)


runtime = Runtime()
