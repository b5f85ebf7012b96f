"""Usage: what was spent, attempt by attempt, with sums by day, agent, user and language model."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.views import ChangeList

from chat.admin.base import Dates, OfRun
from chat.admin.site import site
from chat.models import Usage

SUMMED_DAYS = 30
TOP = 10

KINDS = {
    "Day": TruncDate("created_at"),
    "Agent": F("run__agent_id"),
    "User": F("run__user__username"),
    "LLM": F("llm"),
}


@admin.register(Usage, site=site)
class UsageRows(OfRun):
    list_display = ("created_at", "of_run", "attempt", "agent", "user", "llm", "input_tokens", "output_tokens", "cost")
    list_filter = (
        ("created_at", Dates),
        ("run__agent", RelatedDropdownFilter),
        ("run__user", AutocompleteSelectFilter),
    )
    ordering = ("-created_at", "-pk")
    ids = ("run_id", "run__session_id")
    search_help_text = "Id of run or session; LLM"
    list_before_template = "chat/admin/sums.html"
    fields = ("of_run", "attempt", "agent", "user", "llm", "input_tokens", "output_tokens", "cost", "created_at")
    readonly_fields = ("of_run", "agent", "user", "cost")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Usage]:
        found: QuerySet[Usage] = super().get_queryset(request)
        return found.select_related("run__user").only("run__agent_id", "run__user__username", *_OWN)

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(llm=words)

    def listed(self, request: HttpRequest, found: ChangeList) -> dict[str, Any]:
        rows = found.queryset.order_by()
        since = None
        if not any(request.GET.get(f"created_at_{end}") for end in ("from", "to")):
            since = timezone.now() - timedelta(days=SUMMED_DAYS)
            rows = rows.filter(created_at__gte=since)
        return {"sums": _sums(rows), "summed_days": SUMMED_DAYS if since else None}

    @admin.display(description="Agent")
    def agent(self, usage: Usage) -> str | None:
        return None if usage.run is None else str(usage.run.agent_id)

    @admin.display(description="User")
    def user(self, usage: Usage) -> str | None:
        return None if usage.run is None else usage.run.user.username

    @admin.display(description="Cost, USD")
    def cost(self, usage: Usage) -> Any:
        return usage.cost_usd


_OWN = ("run_id", "attempt", "llm", "input_tokens", "output_tokens", "cost_usd", "created_at")


def _sums(rows: QuerySet[Any]) -> list[dict[str, Any]]:
    """Add up by each kind; the largest first, of the days the newest."""
    tables = []
    for title, key in KINDS.items():
        sums = (
            rows.select_related(None)
            .values(key=key)
            .annotate(
                attempts=Count("pk"),
                tokens_in=Sum("input_tokens"),
                tokens_out=Sum("output_tokens"),
                usd=Sum("cost_usd"),
            )
        )
        order = "-key" if title == "Day" else "-tokens_out"
        tables.append({"title": title, "rows": list(sums.order_by(order)[:TOP])})
    return tables
