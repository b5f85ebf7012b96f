"""Clients that say too much, or break the protocol, against real processes of daphne and uvicorn."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from uuid import UUID

import psutil
import pytest

from chat import inbound
from tests.chat.hostile.cost import COST_MAX, MIB, Highest, connections
from tests.chat.servers.web import WAIT_S, Web, in_thread
from tests.hostile import BINARY, Raw, command, frame
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Client, Person, Refused


def refused_with(web: Web, person: Person, *data: bytes) -> int:
    hostile = Raw(web.port).open(person.token)
    for some in data:
        try:
            hostile.send(some)
        except OSError:
            break
    return hostile.close_code()


def test_what_breaks_the_protocol_is_closed_and_nothing_is_kept(web: Web, ada: Person) -> None:
    break_the_protocol(web, ada)  # what refusals need is loaded now
    highest = Highest(web)
    for _ in range(6):
        break_the_protocol(web, ada)
    assert highest.look() <= 4 * MIB


def break_the_protocol(web: Web, person: Person) -> None:
    head = bytes((0x81, 0x80 | 127)) + (1 << 40).to_bytes(8, "big") + b"\0" * 4
    assert refused_with(web, person, frame(b"\xff\xfe")) == 1007, "no UTF-8"
    assert refused_with(web, person, head) == 1009, "a frame of a terabyte"
    assert refused_with(web, person, frame(b"x" * (MIB + 1))) == 1009
    pieces = [frame(b"x" * 60_000, fin=False), *[frame(b"x" * 60_000, 0, fin=False)] * 20]
    assert refused_with(web, person, *pieces) == 1009, "a message in pieces"
    assert refused_with(web, person, frame(b"\0" * 1000, rsv1=True)) == 1002, "nobody agreed on compression"
    assert refused_with(web, person, frame(b"x", 11)) == 1002, "no such opcode"
    assert refused_with(web, person, frame(b"not JSON") * 100) == 4413
    assert refused_with(web, person, frame(b"\0", BINARY) * 50 + frame(b"not JSON") * 50) == 4413


def test_nobody_is_offered_compression(web: Web, ada: Person) -> None:
    offer = Raw(web.port).open(ada.token, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert b"permessage-deflate" not in offer.answer
    offer.reset()


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a message that never ends, in empty pieces", frame(b"", 0, fin=False) * 5000),
        ("commands, faster than they are answered", command("typing", session_id="x" * 100, active=True) * 200),
        ("commands that wait for the database", command("session.unsubscribe", session_id=str(UUID(int=0))) * 300),
        ("large frames", frame(b"x" * 120_000) * 4),
    ],
)
async def test_a_flood_costs_little(web: Web, ada: Person, what: str, data: bytes) -> None:
    hostile = await in_thread(lambda: Raw(web.port).open(ada.token))
    hostile.send(frame(b"", fin=False) if "never ends" in what else b"")
    highest = Highest(web)
    with ThreadPoolExecutor(1) as pool:
        pouring = pool.submit(hostile.pour, data, 1.5, 40 * MIB)
        while not pouring.done():
            highest.look()
            await asyncio.sleep(0.02)
    print(f"{web.server}: {what}: {pouring.result() / MIB:.1f} MiB sent, {highest.most / MIB:.1f} MiB of memory")
    assert pouring.result() > 0
    assert highest.most <= COST_MAX
    hostile.reset()


async def test_frames_before_one_is_let_in_wait_in_the_kernel(stack: Stack, web: Web, ada: Person) -> None:
    hostile = Raw(web.port)
    highest = Highest(web)
    web.freeze()  # so that all of it is there when the handshake is looked at
    hostile.socket.setblocking(False)
    lines = "GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    hostile.socket.send(f"{lines}Sec-WebSocket-Key: {'A' * 22}==\r\nAuthorization: Bearer {ada.token}\r\n\r\n".encode())
    web.thaw()
    sent = await in_thread(hostile.pour, frame(b"x" * 100_000), 1.0, 40 * MIB)
    print(f"{web.server}: {sent / MIB:.1f} MiB sent, {highest.look() / MIB:.1f} MiB of memory")
    assert highest.look() <= COST_MAX
    hostile.reset()


async def test_endless_headers_and_bodies_end(web: Web, ada: Person) -> None:
    highest, disk = Highest(web), psutil.disk_usage("/tmp").used
    opening = b"POST /api/sessions/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for beginning, more in (
        (opening, b"X-More: " + b"x" * 1000 + b"\r\n"),
        (opening + b"X-Long: ", b"x" * 10_000),
        (
            opening
            + f"Authorization: Bearer {ada.token}\r\n".encode()
            + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"2710\r\n" + b"x" * 10_000 + b"\r\n",
        ),
        (opening + b"Content-Length: 1000000000\r\n\r\n", b"x" * 65536),
    ):
        hostile = Raw(web.port)
        hostile.send(beginning)
        sent = await in_thread(hostile.pour, more, 2.0, 100 * MIB)
        print(f"{web.server}: {sent / MIB:.1f} MiB of {more[:12]!r} were taken; {highest.look() / MIB:.1f} MiB")
        assert sent < 3 * inbound.BODY_MAX
        hostile.reset()
    assert highest.look() <= 2 * COST_MAX
    assert psutil.disk_usage("/tmp").used - disk < 100 * MIB
    await in_thread(eventually, lambda: connections(web) == 0, "nothing of them is left", WAIT_S)


async def test_a_body_that_is_too_large_is_answered_where_the_client_listens(web: Web, ada: Person) -> None:
    async with Client([web.url], ada) as client:
        with pytest.raises(Refused, match="too_large"):
            await client.post("/api/sessions/", {"title": "x" * (2 * MIB)})
        assert (await client.get("/api/me/"))["user_id"] == ada.user_id


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data"])
def test_a_form_that_is_broken_is_answered_as_every_body_that_is_no_json(web: Web, ada: Person, kind: str) -> None:
    asked = HTTPConnection("127.0.0.1", web.port, timeout=WAIT_S)
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": kind}
    asked.request("POST", "/api/sessions/", b"{}", headers)
    answer = asked.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (400, "invalid_input")
    asked.close()


def test_half_a_handshake_holds_nobody_up(web: Web, ada: Person) -> None:
    halves = [Raw(web.port) for _ in range(200)]
    for half in halves:
        half.send(b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: webso")
    good = Raw(web.port).open(ada.token)
    assert good.read_json()["type"] == "connection.ready"
    for half in halves:
        half.reset()
    good.reset()
