"""The orders of the shop, and the tools that are there: to be read."""

from chat.actions import shop
from chat.models import Tool
from tests.admin.conftest import Browser


def test_orders_are_found_and_show_what_was_done_to_them(olga: Browser) -> None:
    shop.reset_shop()
    shop.apply_discount("1004", 10, "the key of a call")
    assert "1004 Samuel Okafor processing" in olga.text("/admin/chat/order/?q=%231004")
    assert "1001" not in olga.text("/admin/chat/order/?q=okafor")
    page = olga.text("/admin/chat/order/1004/change/")
    assert "133.65" in page and "apply_discount" in page and "the key of a call" in page
    olga.post("/admin/chat/order/1004/change/", {"status": "cancelled"}, 403)
    shop.reset_shop()


def test_tools_are_listed_with_what_they_may_do(olga: Browser) -> None:
    description = "Cancel an order.\n\nAnd more."
    Tool.objects.create(name="cancel", access="write", effect="once", needs_approval=True, description=description)
    page = olga.text("/admin/chat/tool/?q=order")
    assert "cancel Write Once" in page and "Cancel an order." in page and "And more." not in page
    assert "And more." in olga.text("/admin/chat/tool/cancel/change/")
