"""Lists in pages: forwards and backwards, and stable while new rows come."""

from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from tests.api.conftest import Caller, Row, WorkerOfATest

SESSIONS = "/api/sessions/"


def _path(url: str) -> str:
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("http", "testserver")
    return f"{parts.path}?{parts.query}"


def _titles(page: Row) -> list[str]:
    return [row["title"] for row in page["results"]]


@pytest.mark.postgres
async def test_pages_lead_to_the_end_and_back(ada: Caller) -> None:
    for index in range(7):
        await ada.new_session(title=str(index))
    first = await ada.get(f"{SESSIONS}?limit=3&status=new")
    assert (_titles(first), first["previous"]) == (["6", "5", "4"], None)
    assert set(first) == {"results", "next", "previous"}
    second = await ada.get(_path(first["next"]))
    assert "status=new" in second["next"]
    assert "limit=3" in second["next"]
    third = await ada.get(_path(second["next"]))
    assert (_titles(second), _titles(third), third["next"]) == (["3", "2", "1"], ["0"], None)
    back = await ada.get(_path(third["previous"]))
    assert _titles(back) == ["3", "2", "1"]
    again = await ada.get(_path(back["previous"]))
    assert (_titles(again), again["previous"]) == (["6", "5", "4"], None)
    assert _titles(await ada.get(_path(again["next"]))) == ["3", "2", "1"]


async def test_a_page_that_ends_the_list_exactly_has_no_next(ada: Caller) -> None:
    for index in range(4):
        await ada.new_session(title=str(index))
    first = await ada.get(f"{SESSIONS}?limit=2")
    second = await ada.get(_path(first["next"]))
    assert second["next"] is None
    whole = await ada.get(f"{SESSIONS}?limit=4")
    assert (whole["next"], whole["previous"]) == (None, None)


async def test_new_sessions_move_nothing_between_pages(ada: Caller) -> None:
    for index in range(4):
        await ada.new_session(title=str(index))
    first = await ada.get(f"{SESSIONS}?limit=2")
    await ada.new_session(title="new")
    second = await ada.get(_path(first["next"]))
    assert _titles(first) + _titles(second) == ["3", "2", "1", "0"]
    assert _titles(await ada.get(_path(second["previous"]))) == ["3", "2"]
    newest = await ada.get(_path((await ada.get(_path(second["previous"])))["previous"]))
    assert _titles(newest) == ["new"]


@pytest.mark.postgres
async def test_messages_come_newest_first(ada: Caller, settings: Settings) -> None:
    settings.CHAT_MESSAGES_PER_10S = 0
    session_id = await ada.new_session()
    for index in range(5):
        await ada.say(session_id, str(index))
    found, url = [], f"{SESSIONS}{session_id}/messages/?limit=2"
    while url:
        page = await ada.get(url)
        found += [row["content"] for row in page["results"]]
        url = page["next"] and _path(page["next"])
    assert found == ["4", "3", "2", "1", "0"]


async def test_a_cursor_is_good_for_its_own_list_alone(ada: Caller, worker: WorkerOfATest) -> None:
    session_id = await ada.new_session()
    for _ in range(2):
        await ada.say(session_id)
        await worker.answer(session_id)
    messages = await ada.get(f"{SESSIONS}{session_id}/messages/?limit=1")
    cursor = urlsplit(messages["next"]).query
    for path in (SESSIONS, f"{SESSIONS}{session_id}/runs/", "/api/agents/"):
        assert await ada.refused("GET", f"{path}?{cursor}") == (400, "invalid_input")


async def test_eve_gets_nothing_out_of_a_cursor_of_ada(ada: Caller, eve: Caller) -> None:
    for _ in range(3):
        await ada.new_session()
    first = await ada.get(f"{SESSIONS}?limit=1")
    assert (await eve.get(_path(first["next"])))["results"] == []
