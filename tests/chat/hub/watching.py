"""Who watches a hub in its tests, who writes the answers that it relays, and what is lost on the way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chat import shards, stream
from chat.actions import attempts
from chat.database import reading, writing
from chat.errors import ChatError
from chat.failpoints import armed
from chat.hub import Hub, Viewer, hubs, read_membership
from chat.models import Run, User
from chat.outbox import outbox
from chat.protocol import Delta, Frame, Reader
from tests.fold import Fold, Violation
from tests.inside import Talk, told
from tests.processes import PATIENCE

Row = dict[str, Any]
WAIT_S = 10 * PATIENCE


async def until(holds: Callable[[], Any], what: str, within_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


class Watcher(Viewer):
    """Feeds what it is told to a fold, as a client would, and remembers the first rule that was broken."""

    def __init__(self, reader: Reader, session_id: str, after: int) -> None:
        super().__init__(reader, after)
        self.after = after
        self.fold = Fold(session_id, after=after)
        self.frames: list[Row] = []
        self.live: list[str] = []
        self.violation: Violation | None = None
        self.removed = False
        self.reason: ChatError | None = None

    def on_event(self, frame: Frame) -> None:
        self._feed(json.loads(frame.text_for(self.reader)))

    def on_delta(self, delta: Delta) -> None:
        self._feed(json.loads(delta.as_text()))

    def on_live(self, text: str, sender: str) -> None:
        self.live.append(text)

    def on_removed(self, problem: ChatError | None) -> None:
        self.removed, self.reason = True, problem

    def _feed(self, frame: Row) -> None:
        self.frames.append(frame)
        if self.removed:
            self.violation = self.violation or Violation(f"told after its end: {frame}")
        try:
            self.fold.feed(frame)
        except Violation as violation:
            self.violation = self.violation or violation

    @property
    def log(self) -> list[Row]:
        return [frame for frame in self.frames if frame["seq"] is not None]

    @property
    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    def deltas(self, message_id: object) -> list[Row]:
        return [f["data"] for f in self.frames if f["seq"] is None and f["data"].get("message_id") == str(message_id)]


class Pen:
    """Writes an answer as a worker does: by the script that checks the fence, keeps the draft and publishes."""

    def __init__(self, run: Run, kind: str = stream.MESSAGE) -> None:
        self.run = run
        self.kind = kind
        self.text = ""
        self._group = stream.session_group(run.session_id)

    @property
    def message_id(self) -> str:
        return str(self.run.answer_id)

    def delta(self, text: str, offset: int) -> Delta:
        opening = {"role": "assistant", "author": dict(self.run.agent.as_author()), "kind": "text"}
        return Delta(
            self.kind, str(self.run.session_id), str(self.run.pk), self.message_id, self.run.attempt, offset, text,
            opening if offset == 0 else None,
        )  # fmt: skip

    def write(self, text: str, *, anew: bool = False, lost: bool = False) -> Delta:
        """Say more, or say all of it `anew`. What is `lost` is kept in Redis and published to nobody."""
        offset = 0 if anew or not self.text else len(self.text)
        size = len(self.text[:offset].encode())
        self.text = self.text[:offset] + text
        delta = self.delta(text, offset)
        keys = [
            stream.fence_key(self.run.session_id, self.run.pk),
            stream.draft_key(self.run.session_id, self.message_id, self.kind),
        ]
        channel = "nowhere" if lost else shards.channel_of(self._group)
        client = shards.client(shards.shard_of(self._group))
        args = [self.run.attempt, size, "1" if offset == 0 else "0", text.encode(), channel]
        result = client.eval(stream.APPEND, 2, *keys, *args, stream.delta_message(delta), stream.DRAFT_TTL_MS)
        assert result == 1, f"the script refused: {result}"
        return delta

    def finish(self) -> Run:
        return attempts.finish_run(self.run, self.text or "…", attempts.Spending("demo", 1, 2))


def publish(session_id: object, message: bytes) -> None:
    """What a late, repeated or wrong message is: something on the channel."""
    group = stream.session_group(session_id)
    shards.client(shards.shard_of(group)).publish(shards.channel_of(group), message)


def as_message(frame: Frame) -> bytes:
    packed: bytes = shards.layer().serialize({"type": "event", "frame": frame.pack()})
    return packed


@contextmanager
def lost() -> Iterator[None]:
    """Lose what commits publish, and nobody notices."""
    told()
    outbox._broken_until[0] = time.monotonic() + 1000
    try:
        yield
    finally:
        told()
        outbox._missed.clear()
        outbox.recover()


async def act(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do something in a database thread, and wait until it is published."""
    result = await writing(call, *args, **kwargs)
    await reading(told)
    return result


async def act_unheard(call: Callable[..., Any], *args: Any) -> Any:
    """Do something that nobody is told of."""

    def unheard() -> Any:
        with lost():
            return call(*args)

    return await writing(unheard)


class Room:
    """One talk, and all who watch it."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.watchers: dict[Watcher, Hub] = {}

    async def join(self, user: User | None = None, after: int | None = 0) -> Watcher:
        session, reader = await reading(read_membership, user or self.talk.ada, self.talk.pk)
        watcher = self.watcher(reader, session.last_seq if after is None else after)
        self.watchers[watcher] = await hubs.join(watcher, session, after)
        return watcher

    def watcher(self, reader: Reader, after: int) -> Watcher:
        return Watcher(reader, str(self.talk.pk), after)

    def leave(self, watcher: Watcher) -> None:
        hubs.leave(self.watchers.pop(watcher), watcher)

    @property
    def hub(self) -> Hub:
        return hubs._hubs[self.talk.pk]

    async def start(self, content: str = "Hello?") -> Pen:
        """Have something said, and its answer begun."""
        return Pen(await act(self.talk.start, content))

    async def agree(self, *watchers: Watcher) -> None:
        """Check that watchers were told everything of the log, once and in order, and broke no rule."""
        last = await reading(lambda: self.talk.last_seq)
        for watcher in watchers or self.watchers:
            await until(
                lambda watcher=watcher: watcher.violation or watcher.seq >= last,  # type: ignore[misc]
                f"seq {last} arrives",
            )
            if watcher.violation:
                raise watcher.violation
            table = await reading(self.talk.log, watcher.after)
            assert watcher.log == [json.loads(event.as_frame().text_for(watcher.reader)) for event in table]

    async def shows(self, pen: Pen, *watchers: Watcher) -> None:
        """Check that watchers are shown all of an unfinished answer."""
        for watcher in watchers or self.watchers:
            await until(
                lambda watcher=watcher: watcher.violation or watcher.fold.draft(str(pen.run.pk)) == pen.text,  # type: ignore[misc]
                f"{pen.text!r} is shown",
            )
            if watcher.violation:
                raise watcher.violation


@asynccontextmanager
async def room_of(talk: Talk) -> AsyncIterator[Room]:
    """Watch a talk; afterwards nothing may be left of it."""
    room = Room(talk)
    try:
        yield room
    finally:
        armed.clear()
        for watcher in tuple(room.watchers):
            room.leave(watcher)
        await nothing_is_left(talk)


async def nothing_is_left(talk: Talk) -> None:
    channel = shards.channel_of(stream.session_group(talk.pk))
    layer = shards.layer()._get_layer()
    shard = layer.shard_of(stream.session_group(talk.pk))
    await until(lambda: talk.pk not in hubs._hubs and not hubs._stopping, "the hub has ended")
    assert channel not in layer._listeners
    assert not {channel} & (shard._wanted | shard._confirmed | set(shard._waiting))
