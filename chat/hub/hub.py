"""One hub a process and session: relays the live group to its viewers, and has the last word before a socket.

Redis may lose, repeat, delay and reorder. The hub knows the log's last number, which runs are open and what their
drafts hold, so that every viewer gets each durable frame once and in order, and no delta that came too late. All of it
runs on one event loop; the steps between two awaits are atomic. `docs/architecture.md` tells the whole algorithm.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Collection
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from structlog.contextvars import clear_contextvars

from chat import metrics, shards, stream
from chat.database import reading
from chat.errors import ChatError, InvalidInput, NotFound, TooOld, Unavailable
from chat.failpoints import afailpoint
from chat.hub.drafts import Drafts, RunningRun, Verdict, promised
from chat.hub.reads import read_events, read_state
from chat.hub.viewer import Viewer
from chat.layers import Listener
from chat.models import ChatSession
from chat.patience import Patience
from chat.protocol import Delta, Frame, Reader

log = logging.getLogger(__name__)

RING = 256  # frames kept for those who join
GULP = 256 * 1024  # characters handed over at once to one who joins
HOLD_S = 0.02  # two processes publish in the other order without any loss: wait that long before reading the table
DRAFTS_S = 0.5
RETRY_S = 1.0  # after a read of the table failed

Heard = Frame | Delta | tuple[str, str] | None  # a live text with its sender; None: something may have been missed


class Hub:
    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.group = stream.session_group(session_id)
        self.holders = 0  # counted by Hubs
        self.viewers: set[Viewer] = set()
        self.last = 0
        self._ring: deque[Frame] = deque(maxlen=RING)
        self._roles: dict[str, str] = {}
        self._drafts = Drafts(str(session_id))
        self._buffer: list[Heard] | None = []  # None once live
        self._held: dict[int, Frame] = {}
        self._is_over = False
        self._asked: asyncio.Future[bool] | None = None  # for the next read of the table
        self._catching_up: asyncio.Task[None] | None = None
        self._listener = Listener(self._on_message, lambda: self._hear(None))
        self._starting: asyncio.Task[None] = asyncio.ensure_future(self._start())

    # --- starting and stopping ----------------------------------------------------------------------------------------
    async def _start(self) -> None:
        clear_contextvars()  # it works for all who watch, not for the one who came first
        await shards.layer().listen(self.group, self._listener)
        await afailpoint("hub.subscribed")
        state = await reading(read_state, self.session_id)
        await afailpoint("hub.read")
        self.last, self._roles = state.last, state.roles
        self._drafts.know(state.runs)
        await self._read_drafts(state.runs)
        await afailpoint("hub.drafts")
        buffered, self._buffer = self._buffer or [], None
        for heard in buffered:
            self._hear(heard)

    @property
    def is_live(self) -> bool:
        return self._buffer is None and not self._is_over

    @property
    def is_dead(self) -> bool:
        """Whether it is of no use to anybody who comes now: it could not start, or its session is gone."""
        return self._is_over or (self._starting.done() and not self.is_live)

    async def stop(self) -> None:
        self._is_over = True
        self._starting.cancel()
        if self._catching_up is not None:
            self._catching_up.cancel()
        await shards.layer().unlisten(self.group, self._listener)

    def end(self, problem: ChatError | None = None) -> None:
        """Serve nobody any more: the session was deleted, or its log cannot be followed."""
        self._is_over = True
        for viewer in tuple(self.viewers):
            self._remove(viewer, problem)

    def _remove(self, viewer: Viewer, problem: ChatError | None = None) -> None:
        self.viewers.discard(viewer)
        viewer.on_removed(problem)

    # --- joining ------------------------------------------------------------------------------------------------------
    async def admit(self, session: ChatSession, after: int | None) -> int:
        """Make sure that a viewer can follow from `after`, or from the state of `session`, a row as just read.

        Returns the number to follow from. Raises `InvalidInput`, `NotFound`, `TooOld`, `Unavailable` and what the
        database raises.
        """
        await asyncio.shield(self._starting)
        if after is None:
            after = session.last_seq
        if after + 1 < session.kept_from:
            raise TooOld
        if max(after, session.last_seq) > self.last and not await asyncio.shield(self.resync()):
            raise NotFound if self._is_over else Unavailable
        if after > self.last:
            raise InvalidInput("That is beyond the end of the log.", fields={"after": "too large"})
        return after

    async def follow(self, viewer: Viewer) -> None:
        """Hand over all after `viewer.seq`, and the drafts; from then on the viewer is told what comes.

        Raises `NotFound`, `TooOld` and what the database raises; a second call goes on where the first one failed.
        """
        while True:
            frames = self._remembered(viewer.seq)
            if frames is None:
                await afailpoint("hub.join.read")
                page = await reading(read_events, self.session_id, viewer.seq)
                await afailpoint("hub.join.page")
                if not page or page[0].seq != viewer.seq + 1:
                    raise TooOld if page else NotFound  # pruned or deleted meanwhile
                # What the hub has not folded yet it will relay itself, without deltas that come too late.
                frames = [frame for frame in page if frame.seq <= self.last]
            elif sum(len(frame.text) for frame in frames) <= GULP:
                break
            self._check(viewer)
            for frame in frames:
                self._tell(viewer, frame)
                await viewer.room()
        # No await from here on: what is put together now is what the viewer follows.
        self._check(viewer)
        for frame in frames:
            self._tell(viewer, frame)
        for delta in self._drafts.whole():
            viewer.on_delta(delta)
        self.viewers.add(viewer)

    def _check(self, viewer: Viewer) -> None:
        """Whoever was let in before the hub was there may be out by now, or have another role. Raises `NotFound`."""
        role = self._roles.get(viewer.reader.user_id)
        if role is None or self._is_over:
            raise NotFound
        viewer.reader = Reader(viewer.reader.user_id, role)

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)

    def _remembered(self, after: int) -> list[Frame] | None:
        """The frames after a number, or None where the ring does not reach back so far."""
        oldest = self._ring[0].seq if self._ring else self.last + 1
        return [frame for frame in self._ring if frame.seq > after] if after + 1 >= oldest else None

    # --- what arrives -------------------------------------------------------------------------------------------------
    def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "event":
            self._hear(Frame.unpack(message["frame"]))
        elif message["type"] == "delta":
            self._hear(Delta.unpack(message["delta"]))
        elif message["type"] == "live":
            self._hear((message["text"], message["sender"]))
        elif message["type"] == "look":
            self._hear(None)

    def _hear(self, heard: Heard) -> None:
        if self._buffer is not None:
            self._buffer.append(heard)
        elif isinstance(heard, Frame):
            self._on_event(heard)
        elif isinstance(heard, Delta):
            self._on_delta(heard)
        elif heard is not None:
            for viewer in self.viewers:
                viewer.on_live(*heard)
        else:
            self.resync()

    def _on_event(self, frame: Frame) -> None:
        if frame.seq > self.last + 1:
            if not self._held:
                asyncio.get_running_loop().call_later(HOLD_S, self._look_at_held)
            self._held[frame.seq] = frame
            return
        if frame.seq == self.last + 1:
            self._accept(frame)
        while (following := self._held.pop(self.last + 1, None)) is not None:
            self._accept(following)

    def _look_at_held(self) -> None:
        self._held = {seq: frame for seq, frame in self._held.items() if seq > self.last}
        if self._held:
            self.resync()

    def _accept(self, frame: Frame) -> None:
        self.last = frame.seq
        self._ring.append(frame)
        if (over := self._drafts.fold(frame)) is not None:
            for viewer in self.viewers:
                viewer.forget(run_id=over.run_id, message_id=over.message_id)
        change = json.loads(frame.text)["data"]["member"] if frame.type.startswith("session.member_") else None
        if change is not None and frame.type == "session.member_added":
            self._set_role(change["user_id"], change["role"])
        for viewer in tuple(self.viewers):
            self._tell(viewer, frame)
        if change is not None and frame.type == "session.member_removed":
            self._take_out(change["user_id"])
        elif frame.type == "session.deleted":
            self.end()

    def _tell(self, viewer: Viewer, frame: Frame) -> None:
        if frame.seq > viewer.seq:
            viewer.seq = frame.seq
            viewer.on_event(frame)

    def _set_role(self, user_id: str, role: str) -> None:
        self._roles[user_id] = role
        for viewer in self.viewers:
            if viewer.reader.user_id == user_id:
                viewer.reader = Reader(user_id, role)

    def _take_out(self, user_id: str) -> None:
        self._roles.pop(user_id, None)
        for viewer in tuple(self.viewers):
            if viewer.reader.user_id == user_id:
                self._remove(viewer)

    def _on_delta(self, delta: Delta) -> None:
        verdict = self._drafts.take(delta)
        if verdict is Verdict.SHOW:
            for viewer in self.viewers:
                viewer.on_delta(delta)
            metrics.DELTAS_DELIVERED.n += len(self.viewers)
            if delta.offset == 0 and self.viewers:
                metrics.display.stop(delta.run_id)
        elif verdict is Verdict.ASK:
            self.resync()
        else:
            metrics.DELTAS_DROPPED.n += 1

    # --- catching up --------------------------------------------------------------------------------------------------
    def resync(self) -> asyncio.Future[bool]:
        """Read the table, and the drafts: one read for all who ask before it begins. Whether it succeeded.

        One that failed is tried again until it succeeds, whoever still waits for it. Await it under a shield.
        """
        if self._asked is None:
            metrics.HUB_RESYNCS.n += 1
            self._asked = asyncio.get_running_loop().create_future()
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.ensure_future(self._catch_up())
        return self._asked

    async def _catch_up(self) -> None:
        clear_contextvars()
        while self._asked is not None:
            asked, self._asked = self._asked, None
            try:
                asked.set_result(not self._is_over and await self._read())
            except Exception as problem:  # whatever it is, what is missing has to be read in the end
                log.warning("catching up with %s failed: %s", self.session_id, type(problem).__name__)
                asked.set_result(False)
                await asyncio.sleep(RETRY_S)
                self.resync()

    async def _read(self) -> bool:
        await afailpoint("hub.catch_up")
        try:
            state = await reading(read_state, self.session_id)
        except NotFound as problem:
            self.end(problem)
            return False
        while self.last < state.last:
            page = await reading(read_events, self.session_id, self.last)
            if not page or page[0].seq > self.last + 1:
                self.end(TooOld() if page else NotFound())  # pruned or deleted before we saw them
                return False
            for frame in page:
                self._on_event(frame)
        for delta in await self._read_drafts(state.runs):
            for viewer in self.viewers:
                viewer.on_delta(delta)
        return True

    async def _read_drafts(self, runs: list[RunningRun]) -> list[Delta]:
        """Take over the drafts of running runs as Redis has them, and return those that changed: without it, none."""
        drafts = promised(runs)
        if not drafts:
            return []
        before = self._drafts.standing()
        try:
            keys = [stream.draft_key(self.session_id, message_id, kind) for (message_id, kind), _ in drafts]
            async with Patience(DRAFTS_S):
                texts: Any = await shards.layer().redis(self.group).mget(keys)
        except (OSError, RedisError):
            return []
        found = []
        for (key, draft), text in zip(drafts, texts, strict=True):
            if text is not None:
                draft.add(text.decode("utf-8", "replace"))
                found.append((key, draft))
        return self._drafts.merge(found, before)

    async def apply(self, frames: Collection[Frame]) -> None:
        """Take frames of this process's own action as if they had arrived, and wait until they were relayed."""
        await asyncio.wait({self._starting})
        for frame in frames:
            self._hear(frame)
        if self.is_live and (self._held or not frames):
            await asyncio.shield(self.resync())
