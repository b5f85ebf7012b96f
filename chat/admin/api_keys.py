"""API keys: whose, since when, used last; deleting one revokes it. The key itself is nowhere."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from chat.actions.api_keys import SHOWN
from chat.admin.base import Page, found_users
from chat.admin.site import site
from chat.models import ApiKey


@admin.register(ApiKey, site=site)
class ApiKeys(Page):
    list_display = ("name", "start", "user", "created_at", "used_at")
    list_filter = (("user", AutocompleteSelectFilter),)
    ordering = ("-created_at", "-pk")
    ids = ("pk", "user_id")
    search_help_text = "Id of key or user; name; start of a key"
    fields = ("name", "start", "user", "created_at", "used_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        found: QuerySet[ApiKey] = super().get_queryset(request)
        return found.select_related("user").defer("digest")

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        # Of a whole key that somebody found on the road only its start is looked for.
        return queryset.filter(start__startswith=words[:SHOWN]) | queryset.filter(user__in=found_users(words))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A person makes a key over the API, and is the only one who ever sees it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
