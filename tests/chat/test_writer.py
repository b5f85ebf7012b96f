"""The queue of one socket: what waits is joined, bounded and in order, and nothing is sent that is no longer true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from chat import writer as module
from chat.protocol import Delta
from chat.writer import Writer

OPENING = {"role": "assistant", "author": {"name": "assistant"}, "kind": "text"}


class Follower:
    def __init__(self) -> None:
        self.written = 0


class Socket:
    """A server's side of one socket: takes frames when the test lets it, and remembers them."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.texts: list[str] = []
        self.calls: list[int] = []  # how many frames left in each
        self.started_again = 0
        self.is_full = False
        self.now = 1000.0
        self.writer = Writer(self._send, self._drained, self._start_again, clock=lambda: self.now)
        self.ada = Follower()
        self._work = asyncio.ensure_future(self.writer.work())

    async def _send(self, texts: Sequence[str]) -> None:
        self.calls.append(len(texts))
        self.texts += texts

    async def _drained(self) -> None:
        await self.open.wait()

    def _start_again(self) -> None:
        self.started_again += 1

    async def settle(self) -> list[str]:
        """Let everything out that waits."""
        self.open.set()
        await asyncio.wait_for(self.writer.idle.wait(), 10)
        self.open.clear()
        texts, self.texts = self.texts, []
        return texts

    async def come_to_the_door(self) -> None:
        """Let the task take note of the queue, so that it stands at the closed door."""
        await asyncio.sleep(0)

    def delta(self, offset: int, text: str, message_id: str = "m1", run_id: str = "r1") -> Delta:
        delta = Delta("message.delta", "s", run_id, message_id, 1, offset, text, OPENING if offset == 0 else None)
        self.writer.put_delta(delta, self.ada)
        return delta

    def fact(self, seq: int, run_id: str | None = None, text: str = "") -> None:
        self.writer.put_fact(text or f"fact {seq}", self.ada, seq, run_id)


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    made = Socket()
    yield made
    made._work.cancel()
    assert made.writer._size == sum(item.size for item in made.writer._queue)


def said(texts: list[str]) -> list[Any]:
    """What was sent: deltas as (offset, text), anything else as it is."""
    return [_piece(json.loads(text)["data"]) if text.startswith("{") else text for text in texts]


def _piece(data: dict[str, Any]) -> tuple[int, str]:
    return data["offset"], data["text"]


async def test_deltas_join_while_the_socket_is_busy(socket: Socket) -> None:
    for offset, text in enumerate("abc"):
        socket.delta(offset, text)
    assert said(await socket.settle()) == [(0, "abc")]
    socket.delta(3, "d")
    socket.delta(4, "e")
    assert said(await socket.settle()) == [(3, "de")]


async def test_the_joined_delta_of_a_beginning_tells_who_writes(socket: Socket) -> None:
    socket.delta(0, "a")
    socket.delta(1, "b")
    [text] = await socket.settle()
    assert json.loads(text)["data"] == {"message_id": "m1", "attempt": 1, "offset": 0, "text": "ab", **OPENING}


async def test_a_delta_that_waits_alone_is_the_one_string_of_all_sockets(socket: Socket) -> None:
    other = Socket()
    delta = socket.delta(0, "a")
    other.writer.put_delta(delta, other.ada)
    [one], [another] = await socket.settle(), await other.settle()
    assert one is another is delta.as_text()
    other._work.cancel()


async def test_joining_does_not_change_what_others_are_sent(socket: Socket) -> None:
    other = Socket()
    for offset, text in enumerate("ab"):
        delta = socket.delta(offset, text)
        other.writer.put_delta(delta, other.ada)
        if not offset:
            assert said(await other.settle()) == [(0, "a")]
    assert said(await socket.settle()) == [(0, "ab")]
    assert said(await other.settle()) == [(1, "b")]
    other._work.cancel()


async def test_messages_do_not_mix(socket: Socket) -> None:
    socket.delta(0, "a", "m1")
    socket.delta(0, "x", "m2", "r2")
    socket.delta(1, "b", "m1")
    socket.delta(1, "y", "m2", "r2")
    assert said(await socket.settle()) == [(0, "ab"), (0, "xy")]


async def test_a_durable_frame_of_the_same_run_ends_a_slot_and_one_of_another_does_not(socket: Socket) -> None:
    socket.delta(0, "a")
    socket.fact(1, run_id="another")
    socket.fact(2, run_id=None)
    socket.delta(1, "b")
    socket.fact(3, run_id="r1")
    socket.delta(2, "c")
    assert said(await socket.settle()) == [(0, "ab"), "fact 1", "fact 2", "fact 3", (2, "c")]


async def test_offset_0_replaces_what_waits(socket: Socket) -> None:
    socket.delta(0, "wrong")
    socket.delta(5, "er")
    socket.delta(0, "anew")
    socket.delta(4, "!")
    assert said(await socket.settle()) == [(0, "anew!")]


async def test_what_is_on_its_way_is_joined_no_more(socket: Socket) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(texts: Sequence[str]) -> None:
        reached.set()
        await go_on.wait()
        socket.texts += texts

    socket.writer._send = slowly
    socket.delta(0, "a")
    socket.open.set()
    await asyncio.wait_for(reached.wait(), 10)
    socket.delta(1, "b")
    go_on.set()
    assert said(await socket.settle()) == [(0, "a"), (1, "b")]


async def test_the_deltas_of_what_is_over_are_dropped_wherever_they_stand(socket: Socket) -> None:
    socket.delta(0, "a", "m1", "r1")
    socket.fact(1, run_id="r1")  # the slot before it is ended, and still waits
    socket.delta(1, "b", "m1", "r1")
    socket.delta(0, "x", "m2", "r2")
    socket.writer.forget(run_id="r1")
    socket.fact(2, run_id="r1")
    assert said(await socket.settle()) == ["fact 1", (0, "x"), "fact 2"]
    socket.delta(0, "a", "m1", "r1")
    socket.fact(3, run_id="r1")
    socket.delta(0, "x", "m2", "r1")
    socket.writer.forget(message_id="m1")
    socket.delta(1, "y", "m2", "r1")
    assert said(await socket.settle()) == ["fact 3", (0, "xy")]


async def test_after_forgetting_a_message_begins_a_new_slot(socket: Socket) -> None:
    socket.delta(0, "a")
    socket.writer.forget(message_id="m1")
    socket.delta(0, "anew")
    assert said(await socket.settle()) == [(0, "anew")]


async def test_all_of_one_who_no_longer_follows_is_dropped_and_no_answer(socket: Socket) -> None:
    ben = Follower()
    socket.writer.put_answer("ok 1")
    socket.fact(1)
    socket.delta(0, "a")
    socket.writer.put_live("typing", socket.ada)
    socket.writer.put_fact("ben's", ben, 7, None)
    socket.writer.drop(socket.ada)
    socket.writer.put_answer("ok 2")
    assert said(await socket.settle()) == ["ok 1", "ben's", "ok 2"]
    assert (socket.ada.written, ben.written) == (0, 7)


async def test_order_is_kept(socket: Socket) -> None:
    expected = []
    for number in range(200):
        if number % 3:
            socket.fact(number)
            expected.append(f"fact {number}")
        else:
            socket.writer.put_answer(f"answer {number}")
            expected.append(f"answer {number}")
        if number % 50 == 0:
            await socket.come_to_the_door()
    assert await socket.settle() == expected
    assert socket.ada.written == 199


async def test_what_waits_leaves_together_up_to_a_size(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER_MAX", 100)
    for number in range(9):
        socket.fact(number, text="x" * 40)
    socket.fact(9, text="x" * 400)
    socket.fact(10, text="x")
    assert len(await socket.settle()) == 11
    assert socket.calls == [2, 2, 2, 2, 1, 1, 1], "what is larger than that goes alone"


async def test_what_was_written_is_known_only_after_it_was_sent(socket: Socket) -> None:
    socket.fact(1)
    socket.fact(2)
    await socket.come_to_the_door()
    assert socket.ada.written == 0
    await socket.settle()
    assert socket.ada.written == 2


# --- the bound --------------------------------------------------------------------------------------------------------


async def test_beyond_the_bound_nothing_that_is_relayed_is_taken_and_all_is_begun_again_once(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 1000)
    socket.writer.put_answer("ok 1")
    for seq in range(1, 20):
        socket.fact(seq, text=f"{seq:100}")
    socket.delta(0, "not any more")
    socket.writer.put_live("typing", socket.ada)
    socket.writer.put_answer("ok 2")
    assert socket.writer.is_behind and socket.started_again == 0
    texts = await socket.settle()
    assert [text.strip() for text in texts] == ["ok 1", *"123456789", "ok 2"]
    assert socket.started_again == 1 and not socket.writer.is_behind
    assert socket.ada.written == 9
    socket.fact(10)
    assert await socket.settle() == ["fact 10"]


async def test_what_is_small_does_not_slip_in_behind_what_was_refused(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 100)
    socket.fact(1, text="x" * 60)
    socket.fact(2, text="y" * 60)
    socket.fact(3, text="z")
    assert await socket.settle() == ["x" * 60]
    assert (socket.ada.written, socket.started_again) == (1, 1)


async def test_whoever_begins_again_is_heard_at_once(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 100)

    def again() -> None:
        assert not socket.writer.is_behind
        socket.fact(2, text="again")

    socket.writer._start_again = again
    for seq in (1, 2):
        socket.fact(seq, text="x" * 60)
    assert await socket.settle() == ["x" * 60, "again"]
    assert socket.ada.written == 2


async def test_a_slot_does_not_grow_beyond_the_bound(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 1000)
    for number in range(20):
        socket.delta(number * 100, "x" * 100)
    assert socket.writer.is_behind
    assert said(await socket.settle()) == [(0, "x" * 1000)]
    assert socket.started_again == 1


async def test_one_that_fell_behind_is_still_not_sent_what_is_over(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 100)
    socket.delta(0, "x" * 60)
    socket.fact(1, text="y" * 60)
    socket.writer.forget(run_id="r1")
    assert await socket.settle() == []
    assert socket.started_again == 1


async def test_what_is_larger_than_the_bound_passes_alone(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, it would be as large again the next time, for ever."""
    monkeypatch.setattr(module, "QUEUED_MAX", 1000)
    socket.fact(1, text="x" * 1001)
    assert not socket.writer.is_behind
    assert await socket.settle() == ["x" * 1001]
    assert (socket.ada.written, socket.started_again) == (1, 0)


async def test_the_size_is_what_waits_whatever_was_joined_replaced_or_dropped(socket: Socket) -> None:
    socket.delta(0, "x" * 100)
    socket.delta(100, "y" * 50)
    assert socket.writer._size == 150
    socket.delta(0, "z")
    assert socket.writer._size == 1
    socket.fact(1, run_id="r1", text="f" * 10)
    socket.delta(1, "12")
    assert socket.writer._size == 13
    socket.writer.forget(run_id="r1")
    assert socket.writer._size == 10
    await socket.settle()
    assert socket.writer._size == 0


async def test_there_is_room_again_when_what_was_queued_is_out(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 100)
    await asyncio.wait_for(socket.writer.room(), 1)
    socket.fact(1, text="x" * 101)
    waiting = asyncio.ensure_future(socket.writer.room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await socket.settle()
    await asyncio.wait_for(waiting, 1)


async def test_a_client_that_takes_nothing_for_30_s_is_stalled(socket: Socket) -> None:
    socket.now += 1000
    assert not socket.writer.is_stalled  # nothing waits
    socket.fact(1)
    await socket.come_to_the_door()
    socket.now += 29
    assert not socket.writer.is_stalled
    socket.now += 2
    assert socket.writer.is_stalled
    await socket.settle()
    assert not socket.writer.is_stalled
    socket.now += 1000
    socket.fact(2)
    assert not socket.writer.is_stalled  # the clock starts with what waits


async def test_one_that_takes_a_frame_now_and_then_is_not_stalled(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER_MAX", 1)
    gate = asyncio.Semaphore(0)
    socket.writer._drained = gate.acquire  # type: ignore[assignment]
    for seq in range(1, 6):
        socket.fact(seq)
    for _ in range(4):
        socket.now += 20
        gate.release()
        await asyncio.sleep(0.001)
        assert not socket.writer.is_stalled
    socket.now += 31
    assert socket.writer.is_stalled


async def test_one_that_asks_more_than_it_reads_is_stalled(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 1000)
    for number in range(20):
        socket.writer.put_answer(f"pong {number} " + "x" * 100)
    assert socket.writer.is_stalled
    assert len(await socket.settle()) == 20  # answers are kept all the same


# --- at once ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def direct(socket: Socket) -> Socket:
    """A socket whose server takes what is written, without anybody waiting, until it is full."""

    def write(texts: Sequence[str]) -> bool:
        if socket.is_full:
            return False
        socket.texts += texts
        return True

    socket.writer._write = write
    return socket


async def test_what_comes_after_a_silence_is_sent_before_the_call_returns(direct: Socket) -> None:
    direct.fact(1)
    direct.now += 1
    direct.delta(0, "a")
    direct.now += 1
    direct.fact(2)
    assert said(direct.texts) == ["fact 1", (0, "a"), "fact 2"]
    assert direct.ada.written == 2
    assert direct.writer.idle.is_set()


async def test_a_delta_that_was_sent_at_once_is_joined_by_nothing(direct: Socket) -> None:
    direct.delta(0, "a")
    direct.delta(1, "b")
    direct.delta(2, "c")
    assert said(await direct.settle()) == [(0, "a"), (1, "bc")]


async def test_in_a_burst_only_the_first_leaves_at_once_and_the_others_together(direct: Socket) -> None:
    for seq in range(1, 6):
        direct.fact(seq)
    assert direct.texts == ["fact 1"]
    assert await direct.settle() == [f"fact {seq}" for seq in range(1, 6)]
    assert direct.calls == [4]


async def test_nothing_overtakes_what_waits(direct: Socket) -> None:
    direct.is_full = True
    direct.fact(1)
    direct.is_full = False
    direct.now += 1
    direct.fact(2)
    await direct.come_to_the_door()
    direct.now += 1
    direct.fact(3)
    assert direct.texts == []
    assert await direct.settle() == ["fact 1", "fact 2", "fact 3"]


async def test_after_the_end_nothing_is_sent_at_once(direct: Socket) -> None:
    direct.writer.end()
    direct.now += 1
    direct.fact(1)
    assert direct.texts == []
