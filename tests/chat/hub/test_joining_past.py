"""What one who joins is told of the past: from where, how much at once, and what is no longer kept."""

import asyncio

import pytest

from chat import failpoints
from chat.actions import sessions
from chat.database import reading, writing
from chat.errors import InvalidInput, TooOld
from chat.hub import hub as hub_module
from chat.hub import reads
from chat.models import ChatSession
from tests.chat.hub.watching import Room, Watcher, act, act_unheard, until


async def test_after_says_where_to_begin(room: Room) -> None:
    for number in range(3):
        await act(room.talk.answer, f"Question {number}")
    last = await reading(lambda: room.talk.last_seq)
    everything, some, later = await room.join(after=0), await room.join(after=5), await room.join(after=last)
    now = await room.join(after=None)
    assert [len(one.log) for one in (everything, some, later, now)] == [last, last - 5, 0, 0]
    await act(room.talk.post, "And now?")
    await room.agree()
    assert now.log == everything.log[last:] != []


async def test_beyond_the_end_of_the_log_nobody_can_begin(room: Room) -> None:
    watcher = await room.join()
    last = await reading(lambda: room.talk.last_seq)
    for after in (last + 1, 10**15):
        with pytest.raises(InvalidInput):
            await room.join(after=after)
    await act(room.talk.post, "Still here?")
    await room.agree(watcher)


async def test_a_number_that_only_the_table_has_yet_is_not_beyond_the_end(room: Room) -> None:
    await room.join()
    await act_unheard(room.talk.post, "Unheard")
    last = await reading(lambda: room.talk.last_seq)
    await room.join(after=last)
    await room.agree()


async def test_what_is_no_longer_kept_is_too_old(room: Room) -> None:
    for number in range(3):
        await act(room.talk.answer, f"Question {number}")

    def prune() -> None:
        room.talk.session.events.filter(seq__lt=6).delete()
        ChatSession.objects.filter(pk=room.talk.pk).update(kept_from=6)

    await writing(prune)
    try:
        for after in (0, 4):
            with pytest.raises(TooOld):
                await room.join(after=after)
        await room.agree(await room.join(after=5))
    finally:
        # The log is whole no more: what all tests check in the end does not hold for it.
        await writing(sessions.delete_session, room.talk.ada, room.talk.pk)


async def test_what_is_pruned_while_it_is_read_is_too_old_and_no_gap(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "PAGE", 3)
    for number in range(3):
        await act(room.talk.answer, f"Question {number}")

    def prune() -> None:
        room.talk.session.events.filter(seq__lt=9).delete()
        ChatSession.objects.filter(pk=room.talk.pk).update(kept_from=9)

    async def meanwhile() -> None:
        del failpoints.armed["hub.join.page"]
        await writing(prune)

    failpoints.armed["hub.join.page"] = meanwhile
    with pytest.raises(TooOld):
        await room.join(after=0)
    await writing(sessions.delete_session, room.talk.ada, room.talk.pk)


async def test_the_ring_may_run_over_while_the_table_is_read(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RING", 6)
    monkeypatch.setattr(reads, "PAGE", 4)
    await act(room.talk.answer)
    first = await room.join()
    times = 0

    async def meanwhile() -> None:
        nonlocal times
        times += 1
        if times <= 4:
            for number in range(4):
                await act(room.talk.post, f"{times} {number}")
            await until(lambda: first.seq == room.hub.last, "the hub is up to date")

    failpoints.armed["hub.join.read"] = failpoints.armed["hub.join.page"] = meanwhile
    await room.join()
    assert times > 4
    await act(room.talk.post, "The last one")
    await room.agree()


async def test_a_long_log_is_handed_over_in_parts_as_there_is_room(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "GULP", 4000)
    monkeypatch.setattr(reads, "PAGE", 5)

    class Narrow(Watcher):
        given_at_once = 0
        waiting = 0

        async def room(self) -> None:
            self.given_at_once = max(self.given_at_once, len(self.frames) - self.waiting)
            await asyncio.sleep(0.001)
            self.waiting = len(self.frames)

    monkeypatch.setattr(room, "watcher", lambda reader, after: Narrow(reader, str(room.talk.pk), after))
    for _ in range(8):
        await act(room.talk.answer, "A question", "x" * 600)
    pen = await room.start("And?")
    await writing(pen.write, "So far")
    joining = asyncio.ensure_future(room.join())
    for number in range(6):
        await act(room.talk.post, f"Meanwhile {number}")
    watcher = await joining
    assert isinstance(watcher, Narrow) and watcher.given_at_once == 1
    await room.agree()
    await room.shows(pen)
