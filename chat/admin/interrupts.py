"""Questions of agents to people, the open ones first. An operator may answer in their place, and all are told."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.views import ChangeList

from chat.actions.audit import record_act, record_look
from chat.actions.interrupts import resolve_as_operator
from chat.admin.base import Dates, InSession, OfRun, linked_id, operator, status_column, url_of, visit
from chat.admin.site import site
from chat.errors import ChatError, InvalidInput
from chat.models import Interrupt, ToolCall
from chat.protocol import read_body
from chat.protocol.commands import Answer, Resolution, read_json

SHOWN_CHARS = 120


@admin.register(Interrupt, site=site)
class Interrupts(InSession, OfRun):
    list_display = ("asked_at", "status_shown", "reason", "start", "in_session", "of_run", "expires_at", "resolved_by")
    list_filter = (("status", ChoicesDropdownFilter), ("reason", ChoicesDropdownFilter), ("created_at", Dates))
    ordering = (Case(When(status=Interrupt.Status.OPEN, then=Value(0)), default=Value(1)), "-created_at")
    ids = ("pk", "session_id", "run_id", "tool_call_id")
    search_help_text = "Id of question, session, run or tool call"
    fields = (
        ("id", "reason", "status"),
        ("in_session", "of_run", "about"),
        ("created_at", "expires_at", "resolved_at", "resolved_by"),
        "prompt",
        "payload",
        "answer",
    )
    readonly_fields = ("in_session", "of_run", "about")
    change_form_outer_before_template = "chat/admin/interrupt.html"

    status_shown = status_column()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Interrupt]:
        return super().get_queryset(request).select_related("resolved_by")

    def listed(self, request: HttpRequest, found: ChangeList) -> dict[str, Any]:
        record_look(visit(request), [row.session_id for row in found.result_list], "list of questions")
        return {}

    @admin.display(description="At")
    def asked_at(self, asked: Interrupt) -> Any:
        return asked.created_at

    @admin.display(description="Question")
    def start(self, asked: Interrupt) -> str:
        text = asked.prompt
        if asked.reason == Interrupt.Reason.APPROVAL:
            text += f" {json.dumps(asked.payload.get('args'), ensure_ascii=False)}"
        return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"

    @admin.display(description="Tool call")
    def about(self, asked: Interrupt) -> str | None:
        return linked_id(ToolCall, asked.tool_call_id)

    # --- answering --------------------------------------------------------------------------------------------------
    def show(self, request: HttpRequest, row: Interrupt) -> dict[str, Any]:
        record_look(visit(request), [row.session_id], "question")
        if row.status != Interrupt.Status.OPEN or not _may_answer(request):
            return {}
        args = json.dumps(row.payload.get("args", {}), ensure_ascii=False, indent=2)
        return {"question": row, "args": args, "choices": row.payload.get("choices", ())}

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("<uuid:interrupt_id>/answer/", "chat_interrupt_answer", self.answer),)

    def answer(self, request: HttpRequest, interrupt_id: UUID, **_: Any) -> HttpResponse:
        """Answer a question by the form of its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not _may_answer(request):
            raise PermissionDenied
        asked = Interrupt.objects.filter(pk=interrupt_id).first()
        if asked is None:
            raise Http404
        record_act(visit(request), [asked.session_id], "answer question")
        try:
            resolve_as_operator(operator(request), asked.pk, _read(asked, request))
        except ChatError as problem:
            details = "; ".join(f"{name}: {told}" for name, told in (problem.fields or {}).items())
            self.message_user(request, f"Not answered: {problem} {details}".strip(), messages.ERROR)
        else:
            self.message_user(request, "Answered.", messages.SUCCESS)
        return HttpResponseRedirect(url_of(asked))


def _may_answer(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("chat.change_interrupt"))


def _read(asked: Interrupt, request: HttpRequest) -> Answer:
    """Understand a form: the button says what is done, and the fields beside it how. Raises `InvalidInput`."""
    done, said = request.POST.get("do", ""), request.POST.get("said", "").strip()
    answer: dict[str, Any]
    if done == "approve":
        answer = {"approved": True}
        if "args" in request.POST:
            try:
                args = read_json(request.POST["args"])
            except InvalidInput:
                raise InvalidInput("The arguments are not valid JSON.", fields={"args": "not JSON"}) from None
            if args != asked.payload.get("args"):
                answer["args"] = args
    elif done == "refuse":
        answer = {"approved": False} | ({"reason": said} if said else {})
    elif asked.reason == Interrupt.Reason.CHOICE:
        # By its number: a form sends the ends of lines as others, and here the spaces around are taken off.
        offered = {str(number): choice for number, choice in enumerate(asked.payload["choices"])}
        answer = {"choice": offered.get(said, "")}
    else:
        answer = {"text": said}
    return read_body(Resolution, {"answer": answer}).answer
