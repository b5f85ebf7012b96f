"""The orders of the shop that comes with the server. Its tools change them; `manage.py seedshop` puts them back."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from chat.admin.base import ReadOnly, status_column
from chat.admin.site import site
from chat.models import Order


@admin.register(Order, site=site)
class Orders(ReadOnly):
    list_display = ("id", "customer", "status_shown", "total", "discount_percent", "to_pay", "ordered_at")
    list_filter = (("status", ChoicesDropdownFilter),)
    ordering = ("id",)
    search_help_text = "A number, or a part of a name"
    fields = (
        ("id", "customer", "status"),
        ("items", "total", "discount_percent", "to_pay"),
        ("carrier", "tracking_number"),
        ("ordered_at", "shipped_at", "expected_at", "delivered_at", "cancelled_at"),
    )
    readonly_fields = ("to_pay",)
    change_form_outer_after_template = "chat/admin/order.html"

    status_shown = status_column()

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(id=words.removeprefix("#")) | queryset.filter(customer__icontains=words)

    def show(self, request: HttpRequest, row: Order) -> dict[str, Any]:
        return {"changes": row.changes.order_by("-at")[:50]}
