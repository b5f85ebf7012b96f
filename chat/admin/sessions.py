"""Sessions: found by people and states, read with their talk and their runs, closed and reopened."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
)
from unfold.views import ChangeList

from chat import stream
from chat.actions import sessions as actions
from chat.actions.audit import record_look, record_watching
from chat.admin.base import (
    AlreadySo,
    Dates,
    ReadOnly,
    found_users,
    is_list,
    linked,
    list_of,
    operator,
    status_column,
    visit,
)
from chat.admin.site import site
from chat.models import ChatSession, Interrupt, Member, Message, Run, ToolCall

SHOWN = 50  # of the messages, runs and members of a session, on its page
SHOWN_CHARS = 2000  # of a message there
RECENT = 1000  # numbers of the log: how far back a list looks for an error or a text
SEARCHED_SESSIONS = 200
TEXT = "text:"


@admin.register(ChatSession, site=site)
class Sessions(ReadOnly):
    list_display = ("name", "status_shown", "of_agent", "people", "last_seq", "updated_at", "open_run", "last_error")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("agent", RelatedDropdownFilter),
        ("members__user", AutocompleteSelectFilter),
        ("active_at", Dates),
    )
    ordering = ("-active_at", "-pk")
    search_help_text = f"Id, title or member; or {TEXT}some words"
    ids = ("pk", "runs__pk", "messages__pk")
    fields = (
        ("id", "title", "status", "agent", "on_busy"),
        ("last_seq", "kept_from", "updated_at", "created_at"),
        ("completed_at", "closed_at", "parent", "incident_id"),
        ("summary", "summary_seq", "metadata"),
    )
    actions = ("close", "reopen")
    change_form_outer_after_template = "chat/admin/session.html"

    status_shown = status_column()

    # --- the list ---------------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatSession]:
        found: QuerySet[ChatSession] = super().get_queryset(request)
        if not is_list(request):
            return found.select_related("agent", "parent")
        failed = Run.objects.filter(session_id=OuterRef("pk"), status=Run.Status.FAILED)
        recently = failed.filter(position__gt=OuterRef("last_seq") - RECENT).order_by("-position")
        return (
            found.defer("summary", "metadata")
            .annotate(failed=Subquery(recently.annotate(code=KeyTextTransform("code", "error")).values("code")[:1]))
            .prefetch_related(
                Prefetch("members", Member.objects.select_related("user").order_by("pk")[:4], to_attr="some_members"),
                Prefetch("runs", Run.objects.open().order_by("position")[:1], to_attr="open_runs"),
            )
        )

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        if not words.startswith(TEXT):
            theirs = Member.objects.filter(user__in=found_users(words)).values("session_id")
            return queryset.filter(Q(title__icontains=words) | Q(pk__in=theirs))
        if not request.user.has_perm("chat.view_message") or not words.removeprefix(TEXT).strip():
            return queryset.none()
        # By the index of a session's messages, in so many sessions, so far back: however large the table is.
        newest = queryset.order_by(*self.ordering).values_list("pk", flat=True)[:SEARCHED_SESSIONS]
        said = Message.objects.filter(session_id__in=list(newest), seq__gt=F("session__last_seq") - RECENT)
        hits = said.filter(content__icontains=words.removeprefix(TEXT).strip()).values("session_id")
        return queryset.filter(pk__in=hits)

    def listed(self, request: HttpRequest, found: ChangeList) -> dict[str, Any]:
        if request.GET.get("q", "").strip().startswith(TEXT):
            record_look(visit(request), [row.pk for row in found.result_list], "search in messages")
        return {}

    @admin.display(description="Session")
    def name(self, session: ChatSession) -> str:
        return session.title or str(session.pk)[:8]

    @admin.display(description="Agent")
    def of_agent(self, session: ChatSession) -> str:
        return str(session.agent_id)

    @admin.display(description="Members")
    def people(self, session: Any) -> str:
        names = [member.user.username for member in session.some_members]
        return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

    @admin.display(description="Open run")
    def open_run(self, session: Any) -> str | None:
        for run in session.open_runs:
            return linked(run, run.status if not run.crashes else f"{run.status}, {run.crashes} crashes")
        return None

    @admin.display(description="Last error")
    def last_error(self, session: Any) -> str | None:
        return session.failed

    # --- the page ---------------------------------------------------------------------------------------------------
    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The summary is the talk once more, in an LLM's words; and a client may have put anything into the metadata.
        return self.fields if request.user.has_perm("chat.view_message") else self.fields[:-1]

    def show(self, request: HttpRequest, row: ChatSession) -> dict[str, Any]:
        record_look(visit(request), [row.pk], "session")
        shown: dict[str, Any] = {"row": row}
        if request.user.has_perm("chat.view_member"):
            members = row.members.select_related("user").order_by("pk")
            shown |= {"members": members[:SHOWN], "all_members": list_of(Member, session__id__exact=row.pk)}
        if request.user.has_perm("chat.view_message"):
            newest = row.messages.newest_first().defer("content", "data")
            said = newest.annotate(start=Left("content", SHOWN_CHARS + 1))[:SHOWN]
            shown |= {"said": list(reversed(said)), "all_messages": list_of(Message, session__id__exact=row.pk)}
            shown |= {"chars": SHOWN_CHARS, "slice": f":{SHOWN_CHARS}"}
        if request.user.has_perm("chat.view_run"):
            runs = row.runs.select_related("user").defer("read", "checkpoint").order_by("-position")
            shown |= {"runs": runs[:SHOWN], "all_runs": list_of(Run, session__id__exact=row.pk)}
        if request.user.has_perm("chat.view_toolcall"):
            calls = row.tool_calls.order_by("-created_at", "-step", "-index")[:SHOWN]
            shown |= {"tool_calls": calls, "all_tool_calls": list_of(ToolCall, session__id__exact=row.pk)}
        if request.user.has_perm("chat.view_interrupt"):
            asked = row.interrupts.select_related("resolved_by").order_by("-created_at")[:SHOWN]
            shown |= {"interrupts": asked, "all_interrupts": list_of(Interrupt, session__id__exact=row.pk)}
        if _may_watch(request):
            shown |= _live(row.pk)
        return shown

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("<uuid:session_id>/live/", "chat_chatsession_live", _show_live),)

    # --- actions ----------------------------------------------------------------------------------------------------
    def has_close_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("chat.change_chatsession"))

    def buttons(self, row: ChatSession) -> tuple[str, ...]:
        return ("reopen",) if row.status in {row.Status.CLOSED, row.Status.COMPLETED} else ("close",)

    @admin.action(description="Close session", permissions=["close"])
    def close(self, request: HttpRequest, queryset: QuerySet[ChatSession]) -> HttpResponse | None:
        def close(session: ChatSession) -> str:
            if session.status == ChatSession.Status.CLOSED:
                raise AlreadySo("closed already.")
            actions.close_session(operator(request), session.pk, by_operator=True)
            return "closed."

        return self.act_on_all(request, queryset, close, "close session", lambda session: session.pk)

    @admin.action(description="Reopen session", permissions=["close"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[ChatSession]) -> HttpResponse | None:
        def reopen(session: ChatSession) -> str:
            if session.status not in {ChatSession.Status.CLOSED, ChatSession.Status.COMPLETED}:
                raise AlreadySo("open already.")
            actions.reopen_session(operator(request), session.pk, by_operator=True)
            return "reopened."

        return self.act_on_all(request, queryset, reopen, "reopen session", lambda session: session.pk)


def _may_watch(request: HttpRequest) -> bool:
    return bool(request.user.has_perms(["chat.view_chatsession", "chat.view_message", "chat.view_run"]))


def _show_live(request: HttpRequest, session_id: UUID, **_: Any) -> HttpResponse:
    """The part of a session's page that asks again every two seconds."""
    if not _may_watch(request) or not ChatSession.objects.filter(pk=session_id).exists():
        raise Http404
    record_watching(visit(request), session_id, "answer in progress")
    return render(request, "chat/admin/live.html", _live(session_id))


def _live(session_id: UUID) -> dict[str, Any]:
    """The open runs of a session, and what the running one has written so far."""
    status = ChatSession.objects.values_list("status", flat=True).get(pk=session_id)
    runs = list(Run.objects.open().select_related("worker").filter(session_id=session_id).order_by("position")[:SHOWN])
    running = next((run for run in runs if run.status == Run.Status.RUNNING), None)
    drafts = stream.peek(session_id, running.drafts) if running else {}
    text = "" if running is None else "".join((drafts or {}).values()) or running.checkpoint
    return {
        "live_session_id": session_id,
        "live_status": status,
        "open_runs": runs,
        "draft": text,
        "redis_is_away": drafts is None,
    }
