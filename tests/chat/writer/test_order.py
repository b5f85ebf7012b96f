"""What waits for a socket is joined and in order, and nothing is sent that is no longer true."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from chat import writer as module
from tests.chat.writer.one_socket import OPENING, Follower, Socket, said


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
