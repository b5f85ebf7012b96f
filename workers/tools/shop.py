"""Tools for the shop that comes with the server. Nothing is sent anywhere: what they do, they do to rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from chat.actions import shop
from chat.errors import ChatError
from workers.tools.base import ToolContext, ToolError, tool

OrderId = Annotated[str, Field(min_length=1, max_length=20, description='The number of the order, as text: "1001".')]
Percent = Annotated[int, Field(ge=1, le=100)]


@contextmanager
def _told() -> Iterator[None]:
    """Why the shop cannot do it, in its own words: they were written for whoever asks."""
    try:
        yield
    except ChatError as problem:
        raise ToolError(str(problem)) from None


@tool(effect="pure", access="read", database="read")
def get_order_status(order_id: OrderId) -> dict[str, Any]:
    """Look an order up: its customer, items, status, dates, discount and what is to be paid."""
    with _told():
        return shop.order_status(order_id)


@tool(effect="pure", access="read", database="read")
def get_tracking_info(order_id: OrderId) -> dict[str, Any]:
    """Tell where an order is that was sent: its carrier, tracking number and when it is expected."""
    with _told():
        return shop.tracking_info(order_id)


@tool(effect="idempotent", access="write", database="write")
def cancel_order(context: ToolContext, order_id: OrderId) -> dict[str, Any]:
    """Cancel an order that was not sent yet, and refund what was paid."""
    with _told():
        return shop.cancel_order(order_id, context.key)


@tool(effect="idempotent", access="write", database="write")
def apply_discount(context: ToolContext, order_id: OrderId, percent: Percent) -> dict[str, Any]:
    """Take some percent off an order, in the place of a discount that it has."""
    with _told():
        return shop.apply_discount(order_id, percent, context.key)
