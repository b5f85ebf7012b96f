"""What comes after a silence is sent at once, where a server takes it."""

from collections.abc import Sequence

import pytest

from tests.chat.writer.one_socket import Socket, said


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
