"""Slow and hostile clients against real processes of daphne and uvicorn: what they cost, and who notices.

CHAT_TEST_AUDIENCE: how many sockets follow beside a client that never reads (200; 999 for the long variant);
CHAT_TEST_WAVES: how many waves of 50 vanish (10; 60 for the long variant).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from chat import guests, inbound
from tests.chat.test_servers import Web, fill
from tests.fold import Fold
from tests.hostile import BINARY, PING, Raw, command, frame
from tests.processes import PATIENCE, ROOT, Process, eventually
from tests.stack import Stack, Workshop
from tests.wire import Client, Person, Refused

WAIT_S = 20 * PATIENCE
MIB = 1024 * 1024
COST_MAX = 8 * MIB  # what one client may cost, whatever it does
AUDIENCE = int(os.environ.get("CHAT_TEST_AUDIENCE", "200"))
WAVES = int(os.environ.get("CHAT_TEST_WAVES", "10"))
GROWN = 20  # waves after which a process has all the memory that a wave needs
SLOW_S = 3.0
# Nobody looks more often than that; then the goodbye, and what a busy machine takes. Less than the servers' own pings
# take to end a socket that answers none: uvicorn's 40 s, daphne's 50.
GIVEN_UP_S = SLOW_S + guests.WATCH_S + 10
LATE_S = 5.0  # what the others may wait for the last of a hundred messages, with a busy machine's share
ANSWER, LONG = "demo?tokens=600&tokens_per_s=300", "demo?tokens=1500&tokens_per_s=300"


@pytest.fixture(scope="module")
def stack(workshop: Workshop) -> Iterator[Stack]:
    with Stack(workshop, "sqlite", webs=0, workers=1, env={"CHAT_LLMS": f"{ANSWER},{LONG}"}) as made:
        yield made.start()


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def web(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Web]:
    """A server as it is shipped, but for the time that a client may take nothing, and with a window."""
    env = {"CHAT_SLOW_S": str(SLOW_S), "CHAT_SOCKETS_PER_USER": "0", "CHAT_TEST_PATIENT": "1"}
    made = Web(stack, request.param, **env)
    made.start()
    yield made
    made.end()


@pytest.fixture
def ada(stack: Stack) -> Person:
    return stack.person("ada")


def rss(web: Process) -> int:
    size: int = psutil.Process(web.pid).memory_info().rss
    return size


def connections(web: Web) -> int:
    """How many sockets of clients the process holds."""
    held = psutil.Process(web.pid).net_connections("tcp")
    return sum(one.laddr.port == web.port and one.status != psutil.CONN_LISTEN for one in held)


class Highest:
    """The most memory that a process has while somebody looks."""

    def __init__(self, web: Process) -> None:
        self._web, self.base, self.most = web, rss(web), 0

    def look(self) -> int:
        self.most = max(self.most, rss(self._web) - self.base)
        return self.most


@contextmanager
def audience(web: Web, person: Person, session_id: str, count: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    command = [sys.executable, "-m", "tests.audience", web.url.replace("http", "ws") + "/ws/", person.token]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = Process("audience", [*command, session_id, str(count)], web.log.with_name("audience.log"), popen=pipes)
    process.spawn()
    said = process._process.stdout
    try:
        assert json.loads(said.readline()) == {"following": count}

        def come_to(seq: int) -> dict[str, Any]:
            process._process.stdin.write(f"{seq}\n")
            process._process.stdin.flush()
            heard: dict[str, Any] = json.loads(said.readline())
            return heard

        yield come_to
    finally:
        process.end()


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)


# --- those who do not read --------------------------------------------------------------------------------------------


async def test_one_that_never_reads_costs_little_is_closed_and_the_others_notice_nothing(
    stack: Stack, web: Web, ada: Person
) -> None:
    async with Client([web.url], ada) as client:
        shared, long = await client.new_session(), await client.new_session()
        await in_thread(fill, stack, long, 1500)  # 15 MB
        warm = await client.subscribe(long)  # the same, read well: what the process needs to serve it at all
        await client.until(lambda: warm.last_seq == 1501, "a reader has it all", WAIT_S)
        with audience(web, ada, shared, AUDIENCE) as come_to:
            # The same without it: what the others cost, and one that reads as much.
            well = Highest(web)
            async with Client([web.url], ada) as reader:
                fold = await reader.subscribe(long)
                for _ in range(40):
                    await client.post(f"/api/sessions/{shared}/messages/", {"content": "x" * 2000})
                    well.look()
                await reader.until(lambda: fold.last_seq == 1501, "a reader has it all", WAIT_S)
                well.look()
            before = connections(web)
            highest, told = Highest(web), given_up(web)
            hostile = await in_thread(lambda: Raw(web.port).open(ada.token))
            hostile.send(command("session.subscribe", session_id=shared))
            hostile.send(command("session.subscribe", session_id=long, after=0))
            began, gone_after_s, sent = time.monotonic(), 0.0, 0
            while not gone_after_s:
                await client.post(f"/api/sessions/{shared}/messages/", {"content": "x" * 2000})
                sent += 1
                highest.look()
                assert time.monotonic() - began < 3 * WAIT_S, "it is never given up"
                if connections(web) <= before:
                    gone_after_s = time.monotonic() - began
            page = await client.get(f"/api/sessions/{shared}/")
            heard = await in_thread(come_to, page["last_seq"])
            print(
                f"{web.server}: {highest.most / MIB:.1f} MiB, a reader {well.most / MIB:.1f} MiB,"
                f" gone after {gone_after_s:.1f} s, {sent} sent; {heard}"
            )
            # The process's pages, of which the others take some too: 2 KB of each message wait for each of them.
            assert highest.most <= COST_MAX + MIB + AUDIENCE * 2048
            assert SLOW_S <= gone_after_s <= GIVEN_UP_S * PATIENCE
            assert given_up(web) == told + 1, "something else has ended it"
            assert (heard["reached"], heard["whole"], heard["open"]) == (AUDIENCE, AUDIENCE, AUDIENCE)
            assert heard["waited_s"] <= LATE_S * PATIENCE
            try:
                code = await in_thread(hostile.close_code)
            except OSError:
                code = 1006
            assert code in (4408, 1006), "what was queued before the close need not fit through its buffer"


def given_up(web: Web) -> int:
    """How many sockets were closed as too slow, as the server says."""
    return web.text().count("closing a socket with 4408")


async def test_one_that_reads_only_when_it_is_given_up_is_told_that_it_was_slow(
    stack: Stack, web: Web, ada: Person
) -> None:
    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await in_thread(fill, stack, session_id, 1500)
        told, late = given_up(web), await in_thread(lambda: Raw(web.port).open(ada.token))
        late.send(command("session.subscribe", session_id=session_id, after=0))
        await in_thread(eventually, lambda: given_up(web) > told, "it is given up", GIVEN_UP_S)
        assert await in_thread(late.close_code) == 4408


async def test_one_that_reads_a_little_gets_fewer_longer_deltas_and_all_of_the_text(
    stack: Stack, web: Web, ada: Person
) -> None:
    async with Client([web.url], ada) as client:
        session_id, long = await client.new_session(), await client.new_session()
        await in_thread(fill, stack, long, 600)  # 6 MB: more than the kernel keeps for it
        quick = await client.subscribe(session_id)
        slow = await in_thread(lambda: Raw(web.port).open(ada.token))
        slow.send(command("session.subscribe", session_id=session_id, after=0))
        slow.send(command("session.subscribe", session_id=long, after=0))
        fold = Fold(session_id)
        seen: list[dict[str, Any]] = []
        is_answered = False

        def read() -> None:
            while not is_answered:  # 1 KB a second
                slow.unread += slow._some(100)
                time.sleep(0.1)
            while run_id not in fold.runs or fold.status(run_id) != "succeeded":
                found = slow.read_json()
                if found["session_id"] == session_id and found["type"] != "ok":
                    fold.feed(found)
                    seen.append(found)

        run_id = await client.say(session_id, "Much", llm=ANSWER)
        reading = asyncio.ensure_future(in_thread(read))
        [answer] = await client.answered(session_id, run_id)
        is_answered = True
        await asyncio.wait_for(reading, WAIT_S)
        deltas = [one for one in seen if one["type"] == "message.delta"]
        theirs = [one for _, one in client.received if one["type"] == "message.delta"]
        print(f"{web.server}: {len(deltas)} deltas for the slow one, {len(theirs)} for the quick one")
        assert len(deltas) < len(theirs) / 2
        assert fold.state() == quick.state() and answer["content"]
        slow.reset()


@pytest.mark.parametrize("kind", ["protocol", "ours"])
async def test_pings_of_one_that_never_reads_are_not_kept(web: Web, ada: Person, kind: str) -> None:
    pings = frame(b"x" * 125, PING) if kind == "protocol" else command("ping")
    first = await in_thread(lambda: Raw(web.port).open(ada.token))
    await in_thread(first.pour, pings * 500, 1.5)  # what it takes to serve pings at all
    first.reset()
    hostile = await in_thread(lambda: Raw(web.port).open(ada.token))
    highest = Highest(web)
    with ThreadPoolExecutor(1) as pool:
        pouring = pool.submit(hostile.pour, pings * 500, 1.5, 60 * MIB)
        while not pouring.done():
            highest.look()
            await asyncio.sleep(0.02)
    print(f"{web.server}: {pouring.result() / MIB:.0f} MiB of pings, {highest.most / MIB:.1f} MiB of memory")
    assert pouring.result() > MIB
    assert highest.most <= COST_MAX
    hostile.reset()


# --- those who say too much -------------------------------------------------------------------------------------------


def refused_with(web: Web, person: Person, *data: bytes) -> int:
    hostile = Raw(web.port).open(person.token)
    for some in data:
        try:
            hostile.send(some)
        except OSError:
            break
    return hostile.close_code()


def test_what_breaks_the_protocol_is_closed_and_nothing_is_kept(web: Web, ada: Person) -> None:
    highest = Highest(web)
    head = bytes((0x81, 0x80 | 127)) + (1 << 40).to_bytes(8, "big") + b"\0" * 4
    assert refused_with(web, ada, frame(b"\xff\xfe")) == 1007, "no UTF-8"
    assert refused_with(web, ada, head) == 1009, "a frame of a terabyte"
    assert refused_with(web, ada, frame(b"x" * (MIB + 1))) == 1009
    pieces = [frame(b"x" * 60_000, fin=False), *[frame(b"x" * 60_000, 0, fin=False)] * 20]
    assert refused_with(web, ada, *pieces) == 1009, "a message in pieces"
    assert refused_with(web, ada, frame(b"\0" * 1000, rsv1=True)) == 1002, "nobody agreed on compression"
    assert refused_with(web, ada, frame(b"x", 11)) == 1002, "no such opcode"
    assert refused_with(web, ada, frame(b"not JSON") * 100) == 4413
    assert refused_with(web, ada, frame(b"\0", BINARY) * 50 + frame(b"not JSON") * 50) == 4413
    assert highest.look() <= COST_MAX


def test_nobody_is_offered_compression(web: Web, ada: Person) -> None:
    offer = Raw(web.port).open(ada.token, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert b"permessage-deflate" not in offer.answer
    offer.reset()


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a message that never ends, in empty pieces", frame(b"", 0, fin=False) * 5000),
        ("commands, faster than they are answered", command("typing", session_id="x" * 100, active=True) * 200),
        ("commands that wait for the database", command("session.unsubscribe", session_id="0" * 32) * 300),
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


def test_half_a_handshake_holds_nobody_up(web: Web, ada: Person) -> None:
    halves = [Raw(web.port) for _ in range(200)]
    for half in halves:
        half.send(b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: webso")
    good = Raw(web.port).open(ada.token)
    assert good.read_json()["type"] == "connection.ready"
    for half in halves:
        half.reset()
    good.reset()


# --- those who vanish -------------------------------------------------------------------------------------------------


async def test_thousands_that_vanish_in_the_middle_leave_nothing_behind(stack: Stack, web: Web, ada: Person) -> None:
    """Hundreds, by a RST, half a close, or the death of their process, while an answer is on its way."""
    process = psutil.Process(web.pid)
    redis = stack.redis.client()

    def holds() -> dict[str, int]:
        held = web.holds()
        return {
            **{name: held[name] for name in ("hubs", "viewers", "tasks")},
            "connections": connections(web),
            "channels": len(redis.pubsub_channels("asgi__group__session.*")),
        }

    async with Client([web.url], ada) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        run_id = await client.say(session_id, "Much", llm=LONG)

        def wave(number: int) -> None:
            sockets = [Raw(web.port).open(ada.token) for _ in range(50)]
            for index, one in enumerate(sockets):
                one.send(command("session.subscribe", session_id=session_id, after=0))
                if index % 3 == 0:
                    one.read_json()
            for index, one in enumerate(sockets):
                if (number + index) % 2:
                    one.half_close()
                    one.socket.close()
                else:
                    one.reset()

        with audience(web, ada, session_id, 150):
            pass  # killed
        await in_thread(wave, 0)  # threads, pools and what that many need at once are grown once
        await in_thread(eventually, lambda: web.holds()["viewers"] == 1, "all but ours are let go", WAIT_S)
        most = 16 * MIB
        threads, fds, tasks, memory = process.num_threads(), process.num_fds(), web.holds()["all_tasks"], rss(web)
        for number in range(1, WAVES):
            await in_thread(wave, number)
            if number == GROWN:
                memory, most = rss(web), 4 * MIB
        await client.ended(session_id, run_id, within_s=60)
        await client.agrees()
    nothing = {"hubs": 0, "viewers": 0, "tasks": 0, "connections": 0, "channels": 0}
    try:
        await in_thread(eventually, lambda: holds() == nothing, "all is let go", WAIT_S)
    except AssertionError as problem:
        raise AssertionError(f"{problem}: {holds()}") from None
    after = (process.num_threads(), process.num_fds(), web.holds()["all_tasks"], rss(web))
    print(f"{web.server}: threads, fds, tasks, bytes: {(threads, fds, tasks, memory)} then, {after} now")
    assert after[0] <= threads + 8  # the pool of readers grows to its 8
    assert after[1] <= fds + 16
    assert after[2] <= tasks + 3
    assert after[3] - memory <= most
    assert "Traceback" not in web.text(), web.tail()


def test_the_time_a_client_may_take_nothing_is_30_s_by_default() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    clean |= {"CHAT_ENV": "local", "DJANGO_SETTINGS_MODULE": "chatproject.settings"}
    code = "from django.conf import settings; print(settings.CHAT_SLOW_S)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=clean, timeout=60
    )
    assert done.stdout.strip() == "30"
