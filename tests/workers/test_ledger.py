"""What is to be done next with the calls of a step, after their tools have changed: an upgrade while they waited."""

from typing import Any

import pytest

from chat.models import ToolCall
from workers.ledger import Plan, plan
from workers.tools import Tool, tool

Status = ToolCall.Status


def made(name: str, effect: str = "once", access: str = "write", *, asks_first: bool = False) -> Tool:
    def act(number: int = 1) -> str:
        """Do it."""
        return "done"

    return tool(effect=effect, access=access, needs_approval=asks_first, name=name)(act)  # type: ignore[arg-type]


def entry(index: int, name: str, status: str = Status.HELD, **columns: Any) -> ToolCall:
    given: dict[str, Any] = {"effect": "idempotent", "access": "write", "args": {"number": 1}, "args_json": "{}"}
    return ToolCall(index=index, tool=name, status=status, **given | columns)


def planned(calls: list[ToolCall], *tools: Tool, attempt: int = 2) -> Plan:
    return plan(calls, {}, attempt, {one.name: one for one in tools})


def test_what_is_held_and_needs_a_person_by_now_waits_for_one_and_holds_up_what_follows() -> None:
    calls = [entry(0, "pay"), entry(1, "note"), entry(2, "note")]
    first = planned(calls, made("pay", asks_first=True), made("note"))
    assert not first.started
    [waits] = first.settled
    assert waits.columns == {"status": "waiting", "effect": "once", "needs_approval": True}
    waits.apply()
    [question] = planned(calls, made("pay", asks_first=True), made("note")).questions
    assert question.reason == "approval" and question.payload["effect"] == "once"


@pytest.mark.parametrize(
    ("was", "says", "columns"),
    [
        ("idempotent", "once", {"effect": "once"}),
        ("pure", "idempotent", {"effect": "idempotent"}),
        ("once", "idempotent", {}),
        ("idempotent", "idempotent", {}),
    ],
)
def test_a_call_is_begun_as_the_stricter_of_what_its_tool_was_and_is(was: str, says: str, columns: Any) -> None:
    [begun] = planned([entry(0, "pay", effect=was)], made("pay", says)).started
    kept = {name: value for name, value in begun.columns.items() if name in ("effect", "needs_approval")}
    assert kept == columns


@pytest.mark.parametrize(("was", "says"), [("idempotent", "once"), ("once", "idempotent")])
def test_a_lost_call_of_what_must_be_made_once_by_now_or_had_to_be_is_asked_about(was: str, says: str) -> None:
    lost = entry(0, "pay", Status.CALLED, effect=was, calls=1, attempt=1)
    todo = planned([lost], made("pay", says))
    assert not todo.started and [one.columns["status"] for one in todo.settled] == ["unknown"]
    todo.settled[0].apply()
    assert lost.effect == "once"
