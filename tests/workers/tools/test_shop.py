"""The shop's tools: what an LLM is told of them, and what it reads when they cannot do it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from chat.actions import shop
from chat.models import Order, User
from workers.tools import ToolContext, ToolError, load_tools
from workers.tools.base import BadArgs


@pytest.fixture(autouse=True)
def _open(db: None) -> Iterator[None]:
    shop.reset_shop()
    yield
    shop.reset_shop()


def call(name: str, key: str = "key-1", **args: Any) -> Any:
    tool = load_tools()[name]
    context = ToolContext(uuid4(), uuid4(), uuid4(), User(username="ada"), key)
    return tool.read_result(tool.bind(args, context)()).result


def test_reads_are_free_and_writes_need_a_person_and_can_be_repeated() -> None:
    known = load_tools()
    for name in ("get_order_status", "get_tracking_info"):
        assert (known[name].access, known[name].effect, known[name].needs_approval) == ("read", "pure", False)
    for name in ("cancel_order", "apply_discount"):
        assert (known[name].access, known[name].effect, known[name].needs_approval) == ("write", "idempotent", True)
        assert "context" not in known[name].args_schema["properties"]


def test_they_do_what_the_shop_does() -> None:
    assert call("get_order_status", order_id="1001")["status"] == "processing"
    assert call("get_tracking_info", order_id="1002")["carrier"] == "Postwagen"
    assert call("cancel_order", order_id="1001")["status"] == "cancelled"
    assert call("apply_discount", "key-2", order_id="1004", percent=10)["to_pay_usd"] == 133.65


def test_the_key_of_the_call_reaches_the_shop() -> None:
    first = call("apply_discount", "one", order_id="1004", percent=10)
    call("apply_discount", "two", order_id="1004", percent=30)
    assert call("apply_discount", "one", order_id="1004", percent=10) == first
    assert Order.objects.get(pk="1004").discount_percent == 30


def test_the_llm_reads_why_it_cannot_be_done() -> None:
    with pytest.raises(ToolError, match="no order '9999'"):
        call("get_order_status", order_id="9999")
    with pytest.raises(ToolError, match="1002 is shipped already: it can no longer be cancelled"):
        call("cancel_order", order_id="1002")


@pytest.mark.parametrize("percent", [0, 101, "10", 10.5, True])
def test_a_discount_is_a_whole_number_from_1_to_100(percent: object) -> None:
    with pytest.raises(BadArgs, match="percent"):
        call("apply_discount", order_id="1004", percent=percent)
