"""The demo model calls tools by their names, offline, and says what came of it."""

import json
from typing import Any

import pytest

from tests.workers.scripted import read
from workers.ledger import REFUSED
from workers.llm import open_llm
from workers.llm.base import Called, Limits, Piece, Prompt, Returned, Said, Stopped, Text, ToolCall, ToolSpec
from workers.tools import load_tools


def tool(name: str, *required: str, **properties: str | list[str]) -> ToolSpec:
    kinds = {key: {"type": "string", "enum": kind} if isinstance(kind, list) else {"type": kind}
             for key, kind in properties.items()}  # fmt: skip
    return ToolSpec(name, "", {"type": "object", "properties": kinds, "required": list(required)})


CANCEL = tool("cancel_order", "order_id", order_id="string")
STATUS = tool("get_order_status", "order_id", order_id="integer")
DISCOUNT = tool("apply_discount", "percent", percent="number", size=["small", "large"])
SEARCH = tool("searchNotes", "query", query="string")


async def answer(asked: str, *more: Called | Returned) -> list[Piece]:
    prompt = Prompt("", (Said("user", asked), *more), (CANCEL, STATUS, DISCOUNT, SEARCH))
    return await read(open_llm("demo?tokens_per_s=0&first_token_ms=0", Limits()), prompt)


def calls_in(pieces: list[Piece]) -> list[tuple[str, Any]]:
    return [(piece.tool, json.loads(piece.args_json)) for piece in pieces if isinstance(piece, ToolCall)]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


@pytest.mark.parametrize(
    ("asked", "calls"),
    [
        ("cancel order 1234", [("cancel_order", {"order_id": "1234"})]),
        ("@AI please cancel my order #A-17!", [("cancel_order", {"order_id": "A-17"})]),
        ("Cancel the orders 12 and 34", [("cancel_order", {"order_id": "12"}), ("cancel_order", {"order_id": "34"})]),
        ("What is the status of order 7?", [("get_order_status", {"order_id": 7})]),
        ("apply a large discount of 12.5", [("apply_discount", {"percent": 12.5, "size": "large"})]),
        ('search my notes for "a red door"', [("searchNotes", {"query": "a red door"})]),
        ("How do I order a pizza?", []),
        ("cancel 1234", []),
    ],
)
async def test_a_tool_is_called_when_its_name_was_said(asked: str, calls: list[tuple[str, Any]]) -> None:
    pieces = await answer(asked)
    assert calls_in(pieces) == calls
    assert Stopped("tools" if calls else "end") in pieces


SHOP = ("get_order_status", "get_tracking_info", "cancel_order", "apply_discount", "ask_human")


@pytest.mark.parametrize(
    ("asked", "calls"),
    [
        ("Cancel order 1001, please.", [("cancel_order", {"order_id": "1001"})]),
        ("@support cancel #1001: order by mistake", [("cancel_order", {"order_id": "1001"})]),
        (
            "cancel orders 1001 and 1004",
            [("cancel_order", {"order_id": "1001"}), ("cancel_order", {"order_id": "1004"})],
        ),
        ("Where is order 1002?", [("get_tracking_info", {"order_id": "1002"})]),
        ("has the parcel of order 1003 arrived", [("get_tracking_info", {"order_id": "1003"})]),
        ("What is the tracking number of order 1002?", [("get_tracking_info", {"order_id": "1002"})]),
        ("What about order 1005?", [("get_order_status", {"order_id": "1005"})]),
        ("apply a 10 % discount to order 1004", [("apply_discount", {"order_id": "1004", "percent": 10})]),
        ("Take 15 percent off order #1004", [("apply_discount", {"order_id": "1004", "percent": 15})]),
        ("apply discount 25 to order 1004", [("apply_discount", {"order_id": "1004", "percent": 25})]),
        (
            "Give orders 1004 and 1006 20% discount",
            [
                ("apply_discount", {"order_id": "1004", "percent": 20}),
                ("apply_discount", {"order_id": "1006", "percent": 20}),
            ],
        ),
        (
            "Where is order 1002, and cancel order 1001. Thanks!",
            [("get_tracking_info", {"order_id": "1002"}), ("cancel_order", {"order_id": "1001"})],
        ),
        ("Ask a human whether it rains", [("ask_human", {"question": "Ask a human whether it rains"})]),
        ('Ask somebody "Shall we wait?"', [("ask_human", {"question": "Shall we wait?"})]),
        ("Where is the meeting?", []),
        ("What can you do?", []),
        ("I cancelled my holiday", []),
        ("hello", []),
    ],
)
async def test_the_shops_tools_are_called_as_people_ask_for_them(asked: str, calls: list[tuple[str, Any]]) -> None:
    specs = tuple(one.spec for name, one in load_tools().items() if name in SHOP)
    pieces = await read(
        open_llm("demo?tokens_per_s=0&first_token_ms=0", Limits()), Prompt("", (Said("user", asked),), specs)
    )
    assert calls_in(pieces) == calls
    for piece in pieces:
        if isinstance(piece, ToolCall):
            load_tools()[piece.tool].read_args(piece.args_json)


async def test_a_result_that_is_an_object_is_told_in_words() -> None:
    call = ToolCall("demo-1", "cancel_order", "{}")
    result = {"order_id": "1001", "status": "cancelled", "refund_usd": 78.5, "items": [{"name": "Mug", "quantity": 2}]}
    pieces = await answer(
        "cancel order 1001", Called("", (call,)), Returned("demo-1", "cancel_order", json.dumps(result))
    )
    assert "order 1001, status cancelled, refund 78.50 USD, items: 2 × Mug." in text_of(pieces)


async def test_a_line_before_a_result_is_told_after_it() -> None:
    call = ToolCall("demo-1", "cancel_order", "{}")
    text = 'A person changed the arguments to {"order_id": "1004"}.\n{"order_id": "1004", "status": "cancelled"}'
    pieces = await answer("cancel order 1001", Called("", (call,)), Returned("demo-1", "cancel_order", text))
    assert "order 1004, status cancelled. A person changed the arguments to " in text_of(pieces)


async def test_a_refusal_is_told_with_its_reason_and_for_which_call() -> None:
    calls = tuple(ToolCall(f"demo-{n}", "cancel_order", f'{{"order_id": "{n}", "percent": 9}}') for n in (1, 2))
    results = (
        Returned("demo-1", "cancel_order", f"{REFUSED} The reason: too late", is_error=True),
        Returned("demo-2", "cancel_order", REFUSED, is_error=True),
    )
    text = text_of(await answer("cancel orders 1 and 2", Called("", calls), *results))
    assert "- `cancel_order` (1) was refused by a person: too late\n" in text
    assert "- `cancel_order` (2) was refused by a person.\n" in text


async def test_what_is_missing_is_asked_for() -> None:
    pieces = await answer("cancel order")
    assert calls_in(pieces) == []
    assert "`order_id`" in text_of(pieces)
    assert "offline demo" in text_of(pieces)


async def test_what_came_of_it_is_told_and_that_this_is_a_demo() -> None:
    calls = (ToolCall("demo-1", "cancel_order", "{}"), ToolCall("demo-2", "cancel_order", "{}"))
    results = (
        Returned("demo-1", "cancel_order", "Cancelled."),
        Returned("demo-2", "cancel_order", "Gone.", is_error=True),
    )
    pieces = await answer("cancel orders 1 and 2", Called("", calls), *results)
    assert calls_in(pieces) == []
    assert "answered: Cancelled." in text_of(pieces)
    assert "failed: Gone." in text_of(pieces)
    assert "offline demo" in text_of(pieces)


async def test_what_is_asked_for_is_looked_for_where_people_say_it_and_not_in_thousands_of_digits() -> None:
    asked = "cancel order 1001"
    assert calls_in(await answer(f"{asked} {'9' * 9000}"))
    assert not calls_in(await answer(f"{'9' * 9000} {asked}"))


async def test_without_tools_it_answers_as_ever() -> None:
    prompt = Prompt("", (Said("user", "cancel order 1234"),))
    pieces = await read(open_llm("demo?tokens_per_s=0&first_token_ms=0", Limits()), prompt)
    assert "Noted" in text_of(pieces)
