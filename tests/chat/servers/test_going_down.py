"""Daphne and uvicorn going down: who waits is answered, and who comes meanwhile is sent elsewhere."""

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chat.servers.web import WAIT_S, Web, in_thread
from tests.processes import PATIENCE, eventually
from tests.stack import Stack
from tests.wire import Person


@pytest.fixture(params=["daphne", "uvicorn"])
def web(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Web]:
    made = Web(stack, request.param, CHAT_SOCKETS_PER_USER="0")
    made.start()
    yield made
    made.end()


@pytest.fixture(autouse=True)
def _nothing_stays() -> None:
    """Of a process that is gone."""


async def test_who_waits_for_an_answer_is_told_what_there_is(web: Web, ada: Person) -> None:
    """Else its author would say it again, although it is said."""
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with httpx2.AsyncClient(base_url=web.url, headers=headers, timeout=40, trust_env=False) as client:
        session = (await client.post("/api/sessions/", json={})).json()
        door = f"/api/sessions/{session['session_id']}"
        post = asyncio.ensure_future(client.post(f"{door}/messages/?wait=30", json={"content": "Hello?"}))
        while (await client.get(f"{door}/")).json()["last_seq"] == session["last_seq"]:
            await asyncio.sleep(0.02)
        after = (await client.get(f"{door}/")).json()["last_seq"]
        poll = asyncio.ensure_future(client.get(f"{door}/events/?after={after}&wait=30"))
        await in_thread(eventually, lambda: web.holds()["viewers"] == 2, "both wait", WAIT_S)
        web.signal(signal.SIGTERM)
        begun = time.monotonic()
        said, polled = await asyncio.gather(post, poll)
        assert await in_thread(web.wait) in (0, -signal.SIGTERM)
    assert (said.status_code, polled.status_code, polled.json()["results"]) == (202, 200, [])
    assert time.monotonic() - begun < 4 * PATIENCE, "it was cut off, and not ended"


async def test_who_comes_meanwhile_is_told_to_come_back_as_those_who_were_there(web: Web, ada: Person) -> None:
    closed: list[Any] = []
    ready = asyncio.Event()

    async def come() -> None:
        headers = {"Authorization": f"Bearer {ada.token}"}
        try:
            async with connect(web.url.replace("http", "ws") + "/ws/", additional_headers=headers) as socket:
                ready.set()
                try:
                    while True:
                        await asyncio.wait_for(socket.recv(), 20 * PATIENCE)
                except ConnectionClosed as problem:
                    closed.append(problem.rcvd.code if problem.rcvd else None)
        except (OSError, InvalidHandshake, InvalidMessage):
            pass  # nobody listens any more

    coming = [asyncio.ensure_future(come())]
    await ready.wait()
    web.signal(signal.SIGTERM)
    going = asyncio.ensure_future(in_thread(web.wait))
    while not going.done():
        coming.append(asyncio.ensure_future(come()))
        await asyncio.sleep(0.02)
    await asyncio.gather(*coming)
    assert set(closed) == {4412}, closed


async def test_a_socket_to_nowhere_is_refused_and_no_error_of_the_server(web: Web) -> None:
    with pytest.raises(InvalidHandshake) as refused:
        async with connect(web.url.replace("http", "ws") + "/nowhere/"):
            pass
    assert "403" in str(refused.value)
