"""The shop: what its tools are told, what they may do, and that no call counts twice."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from chat.actions import shop
from chat.errors import ChatError, Conflict, InvalidInput, NotFound
from chat.models import Order, OrderChange
from tests.threads import Threads


@pytest.fixture(autouse=True)
def _open(db: None) -> Iterator[None]:
    shop.reset_shop()
    yield
    shop.reset_shop()


def changes() -> list[str]:
    return list(OrderChange.objects.order_by("at").values_list("what", flat=True))


def test_an_order_is_told_with_what_is_to_be_paid() -> None:
    told = shop.order_status("#1006 ")
    assert (told["order_id"], told["customer"], told["status"]) == ("1006", "Priya Raman", "processing")
    assert (told["total_usd"], told["discount_percent"], told["to_pay_usd"]) == (88.5, 10, 79.65)
    assert told["items"] == [{"name": "Tea sampler, 12 tins", "quantity": 3, "price": 29.5}]


def test_what_was_sent_can_be_tracked_and_nothing_else() -> None:
    told = shop.tracking_info("1002")
    assert told["status"] == "shipped" and told["carrier"] and told["tracking_number"]
    assert told["shipped_on"] < timezone.now().date().isoformat() < told["expected_on"]
    assert "delivered_on" in shop.tracking_info("1003") and "expected_on" not in shop.tracking_info("1003")
    with pytest.raises(Conflict, match="1001 is processing"):
        shop.tracking_info("1001")


def test_cancelling_changes_the_order_once_however_often_the_call_is_repeated() -> None:
    first = shop.cancel_order("1001", "key-1")
    assert (first["status"], first["refund_usd"]) == ("cancelled", 78.5)
    at = Order.objects.get(pk="1001").cancelled_at
    assert shop.cancel_order("1001", "key-1") == first
    assert changes() == ["cancel_order"]
    again = shop.cancel_order("#1001", "key-2")
    assert "had been cancelled before" in again["note"]
    assert Order.objects.get(pk="1001").cancelled_at == at


def test_a_discount_belongs_to_its_key() -> None:
    first = shop.apply_discount("1004", 10, "key-1")
    assert first == {"order_id": "1004", "discount_percent": 10, "to_pay_usd": 133.65}
    second = shop.apply_discount("1004", 50, "key-2")
    assert (second["discount_percent_before"], second["to_pay_usd"]) == (10, 74.25)
    assert shop.apply_discount("1004", 10, "key-1") == first, "told again"
    assert Order.objects.get(pk="1004").discount_percent == 50, "and not done again"
    for wrong in (lambda: shop.apply_discount("1004", 11, "key-1"), lambda: shop.cancel_order("1004", "key-1")):
        with pytest.raises(Conflict, match="another change"):
            wrong()


@pytest.mark.parametrize(
    ("call", "problem", "said"),
    [
        (lambda: shop.order_status("9999"), NotFound, "no order '9999'"),
        (lambda: shop.order_status("\0' OR 1=1 --"), NotFound, "no order"),
        (lambda: shop.cancel_order("9999", "k"), NotFound, "no order '9999'"),
        (lambda: shop.cancel_order("1002", "k"), Conflict, "1002 is shipped already"),
        (lambda: shop.cancel_order("1003", "k"), Conflict, "1003 is delivered already"),
        (lambda: shop.apply_discount("1005", 10, "k"), Conflict, "1005 is cancelled"),
        (lambda: shop.apply_discount("1004", 0, "k"), InvalidInput, "from 1 to 100"),
        (lambda: shop.apply_discount("1004", 101, "k"), InvalidInput, "from 1 to 100"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_trace(call: Any, problem: type[ChatError], said: str) -> None:
    before = list(Order.objects.values())
    with pytest.raises(problem, match=said):
        call()
    assert list(Order.objects.values()) == before
    assert changes() == []


def test_the_change_and_its_record_are_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**columns: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(OrderChange.objects, "create", full)
        with pytest.raises(RuntimeError):
            shop.cancel_order("1001", "key-1")
    assert Order.objects.get(pk="1001").status == "processing"
    assert shop.cancel_order("1001", "key-1")["status"] == "cancelled"


def test_the_same_call_made_twice_at_once_counts_once(threads: Threads) -> None:
    told = threads.at_once(*[lambda: shop.apply_discount("1004", 20, "key-1")] * 4)
    assert told == [{"order_id": "1004", "discount_percent": 20, "to_pay_usd": 118.8}] * 4
    assert changes() == ["apply_discount"]


def test_the_command_puts_everything_back(capsys: pytest.CaptureFixture[str]) -> None:
    shop.cancel_order("1001", "key-1")
    Order.objects.create(id="7", customer="Nobody", total=1)
    call_command("seedshop")
    assert "6 orders" in capsys.readouterr().out
    assert Order.objects.get(pk="1001").status == "processing"
    assert Order.objects.count() == 6 and changes() == []
