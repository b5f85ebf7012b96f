"""Sockets on daphne and on uvicorn: slow clients, lost clients, close codes, and going down."""

import asyncio
import contextlib
import json
import signal
import socket as sockets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chat import servers
from tests.chat.servers.web import WAIT_S, Web, fill, in_thread
from tests.fold import Fold
from tests.processes import PATIENCE, eventually
from tests.stack import Stack
from tests.wire import Client, Person, Refused


@asynccontextmanager
async def slow_client(web: Web, person: Person, session_id: str, after: int = 0) -> AsyncIterator[ClientConnection]:
    """One that follows a session and reads only when the test does, through a small buffer."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 16 * 1024)
    raw.connect(("127.0.0.1", web.port))
    raw.setblocking(False)
    headers = {"Authorization": f"Bearer {person.token}"}
    options: dict[str, Any] = {"max_queue": 1, "max_size": None, "ping_interval": None, "compression": None}
    connection = await connect(
        web.url.replace("http", "ws") + "/ws/", sock=raw, additional_headers=headers, close_timeout=1, **options
    )
    try:
        assert json.loads(await connection.recv())["type"] == "connection.ready"
        await tell(connection, "session.subscribe", session_id=session_id, after=after)
        yield connection
    finally:
        connection.transport.abort()


async def tell(connection: ClientConnection, kind: str, **data: Any) -> None:
    await connection.send(json.dumps({"type": kind, "ref": kind, "data": data}))


async def frames_until(connection: ClientConnection, holds: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    frames = []
    while True:
        frame = json.loads(await asyncio.wait_for(connection.recv(), WAIT_S))
        frames.append(frame)
        if holds(frame):
            return frames


# --- slow clients -----------------------------------------------------------------------------------------------------


async def test_a_slow_reader_goes_on_where_it_was_and_costs_little_meanwhile(
    stack: Stack, web: Web, ada: Person
) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        async with slow_client(web, ada, session_id) as slow:
            seen = await frames_until(slow, lambda frame: frame["seq"] == 1)
            before = web.text(since_start=False).count("fell behind")
            await in_thread(fill, stack, session_id, 1500)
            said = await client.post(f"/api/sessions/{session_id}/messages/", {"content": "It reads them all now"})
            await asyncio.sleep(0.5)  # it reads nothing, and is handed 15 MB
            await tell(slow, "typing", session_id=session_id, active=False)
            await tell(slow, "ping")
            seen += await frames_until(slow, lambda frame: frame["run_id"] == said["run_id"])
            while not {"typing", "ping"} <= {frame.get("ref") for frame in seen}:
                seen += await frames_until(slow, lambda frame: frame.get("ref"))
        fold = Fold(session_id)
        for frame in seen:
            if frame["session_id"] == session_id:
                fold.feed(frame)
        assert fold.last_seq > 1501
        assert web.text(since_start=False).count("fell behind") > before, "there was enough to fall behind"
        assert web.holds()["largest_backlog"] <= servers.BACKLOG_MAX + 64 * 1024


async def test_a_long_past_reaches_a_slow_reader_too(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await in_thread(fill, stack, session_id, 1000)
        async with slow_client(web, ada, session_id) as slow:
            await asyncio.sleep(0.2)
            await tell(slow, "ping")  # is answered, though most of the past still waits
            seen = await frames_until(slow, lambda frame: frame["type"] == "pong")
            while seen[-1]["seq"] != 1001:
                seen += await frames_until(slow, lambda frame: frame["seq"] is not None)
        assert [frame["seq"] for frame in seen if frame["seq"]] == list(range(1, 1002))
        assert web.holds()["largest_backlog"] <= servers.BACKLOG_MAX + 64 * 1024


async def test_one_that_never_reads_is_dropped(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        async with slow_client(web, ada, session_id) as slow:
            await frames_until(slow, lambda frame: frame["seq"] == 1)
            await in_thread(fill, stack, session_id, 1000)
            await client.post(f"/api/sessions/{session_id}/messages/", {"content": "It reads them all now"})
            await in_thread(eventually, lambda: web.holds()["viewers"] == 0, "it is given up", WAIT_S)
        # The others are well.
        fold = await client.subscribe(session_id)
        await client.until(lambda: fold.last_seq >= 1003, "everything arrives")


async def test_a_client_that_vanishes_in_the_middle_leaves_nothing_behind(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await in_thread(fill, stack, session_id, 300)
        for wait_s in (0.0, 0.005, 0.02, 0.1):
            async with slow_client(web, ada, session_id):
                await asyncio.sleep(wait_s)
    await in_thread(web.lets_go)
    channels = stack.redis.client().pubsub_channels("asgi__group__*")
    assert channels == []
    assert "Traceback" not in web.text(), web.tail()


# --- the door ---------------------------------------------------------------------------------------------------------


async def test_refused_sockets_are_closed_with_their_codes(web: Web, ada: Person) -> None:
    nobody = Client([web.url], Person("", "", "nonsense", ""))
    stranger = Client([web.url], ada, origin="https://elsewhere.test")
    for client, code, close_code in ((nobody, "not_authenticated", 4401), (stranger, "forbidden_origin", 4403)):
        with pytest.raises(Refused, match=code):
            await client.connect()
        assert client.closes == [close_code]
    open_ones = [Client([web.url], ada) for _ in range(5)]
    for client in open_ones:
        await client.connect()
    one_more = Client([web.url], ada)
    with pytest.raises(Refused, match="too_many_connections"):
        await one_more.connect()
    assert one_more.closes == [4429]
    for _ in range(100):
        await open_ones[0].send_raw("nonsense")
    assert await open_ones[0].closed_with() == 4413
    for client in open_ones:
        await client.close()


async def test_a_user_who_is_made_inactive_is_shown_out(stack: Stack, web: Web, ada: Person) -> None:
    client = Client([web.url], ada)
    await client.connect()
    stack.ask("User.objects.filter(pk=who).update(is_active=False)", who=ada.user_id)
    assert await client.closed_with() == 4401
    await client.close()


async def test_a_deleted_key_closes_its_socket(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as owner:
        made = await owner.post("/api/api-keys/", {"name": "A program"})
        program = Client([web.url], replace(ada, token=made["key"]), by="subprotocol")
        await program.connect()
        assert program.hello and program.hello["data"]["user"]["user_id"] == ada.user_id
        await owner.call("DELETE", f"/api/api-keys/{made['key_id']}/")
        assert await program.closed_with() == 4401
        await program.close()


async def test_frames_that_are_too_large(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        await client.send_raw(json.dumps({"type": "ping", "data": {"x": "x" * 200_000}}))
        await client.until(lambda: client.errors, "an error is told")
        assert client.errors[0]["code"] == "too_large"
        await client.send_raw(b"\x00")
        await client.until(lambda: len(client.errors) == 2, "another one is told")
        assert client.errors[1]["code"] == "invalid_input"
        with contextlib.suppress(ConnectionClosed):
            await client.send_raw("x" * (1024 * 1024 + 1))
        assert await client.closed_with() == 1009


async def test_only_our_own_subprotocol_is_echoed(web: Web, ada: Person) -> None:
    url = web.url.replace("http", "ws") + "/ws/"
    for offered in (["chat.v1", f"bearer.{ada.token}"], [f"bearer.{ada.token}", "chat.v1"]):
        async with connect(url, subprotocols=offered) as connection:  # type: ignore[arg-type]
            assert json.loads(await connection.recv())["type"] == "connection.ready"
            assert connection.subprotocol == "chat.v1"


# --- going down -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_server_that_goes_down_says_so(stack: Stack, ada: Person, server: str) -> None:
    web = Web(stack, server, "chatproject.asgi:application")
    await in_thread(web.start)
    try:
        clients = [Client([web.url], ada) for _ in range(3)]
        for client in clients:
            await client.connect()
        session_id = await clients[0].new_session()
        for client in clients:
            await client.subscribe(session_id)
        web.signal(signal.SIGTERM)
        began = time.monotonic()
        for client in clients:
            code = await client.closed_with()
            assert code == 4412
            assert client.errors[-1]["code"] == "unavailable" and client.errors[-1]["retry_after_s"] > 0
        assert await in_thread(web.wait) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 5 * PATIENCE
        assert "Traceback" not in web.text(), web.tail()
        for client in clients:
            await client.close()
            await client.close_http()
    finally:
        web.end()
