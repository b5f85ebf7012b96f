"""Streams of events on daphne and on uvicorn: slow readers, lost clients, ended sign-ins, and going down."""

import asyncio
import contextlib
import json
import signal
import socket as sockets
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from chat import servers
from tests.chat.servers.web import WAIT_S, Web, fill, in_thread
from tests.event_source import EventSource
from tests.fold import Frame
from tests.processes import PATIENCE, Process, eventually
from tests.stack import Stack
from tests.watching.test_metrics import read
from tests.wire import Client, Person, Refused


def path_of(session_id: str) -> str:
    return f"/api/sessions/{session_id}/events/"


class SlowReader:
    """A client that takes from its small buffer only what a test reads."""

    def __init__(self, web: Web, who: Person, session_id: str) -> None:
        self._socket = sockets.socket()
        self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 16 * 1024)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(("127.0.0.1", web.port))
        head = ["Host: chat.test", f"Authorization: Bearer {who.token}", "Accept: text/event-stream"]
        self._socket.sendall("\r\n".join([f"GET {path_of(session_id)} HTTP/1.1", *head, "", ""]).encode())
        self._bytes = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._socket.close()

    def frames_until_seq(self, seq: int) -> list[Frame]:
        """Read on. The chunks of HTTP are left in: a line of data that holds one's edge is put together again."""
        frames: list[Frame] = []
        while not frames or frames[-1]["seq"] != seq:
            received = self._socket.recv(256 * 1024)
            assert received, "it was hung up on"
            *whole, self._bytes = (self._bytes + received).split(b"\n\n")
            for event in whole:
                lines = [line for line in event.split(b"\n") if line.startswith(b"data: ")]
                with contextlib.suppress(ValueError):  # the edge of a chunk lies in it
                    frames += [json.loads(line.removeprefix(b"data: ")) for line in lines]
        return frames

    def is_hung_up(self) -> bool:
        try:
            while self._socket.recv(1024 * 1024):
                pass
        except ConnectionError:
            pass
        return True


# --- slow clients -----------------------------------------------------------------------------------------------------


async def test_a_slow_reader_goes_on_where_it_was_and_costs_little_meanwhile(
    stack: Stack, web: Web, ada: Person
) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        with SlowReader(web, ada, session_id) as slow:
            await in_thread(slow.frames_until_seq, 1)
            before = read(f"{web.url}/metrics")["chat_sockets_behind_total"]
            await in_thread(fill, stack, session_id, 1500)
            said = await client.post(f"/api/sessions/{session_id}/messages/", {"content": "It reads them all now"})
            await asyncio.sleep(0.5)  # it reads nothing, and is handed 15 MB
            last_seq = (await client.get(f"/api/sessions/{session_id}/"))["last_seq"]
            seen = await in_thread(slow.frames_until_seq, last_seq)
        assert said["run_id"] in {frame["run_id"] for frame in seen}
        assert [frame["seq"] for frame in seen] == list(range(2, last_seq + 1))
        now = read(f"{web.url}/metrics")["chat_sockets_behind_total"]
        assert now > before, "there was enough to fall behind"
        assert web.holds()["largest_backlog"] <= servers.BACKLOG_MAX + 64 * 1024


async def test_one_that_never_reads_is_dropped(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        with SlowReader(web, ada, session_id) as slow:
            await in_thread(slow.frames_until_seq, 1)
            await in_thread(fill, stack, session_id, 1000)
            await client.post(f"/api/sessions/{session_id}/messages/", {"content": "It reads them all now"})
            await in_thread(eventually, lambda: web.holds()["connections"] == 1, "the client alone is left", WAIT_S)
            assert await in_thread(slow.is_hung_up)
    assert read(f"{web.url}/metrics")["chat_sockets_closed_total{code=4408}"] >= 1
    assert "Traceback" not in web.text(), web.tail()


# --- clients that go away ---------------------------------------------------------------------------------------------


async def test_a_client_that_vanishes_in_the_middle_leaves_nothing_behind(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await in_thread(fill, stack, session_id, 300)
        for wait_s in (0.0, 0.002, 0.005, 0.02, 0.1):
            with SlowReader(web, ada, session_id):
                await asyncio.sleep(wait_s)
    await in_thread(web.lets_go)
    assert stack.redis.client().pubsub_channels("asgi__group__*") == []
    assert "Traceback" not in web.text(), web.tail()


def other_process(url: str, who: Person, log: Path) -> Process:
    command = [sys.executable, "-m", "tests.event_source", url, who.token]
    return Process("event source", command, log, ready=lambda process: "open" in process.text())


async def test_a_client_process_that_is_killed_leaves_nothing_behind(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
    process = other_process(web.url + path_of(session_id), ada, stack.folder / f"killed-{web.server}.log")
    try:
        await in_thread(process.start)
        await in_thread(eventually, lambda: "session.created" in process.text(), "it is told the past")
        assert web.holds()["viewers"] == 1
        process.kill()
        await in_thread(web.lets_go)
    finally:
        process.end()


async def test_a_wait_that_is_hung_up_on_leaves_nothing_behind(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        waiting = asyncio.ensure_future(client.get(path_of(session_id), after=1, wait=50))
        await in_thread(eventually, lambda: web.holds()["viewers"] == 1, "it waits")
        waiting.cancel()
        await in_thread(eventually, lambda: web.holds()["viewers"] == 0, "it is let go")


# --- who may stay, and how many ---------------------------------------------------------------------------------------


async def test_a_deleted_key_ends_its_stream(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as owner:
        session_id = await owner.new_session()
        made = await owner.post("/api/api-keys/", {"name": "A program"})
        async with EventSource(web.url + path_of(session_id), made["key"]) as stream:
            await stream.until(lambda frame: frame["seq"] == 1)
            await owner.call("DELETE", f"/api/api-keys/{made['key_id']}/")
            assert await stream.rest() == []
        with pytest.raises(Refused, match="not_authenticated"):
            async with EventSource(web.url + path_of(session_id), made["key"]):
                pass


async def test_a_user_who_is_made_inactive_is_told_no_more(stack: Stack, web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        async with EventSource(web.url + path_of(session_id), ada.token) as stream:
            waiting = asyncio.ensure_future(client.get(path_of(session_id), after=1, wait=1))
            await stream.until(lambda frame: frame["seq"] == 1)
            stack.ask("User.objects.filter(pk=who).update(is_active=False)", who=ada.user_id)
            assert await stream.rest() == []
            with pytest.raises(Refused, match="not_authenticated"):
                await waiting


async def test_streams_sockets_and_waits_are_counted_together(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client, contextlib.AsyncExitStack() as open_ones:
        session_id = await client.new_session()
        url = web.url + path_of(session_id)
        for _ in range(4):  # and the socket
            await open_ones.enter_async_context(EventSource(url, ada.token))
        with pytest.raises(Refused) as refused:
            async with EventSource(url, ada.token):
                pass
        assert (refused.value.status, refused.value.code) == (429, "too_many_connections")
        with pytest.raises(Refused, match="too_many_connections"):
            await client.get(path_of(session_id), after=1, wait=5)
        assert (await client.get(path_of(session_id), wait=5))["results"], "what need not wait is no connection"
        other = Client([web.url], replace(ada))
        with pytest.raises(Refused, match="too_many_connections"):
            await other.connect()


async def test_a_quiet_stream_is_kept_alive_by_comments(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        async with EventSource(web.url + path_of(session_id), ada.token) as stream:
            await stream.until(lambda frame: frame["seq"] == 1)
            assert stream.retry_ms
            reading = asyncio.ensure_future(stream.rest())
            while stream.comments < 2:
                await asyncio.sleep(0.01)
            await client.call("DELETE", f"/api/sessions/{session_id}/")
            assert [frame["type"] for frame in await reading] == ["session.deleted"]


# --- going down -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_server_that_goes_down_ends_its_streams(stack: Stack, ada: Person, server: str) -> None:
    web = Web(stack, server, "chatproject.asgi:application")
    await in_thread(web.start)
    try:
        async with Client([web.url], ada) as client:
            session_id = await client.new_session()
        async with EventSource(web.url + path_of(session_id), ada.token) as stream:
            await stream.until(lambda frame: frame["seq"] == 1)
            began = time.monotonic()
            web.signal(signal.SIGTERM)
            assert await stream.rest() == []  # the response was ended, not cut off
            assert stream.retry_ms == 1000
        assert await in_thread(web.wait) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 5 * PATIENCE
        assert "Traceback" not in web.text(), web.tail()
    finally:
        web.end()
