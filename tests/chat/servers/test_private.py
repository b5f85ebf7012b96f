"""What is private to Twisted and to uvicorn, and read all the same: where it is renamed, these fail."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from chat import inbound, servers


class Reactor:
    def addWriter(self, descriptor: object) -> None:  # noqa: N802 - Twisted's name
        pass


def test_twisted_still_has_what_the_backlog_is_read_from() -> None:
    """Where they are renamed, a slow client is bounded by what it says and no longer by what it reads."""
    transport = FileDescriptor(Reactor())  # type: ignore[arg-type]
    transport.connected = 1
    assert all(hasattr(transport, name) for name in servers.BACKLOG)
    assert inbound.backlog(transport) == 0
    transport.write(b"x" * 1000)
    assert inbound.backlog(transport) == 1000
    transport.writeSomeData = lambda data: 300  # type: ignore[method-assign, assignment]
    transport.doWrite()
    assert inbound.backlog(transport) == 700
    transport.write(b"x" * 10)
    assert inbound.backlog(transport) == 710
    assert inbound.backlog(None) == 0


async def scope_of(send: Callable[..., Awaitable[None]], **scope: Any) -> tuple[dict[str, Any], Any, Any]:
    seen: list[Any] = []

    async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.extend((scope, receive, send))

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.receive", "text": ""}

    await servers.aware(inner)({"type": "websocket", **scope}, receive, send)
    return seen[0], seen[1], seen[2]


async def test_where_a_transport_hides_its_backlog_what_left_since_the_client_spoke_is_bounded() -> None:
    from functools import partial

    class Hidden:
        transport = object()  # TLS, or another Twisted

    async def reply(daphnes: Hidden, message: dict[str, Any]) -> None:
        pass

    scope, receive, send = await scope_of(partial(reply, Hidden()))
    for _ in range(9):
        await asyncio.wait_for(scope["chat.drained"](), 1)
        await send({"type": "websocket.send", "text": "x" * 1024 * 1024})
    waiting = asyncio.ensure_future(scope["chat.drained"]())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await receive()
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(scope["chat.drained"](), 1)


def test_uvicorn_still_has_what_texts_are_written_past() -> None:
    """Where they are renamed, each frame goes through all its layers, and takes a system call of its own."""
    config = Config(app=lambda *_: None, ws="websockets-sansio")
    config.load()
    socket = WebSocketsSansIOProtocol(config, ServerState(), {}, asyncio.new_event_loop())
    assert all(hasattr(socket, name) for name in servers.UVICORNS)


async def test_a_server_that_makes_senders_wait_is_left_alone() -> None:
    async def send(message: dict[str, Any]) -> None:
        pass

    scope, _, inner_send = await scope_of(send)
    assert inner_send is send
    await asyncio.wait_for(scope["chat.drained"](), 1)
    scope, _, _ = await scope_of(send, type="http")
    assert "chat.drained" not in scope


def test_a_process_without_a_reactor_watches_no_shutdown() -> None:
    code = "import sys; from chat import servers; servers.watch_shutdown(); print('twisted' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
