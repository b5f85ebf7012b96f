"""Messages: what was said, in the sessions that were talked in last. Reading them is written down."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.views import ChangeList

from chat.actions.audit import record_look
from chat.admin.base import Dates, InSession, OfRun, found_users, is_list, visit
from chat.admin.site import site
from chat.models import Message

SHOWN_CHARS = 160


@admin.register(Message, site=site)
class Messages(InSession, OfRun):
    list_display = ("said_at", "in_session", "said_by", "role", "start", "of_run")
    list_filter = (
        ("role", ChoicesDropdownFilter),
        ("user", AutocompleteSelectFilter),
        ("session__active_at", Dates),
    )
    # By indexes: that of the sessions' last activity, then that of a session's messages.
    ordering = ("-session__active_at", "-session_id", "-seq")
    ids = ("pk", "session_id", "run_id")
    search_help_text = "Id of message, session or run; author"
    fields = (
        ("id", "in_session", "seq", "of_run"),
        ("said_by", "role", "kind", "category", "joined", "read_step"),
        ("created_at", "updated_at", "deleted_at"),
        "content",
        ("data", "attachments"),
    )
    readonly_fields = ("in_session", "of_run", "said_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        found: QuerySet[Message] = super().get_queryset(request)
        if not is_list(request):
            return found
        return found.defer("content", "data", "attachments").annotate(text=Left("content", SHOWN_CHARS + 1))

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(user__in=found_users(words))

    def listed(self, request: HttpRequest, found: ChangeList) -> dict[str, Any]:
        record_look(visit(request), [row.session_id for row in found.result_list], "list of messages")
        return {}

    def show(self, request: HttpRequest, row: Message) -> dict[str, Any]:
        record_look(visit(request), [row.session_id], "message")
        return {}

    @admin.display(description="At")
    def said_at(self, message: Message) -> Any:
        return message.created_at

    @admin.display(description="Author")
    def said_by(self, message: Message) -> str:
        return str(message.author.get("name", ""))

    @admin.display(description="Text")
    def start(self, message: Any) -> str:
        text = message.text
        return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
