"""The log over HTTP."""

import asyncio

import pytest
from pytest_django import Settings

from chat import limits
from chat.hub import hubs
from chat.models import ChatSession
from tests.api.conftest import Caller, WorkerOfATest
from tests.fold import FRAME_KEYS, Fold, differences

SESSIONS = "/api/sessions/"


@pytest.mark.postgres
async def test_the_log_folds_to_the_page(ada: Caller, ben: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session(title="Plans")
    await ada.let_in(session_id, ben)
    await ada.say(session_id, "hello", key="k")
    await worker.answer(session_id)
    await ben.say(session_id, "and now?", key="b")
    for caller in (ada, ben):
        log = await caller.get(f"{SESSIONS}{session_id}/events/")
        assert [frame["seq"] for frame in log["results"]] == list(range(1, log["last_seq"] + 1))
        assert all(set(frame) == FRAME_KEYS for frame in log["results"])
        fold = Fold(session_id)
        for frame in log["results"]:
            fold.feed(frame)
        page = await caller.get(f"{SESSIONS}{session_id}/")
        assert list(differences(fold.state(), page)) == []


async def test_each_reader_sees_the_own_role_and_keys(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    await ada.let_in(session_id, ben, "viewer")
    await ada.say(session_id, "hello", key="k")
    for caller, role, key in ((ada, "owner", "k"), (ben, "viewer", None)):
        frames = (await caller.get(f"{SESSIONS}{session_id}/events/"))["results"]
        assert {frame["data"]["my_role"] for frame in frames if frame["type"].startswith("session.")} == {role}
        assert [frame["data"]["key"] for frame in frames if frame["type"] == "message.created"] == [key]


async def test_the_log_is_read_in_pieces(ada: Caller, settings: Settings) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    session_id = await ada.new_session()
    for index in range(30):
        await ada.say(session_id, str(index))
    path = f"{SESSIONS}{session_id}/events/"
    last_seq = (await ada.get(path))["last_seq"]
    assert len((await ada.get(path))["results"]) == 50 < last_seq
    seqs, after = [], 0
    while after < last_seq:
        results = (await ada.get(f"{path}?after={after}&limit=7"))["results"]
        seqs += [frame["seq"] for frame in results]
        after = seqs[-1]
    assert seqs == list(range(1, last_seq + 1))
    assert await ada.get(f"{path}?after={last_seq}") == {"results": [], "last_seq": last_seq}


async def test_beyond_the_end_and_before_what_is_kept_there_is_nothing(ada: Caller) -> None:
    session_id = await ada.new_session()
    await ada.say(session_id)
    path = f"{SESSIONS}{session_id}/events/"
    last_seq = (await ada.get(path))["last_seq"]
    for after in (str(last_seq + 1), str(2**63), "-1", "x", ""):
        assert await ada.refused("GET", f"{path}?after={after}") == (400, "invalid_input")
    await ChatSession.objects.filter(pk=session_id).aupdate(kept_from=3)
    for old in (0, 1):
        assert await ada.refused("GET", f"{path}?after={old}") == (410, "too_old")
    assert (await ada.get(f"{path}?after=2"))["results"][0]["seq"] == 3


async def test_eve_reads_no_log(ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    for query in ("", "?after=0", "?after=100"):
        assert await eve.refused("GET", f"{SESSIONS}{session_id}/events/{query}") == (404, "not_found")


# --- waiting for the next event ---------------------------------------------------------------------------------------


async def test_a_wait_comes_back_at_once_where_there_is_something(ada: Caller) -> None:
    session_id = await ada.new_session()
    found = await asyncio.wait_for(ada.get(f"{SESSIONS}{session_id}/events/?after=0&wait=60"), 10)
    assert [frame["seq"] for frame in found["results"]] == [1]


async def test_a_wait_ends_with_the_next_event(ada: Caller) -> None:
    session_id = await ada.new_session()
    waiting = asyncio.ensure_future(ada.get(f"{SESSIONS}{session_id}/events/?after=1&wait=60"))
    while not (session_hubs := [hub for hub in hubs._hubs.values() if hub.viewers]):
        await asyncio.sleep(0.01)
    assert not waiting.done()
    await ada.call("PATCH", f"{SESSIONS}{session_id}/", {"title": "Now"})
    found = await asyncio.wait_for(waiting, 20)
    assert [frame["type"] for frame in found["results"]] == ["session.updated"] and found["last_seq"] == 2
    assert not session_hubs[0].viewers and not limits._sockets


async def test_a_wait_that_nothing_ends_is_empty(ada: Caller) -> None:
    session_id = await ada.new_session()
    found = await ada.get(f"{SESSIONS}{session_id}/events/?after=1&wait=0.05")
    assert found == {"results": [], "last_seq": 1}
    assert not limits._sockets


async def test_a_wait_ends_where_there_is_nothing_to_wait_for_any_more(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    await ada.let_in(session_id, ben)
    waiting = asyncio.ensure_future(ben.refused("GET", f"{SESSIONS}{session_id}/events/?after=2&wait=60"))
    while not [hub for hub in hubs._hubs.values() if hub.viewers]:
        await asyncio.sleep(0.01)
    await ada.call("DELETE", f"{SESSIONS}{session_id}/members/{ben.id}/", None, 204)
    assert await asyncio.wait_for(waiting, 20) == (404, "not_found")


async def test_a_wait_that_makes_no_sense_is_invalid_input(ada: Caller) -> None:
    session_id = await ada.new_session()
    for wait in ("-1", "61", "nan", "inf", "x", ""):
        path = f"{SESSIONS}{session_id}/events/?after=1&wait={wait}"
        assert await ada.refused("GET", path) == (400, "invalid_input")
    assert await ada.refused("GET", f"{SESSIONS}{session_id}/events/?after=2&wait=1") == (400, "invalid_input")


async def test_only_one_who_names_it_gets_a_stream(ada: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/events/"
    for accepted in ("*/*", "application/json", "text/*", "text/html"):
        assert (await ada.ask("GET", path, Accept=accepted)).headers["Content-Type"] == "application/json"
    head = await ada.ask("HEAD", path, Accept="text/event-stream")
    assert head.headers["Content-Type"] == "application/json"
