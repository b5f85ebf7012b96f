"""A session lives at random while its wire drops, repeats, delays and reorders: every viewer still sees one true story.

CHAT_TEST_SEED repeats a failing run.
"""

import asyncio
import random

import pytest
import redis as redis_py

from chat import stream
from chat.actions import attempts, sessions
from chat.database import reading, writing
from chat.hub import hub as hub_module
from chat.hub import reads
from chat.outbox import outbox
from chat.protocol.commands import SessionChange
from tests.chat.hub.watching import Pen, Room, act_unheard, as_message, publish

STEPS = 120


class BadWire:
    """Publishes what it is given: now, later, twice or never."""

    def __init__(self, room: Room, dice: random.Random) -> None:
        self.room = room
        self.dice = dice

    def send(self, message: bytes) -> None:
        chance = self.dice.random()
        if chance < 0.12:
            return
        for _ in range(2 if chance > 0.85 else 1):
            delay_s = self.dice.choice([0, 0, 0, 0.002, 0.01, 0.03, 0.06])
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, publish, self.room.talk.pk, message)
            else:
                publish(self.room.talk.pk, message)


class Life:
    """What can happen in a session, one thing after another; each is told over the bad wire alone."""

    def __init__(self, room: Room, dice: random.Random) -> None:
        self.room, self.dice, self.wire = room, dice, BadWire(room, dice)
        self.talk = room.talk
        self.pen: Pen | None = None
        self.waiting = 0
        self.told = 0
        self.done: list[str] = []

    async def step(self) -> None:
        can = [self.post, self.rename, self.look]
        if self.pen is not None:
            # Nothing is written anew here: of two texts at one offset nobody could tell which is the later one.
            can += [self.write] * 12 + [self.finish, self.cancel, self.put_back]
        elif self.waiting:
            can += [self.start] * 6
        can += [self.join] * 2
        if len(self.room.watchers) > 4:
            can += [self.leave] * 2
        doing = self.dice.choice(can)
        self.done.append(doing.__name__)
        await doing()
        await self.tell()
        if self.dice.random() < 0.3:
            await asyncio.sleep(self.dice.choice([0, 0.001, 0.005, 0.025]))

    async def tell(self) -> None:
        for event in await reading(self.talk.log, self.told):
            self.wire.send(as_message(event.as_frame()))
            self.told = event.seq

    async def post(self) -> None:
        await act_unheard(self.talk.post, f"Question {len(self.done)}")
        self.waiting += 1

    async def rename(self) -> None:
        title = f"Title {len(self.done)}"
        await act_unheard(sessions.update_session, self.talk.ada, self.talk.pk, SessionChange(title=title))

    async def look(self) -> None:
        await asyncio.sleep(0.03)

    async def start(self) -> None:
        self.pen = Pen(await act_unheard(self.talk.claim))
        self.waiting -= 1
        await self.fence(self.pen.run.attempt)

    async def fence(self, attempt: int) -> None:
        """What was lost with the rest, and would make the script refuse."""
        assert self.pen is not None
        await writing(stream.raise_fence, self.talk.pk, self.pen.run.pk, attempt)
        await reading(outbox.flush, 10)

    async def write(self) -> None:
        assert self.pen is not None
        delta = await writing(self.pen.write, self.dice.choice(["word ", "Grüße ", "🦉 ", "x" * 40]), lost=True)
        self.wire.send(stream.delta_message(delta))

    async def finish(self) -> None:
        assert self.pen is not None
        await act_unheard(self.pen.finish)
        self.pen = None

    async def cancel(self) -> None:
        assert self.pen is not None
        await act_unheard(self.talk.cancel, self.pen.run.pk)
        await self.fence(self.pen.run.attempt + 1)
        self.pen = None

    async def put_back(self) -> None:
        assert self.pen is not None
        await act_unheard(attempts.put_back, self.pen.run, "drained")
        await self.fence(self.pen.run.attempt + 1)
        self.pen = None
        self.waiting += 1

    async def join(self) -> None:
        last = await reading(lambda: self.talk.last_seq)
        await self.room.join(
            self.dice.choice([self.talk.ada, self.talk.ben]), self.dice.choice([0, 0, last // 2, last])
        )

    async def leave(self) -> None:
        self.room.leave(self.dice.choice(sorted(self.room.watchers, key=id)))


@pytest.mark.parametrize("life", range(3))
async def test_every_viewer_sees_one_true_story_whatever_the_wire_does(
    room: Room, dice: random.Random, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    monkeypatch.setattr(hub_module, "RING", dice.choice([4, 16, 256]))
    monkeypatch.setattr(reads, "PAGE", dice.choice([3, 50]))
    living = Life(room, dice)
    for _ in range(STEPS):
        await living.step()
        if dice.random() < 0.02:
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        for watcher in room.watchers:
            assert watcher.violation is None, (watcher.violation, living.done)
    # The wire is well again: one more thing each, and all that was lost is found.
    await asyncio.sleep(0.1)
    if living.pen is not None:
        delta = await writing(living.pen.write, "the end", lost=True)
        publish(room.talk.pk, stream.delta_message(delta))
        await living.room.shows(living.pen)
    await living.rename()
    last = (await reading(room.talk.log))[-1]
    publish(room.talk.pk, as_message(last.as_frame()))
    await room.agree()
