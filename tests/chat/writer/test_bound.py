"""What waits for a socket is bounded, and one that takes nothing is found."""

import asyncio

import pytest

from chat import writer as module
from tests.chat.writer.one_socket import Socket, said


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
