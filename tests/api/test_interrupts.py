"""Questions to people, over HTTP: there are none yet, but an answer is read with care all the same."""

from __future__ import annotations

from uuid import uuid4

from tests.api.conftest import Caller, Row


async def test_there_are_none(ada: Caller, eve: Caller) -> None:
    for caller in (ada, eve):
        none: Row = {"results": [], "next": None, "previous": None}
        assert await caller.get("/api/interrupts/") == none
        assert await caller.get("/api/interrupts/?status=open") == none
    assert await ada.refused("GET", "/api/interrupts/?status=ajar") == (400, "invalid_input")


async def test_an_answer_is_checked_and_then_not_found(ada: Caller) -> None:
    path = f"/api/interrupts/{uuid4()}/resolve/"
    right = [{"approved": True}, {"approved": False, "reason": "no"}, {"text": "x"}, {"choice": "a"}]
    for answer in right:
        assert await ada.refused("POST", path, {"answer": answer}) == (404, "not_found")
    wrong = [{}, {"approved": "yes"}, {"approved": 1}, {"approved": True, "text": "x"}, "yes", None, {"text": " "}]
    for nonsense in wrong:
        assert await ada.refused("POST", path, {"answer": nonsense}) == (400, "invalid_input")
