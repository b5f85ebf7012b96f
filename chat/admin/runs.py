"""Runs: what became of each answer, attempt by attempt, and what its LLM was told."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
)

from chat.actions import runs as actions
from chat.actions.audit import record_look
from chat.admin.base import (
    AlreadySo,
    Dates,
    InSession,
    found_users,
    linked,
    linked_id,
    list_of,
    operator,
    status_column,
    visit,
)
from chat.admin.site import relay, site
from chat.models import ChatSession, Event, Message, Run, ToolCall, Usage

SHOWN_CHARS = 2000  # of each message that was read
SHOWN_LINES = 200
SHOWN_CALLS = 100  # of tools, and questions about them


@dataclass
class Attempt:
    """One attempt as the log tells it."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    ended: str = "in progress"
    discarded: list[str] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)  # by LLM


@admin.register(Run, site=site)
class Runs(InSession):
    list_display = (
        "queued_at",
        "status_shown",
        "in_session",
        "user",
        "by_agent",
        "attempt",
        "crashes",
        "tokens",
        "error_code",
        "on_worker",
    )
    list_display_links = ("queued_at",)
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("agent", RelatedDropdownFilter),
        ("user", AutocompleteSelectFilter),
        ("session__active_at", Dates),
    )
    # By indexes: that of the sessions' last activity, then that of a session's runs.
    ordering = ("-session__active_at", "-session_id", "-position")
    ids = ("pk", "session_id", "message_id")
    search_help_text = "Id of run, session or question; user"
    fields = (
        ("id", "in_session", "status", "user"),
        ("agent", "chosen_llm", "llm", "attempt", "crashes"),
        ("queued_at", "started_at", "interrupted_at", "ended_at"),
        ("waited", "worked", "input_tokens", "output_tokens", "cost_usd"),
        ("on_worker", "position", "slot", "retry_of"),
        "what_went_wrong",
    )
    readonly_fields = ("in_session", "on_worker", "waited", "worked", "ended_at", "what_went_wrong")
    actions = ("cancel", "retry")
    change_form_outer_after_template = "chat/admin/run.html"

    status_shown = status_column()

    # --- the list ---------------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).select_related("user", "worker", "agent")

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(user__in=found_users(words))

    @admin.display(description="Tokens in + out")
    def tokens(self, run: Run) -> str:
        return f"{run.input_tokens} + {run.output_tokens}"

    @admin.display(description="Error")
    def error_code(self, run: Run) -> str | None:
        return run.error and run.error.get("code")

    @admin.display(description="Error")
    def what_went_wrong(self, run: Run) -> str | None:
        return run.error and f"{run.error['code']}: {run.error['message']}"

    @admin.display(description="Agent")
    def by_agent(self, run: Run) -> str:
        return run.agent_id

    @admin.display(description="Worker")
    def on_worker(self, run: Run) -> str | None:
        return linked(run.worker, run.worker.name) if run.worker else None

    @admin.display(description="Ended at")
    def ended_at(self, run: Run) -> str:
        end = _end_of(run)
        return date_format(end, "DATETIME_FORMAT") if end else "-"

    @admin.display(description="From queued to started")
    def waited(self, run: Run) -> str | None:
        return _duration(run.queued_at, run.started_at)

    @admin.display(description="From started to ended")
    def worked(self, run: Run) -> str | None:
        return _duration(run.started_at, _end_of(run))

    # --- the page ---------------------------------------------------------------------------------------------------
    def show(self, request: HttpRequest, row: Run) -> dict[str, Any]:
        record_look(visit(request), [row.session_id], "run")
        shown: dict[str, Any] = {"row": row, "attempts": _attempts(row)}
        shown["ask"] = linked_id(Message, row.message_id)
        answer = (
            Message.objects.filter(pk__in=[row.answer_id] if row.answer_id else []).values_list("pk", flat=True).first()
        )
        shown["answer"] = linked_id(Message, answer)
        if request.user.has_perm("chat.view_toolcall"):
            calls = row.tool_calls.in_order()[:SHOWN_CALLS]
            shown |= {"tool_calls": calls, "all_tool_calls": list_of(ToolCall, run__id__exact=row.pk)}
        if request.user.has_perm("chat.view_interrupt"):
            shown["interrupts"] = row.interrupts.select_related("resolved_by").order_by("created_at")[:SHOWN_CALLS]
        if request.user.has_perm("chat.view_message"):
            shown |= _what_was_read(row)
        return shown

    # --- actions ----------------------------------------------------------------------------------------------------
    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("chat.change_run"))

    def buttons(self, row: Run) -> tuple[str, ...]:
        if row.is_open:
            return ("cancel",)
        return () if row.status == Run.Status.SUCCEEDED else ("retry",)

    @admin.action(description="Cancel run", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        def cancel(run: Run) -> str:
            outcome = actions.cancel_as_operator(operator(request), run.pk)
            if not outcome.frames:
                raise AlreadySo(f"already finished ({outcome.run.status}).")
            relay(run.session_id, outcome.frames)
            return "cancelled."

        return self.act_on_all(request, queryset, cancel, "cancel run")

    @admin.action(description="Retry run", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        def retry(run: Run) -> str:
            outcome = actions.retry_as_operator(operator(request), run.pk)
            if not outcome.frames:
                raise AlreadySo("asked again already.")
            return "asked again."

        return self.act_on_all(request, queryset, retry, "retry run")


def _end_of(run: Run) -> datetime | None:
    return run.succeeded_at or run.failed_at or run.cancelled_at


def _duration(start: datetime | None, end: datetime | None) -> str | None:
    return f"{(end - start).total_seconds():.2f} s" if start and end else None


ENDS = {"run.succeeded": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled"}
REASONS = {"worker_lost": "its worker died or froze", "drained": "its worker was stopped and handed it back"}


def _attempts(run: Run) -> list[Attempt]:
    """Read from the log how each attempt began and ended."""
    told = Event.objects.filter(session_id=run.session_id, seq__gte=run.position, run_id=run.pk)
    attempts: list[Attempt] = []
    for event in told.filter(type__startswith="run.").order_by("seq")[:SHOWN_LINES]:
        if event.type == "run.started":
            attempts.append(Attempt(event.data["attempt"], event.at))
        elif not attempts:
            continue
        elif event.type == "run.restarted":
            reason = event.data.get("reason", "")
            last = attempts[-1]
            last.ended, last.ended_at = f"put back: {REASONS.get(reason, reason)}", event.at
            last.discarded = event.data.get("discarded", [])
        elif event.type in {*ENDS, "run.interrupted"}:
            attempts[-1].ended, attempts[-1].ended_at = ENDS.get(event.type, "a question to a person"), event.at
            if error := event.data.get("error"):
                attempts[-1].ended += f": {error['code']}"
    for usage in run.spent.order_by("pk"):
        for attempt in attempts:
            if attempt.number == usage.attempt:
                attempt.usage.append(usage)
    return attempts


def _what_was_read(run: Run) -> dict[str, Any]:
    """The prompt of the last attempt that ended, put together again from where its parts stand."""
    read = run.read
    if not read:
        return {"read": None}
    seqs = sorted(read["seqs"])[-SHOWN_LINES:]
    found = Message.objects.filter(session_id=run.session_id, seq__in=seqs).defer("content", "data")
    by_seq = {message.seq: message for message in found.annotate(start=Left("content", SHOWN_CHARS + 1))}
    session = ChatSession.objects.only("summary", "summary_seq").get(pk=run.session_id)
    return {
        "read": read,
        "read_messages": [by_seq[seq] for seq in read["seqs"] if seq in by_seq],
        "read_left_out": len(read["seqs"]) - len(by_seq),
        "read_summary": session.summary if session.summary_seq == read["summary_seq"] else None,
        "agent": run.agent,
        "agent_changed": run.started_at is None or run.agent.updated_at > run.started_at,
        "chars": SHOWN_CHARS,
        "slice": f":{SHOWN_CHARS}",
    }
