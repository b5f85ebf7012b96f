"""Messages: what was said, in the sessions that were talked in last. Reading them is written down."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from chat.actions.audit import record_look
from chat.admin.base import Dates, ReadOnly, found_users, linked, linked_id, visit
from chat.admin.site import site
from chat.models import Message, Run

SHOWN_CHARS = 160


@admin.register(Message, site=site)
class Messages(ReadOnly):
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
        found: QuerySet[Message] = super().get_queryset(request).select_related("session")
        if request.resolver_match is None or not str(request.resolver_match.url_name).endswith("_changelist"):
            return found
        return found.defer("content", "data", "attachments").annotate(text=Left("content", SHOWN_CHARS + 1))

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(user__in=found_users(words))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: Any = super().changelist_view(request, extra_context)
        shown = getattr(response, "context_data", None) or {}
        if "cl" in shown:
            record_look(visit(request), [row.session_id for row in shown["cl"].result_list], "list of messages")
        return response

    def show(self, request: HttpRequest, row: Message) -> dict[str, Any]:
        record_look(visit(request), [row.session_id], "message")
        return {}

    @admin.display(description="At")
    def said_at(self, message: Message) -> Any:
        return message.created_at

    @admin.display(description="Session")
    def in_session(self, message: Message) -> str:
        return linked(message.session, message.session.title or str(message.session_id)[:8])

    @admin.display(description="Author")
    def said_by(self, message: Message) -> str:
        return str(message.author.get("name", ""))

    @admin.display(description="Text")
    def start(self, message: Any) -> str:
        text = message.text
        return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"

    @admin.display(description="Run")
    def of_run(self, message: Message) -> str | None:
        return linked_id(Run, message.run_id)
