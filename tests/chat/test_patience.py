"""A time limit that only the other side can use up."""

import asyncio
import socket
import time

import pytest

from chat.patience import STOOD_S, Patience
from tests.processes import PATIENCE


async def test_what_does_not_come_in_time_is_given_up() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.05):
            await asyncio.Event().wait()
    assert time.monotonic() - begun >= 0.05


async def test_what_comes_in_time_is_taken_and_leaves_no_timer() -> None:
    patience = Patience(0.05)
    async with patience:
        await asyncio.sleep(0)
    assert patience._timer.cancelled()
    await asyncio.sleep(0.1)


async def test_an_answer_that_came_while_the_loop_stood_is_taken() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    def stand() -> None:
        theirs.send(b"!")
        time.sleep(0.2)

    async with Patience(0.05):
        asyncio.get_running_loop().call_soon(stand)
        assert await reader.readexactly(1) == b"!"
    writer.close()
    theirs.close()


async def test_after_the_loop_stood_it_ends_all_the_same() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.05):
            asyncio.get_running_loop().call_soon(time.sleep, 0.2)
            await asyncio.Event().wait()
    assert time.monotonic() - begun >= 0.2 + STOOD_S


async def test_it_ends_on_a_loop_that_is_always_late() -> None:
    async def be_busy() -> None:
        while True:
            time.sleep(1.5 * STOOD_S)  # noqa: ASYNC251 - it is what is tested
            await asyncio.sleep(0)

    busy = asyncio.ensure_future(be_busy())
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.05):
            async with asyncio.timeout(20 * PATIENCE):
                await asyncio.Event().wait()
    busy.cancel()
    assert time.monotonic() - begun < 10 * PATIENCE


async def test_other_failures_pass_and_a_cancellation_is_none_of_its_own() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Patience(1):
            raise ZeroDivisionError
    task = asyncio.ensure_future(_waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _waiting() -> None:
    async with Patience(1):
        await asyncio.Event().wait()
