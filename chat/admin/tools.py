"""Tools: what the workers have, as they told at their start. Which agent may call one is chosen at the agent."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chat.admin.base import ReadOnly
from chat.admin.site import site
from chat.models import Tool


@admin.register(Tool, site=site)
class Tools(ReadOnly):
    list_display = ("name", "access", "effect", "needs_approval", "summary", "updated_at")
    ordering = ("name",)
    search_help_text = "A part of a name or description"
    fields = ("name", ("access", "effect", "needs_approval"), "description", "args_schema", "updated_at")

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(name__icontains=words) | queryset.filter(description__icontains=words)

    @admin.display(description="Does")
    def summary(self, tool: Tool) -> str:
        return tool.description.partition("\n")[0]
