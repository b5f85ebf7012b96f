"""The audit: who looked into whose talk, and who stepped in. Nobody changes it here."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chat.admin.base import Dates, ReadOnly, linked_id
from chat.admin.site import site
from chat.models import AuditEntry, ChatSession


@admin.register(AuditEntry, site=site)
class AuditEntries(ReadOnly):
    list_display = ("at", "username", "what", "in_session", "address", "path")
    list_filter = (("at", Dates),)
    ordering = ("-pk",)
    ids = ("session_id", "user_id")
    search_fields = ("username",)
    search_help_text = "Id of session or user; name"
    fields = ("at", "username", "user_id", "what", "session_id", "address", "path")

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(username__istartswith=words)

    @admin.display(description="Session")
    def in_session(self, entry: AuditEntry) -> str | None:
        return linked_id(ChatSession, entry.session_id)
