"""What can be asked of the shop and done in it. Each change and its record are one transaction, under one key."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from chat.actions.events import action
from chat.errors import Conflict, InvalidInput, NotFound
from chat.models import Order, OrderChange

Told = dict[str, Any]
Status = Order.Status


def order_status(order_id: str) -> Told:
    """Raises `NotFound`."""
    order = _found(order_id)
    told: Told = {
        "order_id": order.pk,
        "customer": order.customer,
        "status": order.status,
        "items": order.items,
        "total_usd": float(order.total),
        "discount_percent": order.discount_percent,
        "to_pay_usd": float(order.to_pay),
        "ordered_on": _day(order.ordered_at),
    }
    return told | _days(order)


def tracking_info(order_id: str) -> Told:
    """Raises `NotFound`, `Conflict` where nothing was sent."""
    order = _found(order_id)
    if not order.tracking_number:
        raise Conflict(f"Order {order.pk} is {order.status}: nothing was sent, so there is nothing to track.")
    told: Told = {
        "order_id": order.pk,
        "status": order.status,
        "carrier": order.carrier,
        "tracking_number": order.tracking_number,
    }
    return told | _days(order)


def cancel_order(order_id: str, key: str) -> Told:
    """Cancel an order that was not sent yet. Raises `NotFound`, `Conflict`."""

    def cancel(order: Order) -> Told:
        if order.status == Status.CANCELLED:
            return _cancelled(order) | {"note": "It had been cancelled before: nothing was changed."}
        if order.status != Status.PROCESSING:
            raise Conflict(f"Order {order.pk} is {order.status} already: it can no longer be cancelled.")
        order.status, order.cancelled_at = Status.CANCELLED, timezone.now()
        order.save(update_fields=["status", "cancelled_at"])
        return _cancelled(order)

    return _change(order_id, key, "cancel_order", {}, cancel)


def apply_discount(order_id: str, percent: int, key: str) -> Told:
    """Give an order a discount, in the place of one that it has. Raises `NotFound`, `Conflict`, `InvalidInput`."""
    if not 1 <= percent <= 100:
        raise InvalidInput("A discount is from 1 to 100 percent.")

    def apply(order: Order) -> Told:
        if order.status == Status.CANCELLED:
            raise Conflict(f"Order {order.pk} is cancelled: there is nothing to take off.")
        before, order.discount_percent = order.discount_percent, percent
        order.save(update_fields=["discount_percent"])
        told: Told = {"order_id": order.pk, "discount_percent": percent, "to_pay_usd": float(order.to_pay)}
        return told | ({"discount_percent_before": before} if before else {})

    return _change(order_id, key, "apply_discount", {"percent": percent}, apply)


@action
def _change(order_id: str, key: str, what: str, args: Told, change: Callable[[Order], Told]) -> Told:
    with transaction.atomic():
        order = _found(order_id, lock=True)
        known = OrderChange.objects.filter(pk=key).first()
        if known is not None:
            if (known.order_id, known.what, known.args) != (order.pk, what, args):
                raise Conflict("This key was used for another change.")
            again: Told = known.result
            return again
        result = change(order)
        OrderChange.objects.create(key=key, order=order, what=what, args=args, result=result)
    return result


def _found(order_id: str, *, lock: bool = False) -> Order:
    orders = Order.objects.select_for_update(no_key=True) if lock else Order.objects.all()
    name = order_id.strip().removeprefix("#").replace("\0", "")[:20]
    order = orders.filter(pk=name).first()
    if order is None:
        raise NotFound(f"There is no order {name!r}.")
    return order


def _cancelled(order: Order) -> Told:
    told: Told = {"order_id": order.pk, "status": order.status, "cancelled_on": _day(order.cancelled_at)}
    return told | {"refund_usd": float(order.to_pay)}


def _days(order: Order) -> Told:
    days = ("shipped", order.shipped_at), ("expected", order.expected_at), ("delivered", order.delivered_at)
    told = {f"{name}_on": _day(at) for name, at in (*days, ("cancelled", order.cancelled_at)) if at}
    if order.delivered_at:
        told.pop("expected_on", None)
    return told


def _day(at: datetime | None) -> str | None:
    return at.date().isoformat() if at else None


# --- the orders that are there at first -------------------------------------------------------------------------------
# Migration 0008 reads them too, and takes the columns that it knows: a column added later needs a default.
KETTLE, SAMPLER = ("Enamel kettle, 1.5 l", 49.00), ("Tea sampler, 12 tins", 29.50)
MUG, LAMP = ("Stoneware mug", 14.25), ("Reading lamp", 89.90)
BLANKET, CLOCK = ("Wool blanket", 120.00), ("Kitchen clock", 35.00)


def first_orders(now: datetime) -> list[Told]:
    """Build the columns of the orders that a shop begins with, their dates counted from now."""

    def order(number: int, customer: str, days: tuple[int, ...], *items: tuple[tuple[str, float], int]) -> Told:
        status = (Status.PROCESSING, Status.SHIPPED, Status.DELIVERED)[len(days) - 1]
        dates = [now - timedelta(days=one) for one in days]
        columns: Told = {
            "id": str(number),
            "customer": customer,
            "items": [{"name": name, "quantity": count, "price": price} for (name, price), count in items],
            "status": str(status),
            "total": sum((Decimal(str(price)) * count for (_, price), count in items), Decimal(0)),
            "ordered_at": dates[0],
        }
        if len(dates) > 1:
            columns |= {"shipped_at": dates[1], "expected_at": dates[1] + timedelta(days=4)}
            columns |= {"carrier": "Postwagen", "tracking_number": f"PW{number * 7919 % 10**8:08d}EU"}
        if len(dates) > 2:
            columns["delivered_at"] = dates[2]
        return columns

    return [
        order(1001, "Maria Lindqvist", (1,), (KETTLE, 1), (SAMPLER, 1)),
        order(1002, "Tomasz Wrona", (4, 2), (LAMP, 1)),
        order(1003, "Aiko Tanabe", (12, 10, 7), (MUG, 4)),
        order(1004, "Samuel Okafor", (0,), (BLANKET, 1), (MUG, 2)),
        order(1005, "Lena Brandt", (3,), (CLOCK, 2)) | {"status": "cancelled", "cancelled_at": now - timedelta(days=2)},
        order(1006, "Priya Raman", (1,), (SAMPLER, 3)) | {"discount_percent": 10},
    ]


def reset_shop() -> int:
    """Put the orders back to what they were at first. Returns how many there are."""
    with transaction.atomic():
        Order.objects.all().delete()
        orders = Order.objects.bulk_create(Order(**columns) for columns in first_orders(timezone.now()))
    return len(orders)
