"""Clients that do not read, against real processes of daphne and uvicorn: what they cost, and who notices.

CHAT_TEST_AUDIENCE: how many sockets follow beside one (200; 999 for the long variant).
"""

import asyncio
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chat import guests
from tests.chat.hostile.cost import ANSWER, COST_MAX, MIB, SLOW_S, Highest, audience, connections
from tests.chat.servers.web import WAIT_S, Web, fill, in_thread
from tests.fold import Fold
from tests.hostile import PING, Raw, command, frame
from tests.processes import PATIENCE, ROOT, eventually
from tests.stack import Stack
from tests.wire import Client, Person

AUDIENCE = int(os.environ.get("CHAT_TEST_AUDIENCE", "200"))
# Nobody looks more often than that; then the goodbye, and what a busy machine takes. Less than the servers' own pings
# take to end a socket that answers none: uvicorn's 40 s, daphne's 50.
GIVEN_UP_S = SLOW_S + guests.WATCH_S + 10
LATE_S = 5.0  # what the others may wait for the last of a hundred messages, with a busy machine's share


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


# Ours are answered, and what is kept of that grows slowly: until it would show, and somebody looks who takes nothing.
@pytest.mark.parametrize(("kind", "for_s"), [("protocol", 1.5), ("ours", guests.WATCH_S + 2)])
async def test_pings_of_one_that_never_reads_are_not_kept(web: Web, ada: Person, kind: str, for_s: float) -> None:
    pings = frame(b"x" * 125, PING) if kind == "protocol" else command("ping")
    first = await in_thread(lambda: Raw(web.port).open(ada.token))
    await in_thread(first.pour, pings * 500, 1.5)  # what it takes to serve pings at all
    first.reset()
    hostile = await in_thread(lambda: Raw(web.port).open(ada.token))
    highest = Highest(web)
    with ThreadPoolExecutor(1) as pool:
        pouring = pool.submit(hostile.pour, pings * 500, for_s, 60 * MIB)
        while not pouring.done():
            highest.look()
            await asyncio.sleep(0.02)
    print(f"{web.server}: {pouring.result() / MIB:.0f} MiB of pings, {highest.most / MIB:.1f} MiB of memory")
    assert pouring.result() > MIB
    assert highest.most <= COST_MAX
    hostile.reset()


def test_the_time_a_client_may_take_nothing_is_30_s_by_default() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    clean |= {"CHAT_ENV": "local", "DJANGO_SETTINGS_MODULE": "chatproject.settings"}
    code = "from django.conf import settings; print(settings.CHAT_SLOW_S)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=clean, timeout=60
    )
    assert done.stdout.strip() == "30"
