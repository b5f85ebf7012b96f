"""The ledger: every call of a tool, what became of it, and how often it was made. Reading one is written down."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from chat.actions.audit import record_look
from chat.admin.base import Dates, InSession, OfRun, is_list, linked_id, status_column, visit
from chat.admin.site import site
from chat.models import Interrupt, Message, ToolCall


@admin.register(ToolCall, site=site)
class ToolCalls(InSession, OfRun):
    list_display = ("at", "tool", "status_shown", "access", "effect", "in_session", "of_run", "calls", "took")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("access", ChoicesDropdownFilter),
        ("effect", ChoicesDropdownFilter),
        ("created_at", Dates),
    )
    # By indexes: that of the sessions' last activity, then that of a session's calls.
    ordering = ("-session__active_at", "-session_id", "-created_at", "-step", "-index")
    ids = ("pk", "session_id", "run_id")
    search_help_text = "Id of call, session or run; name of a tool"
    fields = (
        ("id", "tool", "status"),
        ("in_session", "of_run", "as_message"),
        ("access", "effect", "needs_approval"),
        ("step", "index", "calls", "attempt"),
        ("created_at", "called_at", "ended_at", "took"),
        "args",
        "as_written",
        ("result", "error"),
        "text",
    )
    readonly_fields = ("in_session", "of_run", "as_message", "took", "as_written")
    change_form_outer_after_template = "chat/admin/tool_call.html"

    status_shown = status_column()

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolCall]:
        found: QuerySet[ToolCall] = super().get_queryset(request)
        return found.defer("args", "args_json", "result", "error", "text") if is_list(request) else found

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(tool=words)

    @admin.display(description="At")
    def at(self, call: ToolCall) -> Any:
        return call.created_at

    @admin.display(description="Message")
    def as_message(self, call: ToolCall) -> str | None:
        return linked_id(Message, call.pk)

    @admin.display(description="Took")
    def took(self, call: ToolCall) -> str | None:
        return None if call.duration_s is None else f"{call.duration_s:.2f} s"

    @admin.display(description="Args as the LLM wrote them")
    def as_written(self, call: ToolCall) -> str:
        return call.args_json

    def show(self, request: HttpRequest, row: ToolCall) -> dict[str, Any]:
        record_look(visit(request), [row.session_id], "tool call")
        if not request.user.has_perm("chat.view_interrupt"):
            return {}
        asked = Interrupt.objects.filter(tool_call=row).select_related("resolved_by").order_by("created_at")
        return {"interrupts": asked[:50]}
