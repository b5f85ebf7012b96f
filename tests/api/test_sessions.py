"""Sessions over HTTP: making, finding, changing and ending them, and the page of one."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from chat.api.sessions import SessionsQuery, _list
from chat.models import Agent, ChatSession
from tests.api.conftest import Caller, Row, WorkerOfATest
from tests.fold import ROW_KEYS, Fold, differences

SESSIONS = "/api/sessions/"


async def _titles(caller: Caller, query: str = "") -> list[str]:
    return [row["title"] for row in (await caller.get(f"{SESSIONS}?{query}"))["results"]]


async def test_a_new_session_is_its_makers(ada: Caller) -> None:
    made = await ada.post(SESSIONS, {"title": "Plans", "metadata": {"a": [1, None]}}, 201)
    assert set(made) == set(ROW_KEYS["session"])
    assert (made["title"], made["status"], made["agent"], made["my_role"]) == ("Plans", "new", "assistant", "owner")
    assert (made["last_seq"], made["metadata"]) == (1, {"a": [1, None]})
    page = await ada.get(f"{SESSIONS}{made['session_id']}/")
    assert page == made | {"messages": [], "runs": [], "interrupts": []}


async def test_a_session_needs_an_agent_and_a_parent_that_exist_for_its_maker(ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    assert (await ada.post(SESSIONS, {"parent_id": session_id}, 201))["parent_id"] == session_id
    for wrong in ({"agent": "nobody"}, {"parent_id": str(uuid4())}, {"incident_id": str(uuid4())}):
        assert await ada.refused("POST", SESSIONS, wrong) == (400, "invalid_input")
    assert await eve.refused("POST", SESSIONS, {"parent_id": session_id}) == (400, "invalid_input")


async def test_the_list_holds_mine_alone_newest_first(ada: Caller, ben: Caller, eve: Caller) -> None:
    first, second = await ada.new_session(title="first"), await ada.new_session(title="second")
    await ben.new_session(title="ben's")
    await ada.let_in(first, ben, "viewer")
    assert await _titles(ada) == ["second", "first"]
    assert await _titles(ben) == ["ben's", "first"]
    assert await _titles(eve) == []
    roles = {row["title"]: row["my_role"] for row in (await ben.get(SESSIONS))["results"]}
    assert roles == {"first": "viewer", "ben's": "owner"}
    await ada.say(first)
    assert await _titles(ada) == ["first", "second"]
    assert second != first


@pytest.mark.postgres
async def test_the_list_is_narrowed_by_what_one_asks_for(ada: Caller) -> None:
    await Agent.objects.acreate(name="board")
    plans = await ada.post(SESSIONS, {"title": "100% Plans"}, 201)
    await ada.new_session(title="other", agent="board")
    await ada.post(f"{SESSIONS}{plans['session_id']}/close/")
    assert await _titles(ada, "status=closed") == ["100% Plans"]
    assert await _titles(ada, "status=new") == ["other"]
    assert await _titles(ada, "agent=board") == ["other"]
    assert await _titles(ada, "agent=nobody") == []
    assert await _titles(ada, "q=plan") == ["100% Plans"]
    assert await _titles(ada, "q=100%25") == ["100% Plans"]
    assert await _titles(ada, "q=%25") == ["100% Plans"]
    assert await _titles(ada, "q=%00plans") == ["100% Plans"]
    at = (await ada.get(f"{SESSIONS}?q=other"))["results"][0]["updated_at"]
    assert await _titles(ada, f"updated_after={at}") == ["100% Plans"]
    assert await _titles(ada, "q=plan&status=new") == []


@pytest.mark.django_db
def test_the_list_costs_one_query(ada: Caller, rf: Any, django_db_blocker: Any) -> None:
    from chat.actions.sessions import create_session
    from chat.protocol.commands import NewSession

    assert ada.user is not None
    for index in range(5):
        create_session(ada.user, NewSession(title=str(index)))
    with CaptureQueriesContext(connection) as queries:
        page = _list(rf.get(SESSIONS), ada.user, SessionsQuery())
    assert len(page["results"]) == 5
    assert len(queries) == 1


@pytest.mark.postgres
async def test_a_session_is_changed_by_members_and_deleted_by_owners(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session(title="old")
    path = f"{SESSIONS}{session_id}/"
    await ada.let_in(session_id, ben)
    changed = await ben.call("PATCH", path, {"title": "new", "metadata": {"x": 1}})
    assert (changed["title"], changed["metadata"], changed["my_role"]) == ("new", {"x": 1}, "member")
    assert (await ada.get(path))["title"] == "new"
    assert await ben.refused("PATCH", path, {"status": "active"}) == (400, "invalid_input")
    assert await ben.refused("PATCH", path, {"last_seq": 1}) == (400, "invalid_input")
    assert (await ben.call("PATCH", path, {"status": "completed"}))["status"] == "completed"
    assert await ben.refused("DELETE", path) == (403, "not_allowed")
    await ada.call("DELETE", path, status=204)
    assert await ada.refused("GET", path) == (404, "not_found")
    assert await ben.refused("DELETE", path) == (404, "not_found")


async def test_a_null_changes_nothing_and_is_told_so(ada: Caller) -> None:
    path = f"{SESSIONS}{await ada.new_session(title='Kept')}/"
    before = await ada.get(path)
    for name in ("title", "agent", "metadata", "on_busy", "status"):
        assert await ada.refused("PATCH", path, {name: None, "title": None}) == (400, "invalid_input"), name
    assert await ada.get(path) == before


async def test_a_change_to_what_is_so_already_is_no_event(ada: Caller) -> None:
    path = f"{SESSIONS}{await ada.new_session()}/"
    change = {"title": "T", "metadata": {"b": 1, "a": [True]}, "agent": "assistant", "on_busy": "join"}
    for same in (change, {"status": "completed"}):
        changed = await ada.call("PATCH", path, same)
        assert await ada.call("PATCH", path, same) == changed
    other = await ada.call("PATCH", path, {"metadata": {"b": 1, "a": [1]}})  # to Python 1 == True
    assert (other["metadata"]["a"], other["last_seq"]) == ([1], changed["last_seq"] + 1)
    assert other["metadata"]["a"][0] is not True


async def test_a_name_that_it_has_got_by_itself_is_kept_once_somebody_chose_it(ada: Caller) -> None:
    session_id = await ada.new_session()
    await ChatSession.objects.filter(pk=session_id).aupdate(title="Plans")
    await ada.call("PATCH", f"{SESSIONS}{session_id}/", {"title": "Plans"})
    assert (await ChatSession.objects.aget(pk=session_id)).is_titled


async def test_a_closed_session_takes_no_message_until_it_is_reopened(ada: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/"
    assert (await ada.post(f"{path}close/"))["status"] == "closed"
    assert (await ada.post(f"{path}close/"))["status"] == "closed"
    assert await ada.refused("POST", f"{path}messages/", {"content": "hi"}) == (409, "session_closed")
    assert await ada.refused("PATCH", path, {"status": "completed"}) == (409, "conflict")
    assert (await ada.post(f"{path}reopen/"))["status"] == "waiting"
    await ada.say(session_id)


async def test_the_page_shows_the_newest_fifty_messages_and_the_open_runs(
    ada: Caller, ben: Caller, worker: WorkerOfATest, settings: Settings
) -> None:
    settings.CHAT_MESSAGES_PER_10S = settings.CHAT_WAITING_PER_SESSION = 0
    session_id = await ada.new_session()
    await ada.let_in(session_id, ben)
    for index in range(51):
        await ada.say(session_id, str(index), key=f"k{index}")
    await worker.answer(session_id, "the answer to 0")
    await worker.start(session_id)
    page = await ada.get(f"{SESSIONS}{session_id}/")
    said = [row["content"] for row in page["messages"]]
    assert said == [str(index) for index in range(2, 51)] + ["the answer to 0"]
    assert all(set(row) == set(ROW_KEYS["message"]) for row in page["messages"])
    assert [row["status"] for row in page["runs"]] == ["running"] + ["queued"] * 49
    assert [row["position"] for row in page["runs"]] == sorted(row["position"] for row in page["runs"])
    assert set(page["runs"][0]) == set(ROW_KEYS["run"])
    assert page["interrupts"] == []
    assert page["status"] == "active"
    # A key is its author's alone.
    assert page["messages"][0]["key"] == "k2"
    bens = await ben.get(f"{SESSIONS}{session_id}/")
    assert {row["key"] for row in bens["messages"]} == {None}
    assert bens["my_role"] == "member"


@pytest.mark.postgres
async def test_the_page_is_one_moment_of_the_log_whatever_happens_meanwhile(
    ada: Caller, worker: WorkerOfATest, settings: Settings
) -> None:
    settings.CHAT_MESSAGES_PER_10S = settings.CHAT_WAITING_PER_SESSION = 0
    session_id = await ada.new_session()
    pages: list[Row] = []
    busy = True

    async def look() -> None:
        while busy:
            pages.append(await ada.get(f"{SESSIONS}{session_id}/"))

    async def talk() -> None:
        for index in range(10):
            await ada.say(session_id, str(index))
            await worker.answer(session_id, f"to {index}")
            await ada.call("PATCH", f"{SESSIONS}{session_id}/", {"title": str(index)})

    looking = [asyncio.create_task(look()) for _ in range(2)]
    await talk()
    busy = False
    await asyncio.gather(*looking)
    frames = (await ada.get(f"{SESSIONS}{session_id}/events/?limit=200"))["results"]
    assert len({page["last_seq"] for page in pages}) > 5
    for page in pages:
        fold = Fold(session_id)
        for frame in frames[: page["last_seq"]]:
            fold.feed(frame)
        assert list(differences(fold.state(), page)) == []


async def test_a_session_says_what_becomes_of_a_message_when_it_is_busy(ada: Caller) -> None:
    session_id = await ada.new_session(on_busy="join")
    path = f"/api/sessions/{session_id}/"
    assert (await ada.get(path))["on_busy"] == "join"
    first, second = await ada.say(session_id, "One"), await ada.say(session_id, "Two")
    assert second["run_id"] == first["run_id"]
    assert (await ada.call("PATCH", path, {"on_busy": "reject"}))["on_busy"] == "reject"
    assert await ada.refused("POST", f"{path}messages/", {"content": "Three"}) == (409, "busy")
    assert await ada.refused("PATCH", path, {"on_busy": "explode"}) == (400, "invalid_input")
