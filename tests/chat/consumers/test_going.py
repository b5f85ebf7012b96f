"""A client that goes, or is cut off, leaves nothing behind."""

import asyncio

import pytest

from chat import failpoints
from chat.consumers import ChatConsumer
from tests.chat.consumers.sockets import WAIT_S, Socket, leave
from tests.chat.hub.watching import Pen, act, nothing_is_left, until
from tests.inside import Talk


@pytest.mark.parametrize("how", ["disconnect", "cancel"])
@pytest.mark.parametrize("step", ["hub.subscribed", "hub.read", "hub.drafts", "hub.join.read", "hub.join.page", None])
async def test_a_client_that_goes_leaves_nothing_behind(talk: Talk, how: str, step: str | None) -> None:
    """Wherever it was: at a step of subscribing, or in the middle of an answer. The fixture looks for remains."""
    pen = Pen(await act(talk.start))
    reached = asyncio.Event()

    async def stay() -> None:
        reached.set()
        await asyncio.sleep(60)

    socket = Socket(talk.ada)
    await socket.open()
    if step is not None:
        failpoints.armed[step] = stay
        await socket.send("session.subscribe", session_id=str(talk.pk), after=0)
        await asyncio.wait_for(reached.wait(), WAIT_S)
    else:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await act(pen.write, "So far")
    before = asyncio.all_tasks()
    if how == "disconnect":
        await socket.wire.disconnect(timeout=WAIT_S)
    else:  # as daphne does when an application takes too long, or the process ends
        socket.wire.future.cancel()
        await asyncio.wait({socket.wire.future})
    await nothing_is_left(talk)
    await until(
        lambda: not [t for t in before & asyncio.all_tasks() if "chat/" in str(t.get_coro())], "no task is left"
    )


async def test_a_client_that_goes_before_it_was_let_in_leaves_nothing_behind(talk: Talk) -> None:
    socket = Socket(talk.ada)
    await socket.wire.send_input({"type": "websocket.connect"})
    await asyncio.sleep(0)
    socket.wire.future.cancel()
    await asyncio.wait({socket.wire.future})


async def test_a_task_that_fails_takes_the_socket_along(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise AttributeError("a private attribute is gone")

    socket = Socket(talk.ada, app=ChatConsumer.as_asgi(), drained=broken)
    await socket.open()
    await socket.send("ping")
    assert await socket.closed() == 4412
    assert socket.frames[-1]["data"]["code"] == "internal" and socket.frames[-1]["data"]["retry_after_s"] > 0
    await leave(socket)
