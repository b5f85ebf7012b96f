"""Agents: who answers, how, with which LLM and tools. They are switched off, not deleted: talk refers to them.

What is stored as JSON is filled in field by field here; the checks are the model's own, as over the API.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from chat.admin.base import Page
from chat.admin.site import site
from chat.models import Agent, Tool
from chat.models.agents import CONTEXT_TOKENS_MIN, MODES

NONE = "none"
MOST = 10_000_000


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    mode = forms.ChoiceField(choices=[(mode, mode) for mode in MODES], widget=UnfoldAdminSelectWidget)
    instructions = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 12}), help_text="What the LLM is told first."
    )
    fallbacks = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=f"LLMs that are asked when its own fails, one a line, in this order. Empty: the server's "
        f"(CHAT_FALLBACKS). The word {NONE}: no other is asked.",
    )
    tools = forms.MultipleChoiceField(
        required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text="What it may call, in mode react."
    )
    context_tokens = forms.IntegerField(
        label="Tokens that it reads",
        required=False,
        min_value=CONTEXT_TOKENS_MIN,
        max_value=MOST,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How much of a talk its LLM reads at most. Empty: the server's own (CHAT_CONTEXT_TOKENS).",
    )
    context_summary = forms.BooleanField(
        label="Reads a summary of what is older", required=False, widget=UnfoldBooleanSwitchWidget
    )
    limit_steps = forms.IntegerField(
        label="Steps",
        required=False,
        min_value=1,
        max_value=MOST,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How often one answer may ask its LLM. Empty: the server's own.",
    )
    limit_seconds = forms.FloatField(
        label="Seconds",
        required=False,
        min_value=0.001,
        max_value=MOST,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="How long one answer may be worked on; waiting for people does not count. Empty: no limit.",
    )
    limit_cost_usd = forms.FloatField(
        label="US dollars",
        required=False,
        min_value=0.000001,
        max_value=MOST,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="What the tokens of one answer may cost. Empty: no limit.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agent: Agent = self.instance
        choices = {tool.name: _described(tool) for tool in Tool.objects.all()}
        choices = {name: f"{name}: no worker has it now" for name in agent.tools} | choices
        if "tools" not in self.fields:
            return  # who may look and not change is shown the values, and no form
        field: Any = self.fields["tools"]
        field.choices = sorted(choices.items())
        limits = {f"limit_{name}": agent.run_limit.get(name) for name in ("steps", "seconds", "cost_usd")}
        self.initial = {
            **self.initial,
            "fallbacks": "" if agent.fallbacks is None else "\n".join(agent.fallbacks) or NONE,
            "context_tokens": agent.context.get("tokens"),
            "context_summary": agent.context.get("summary", True),
            **limits,
        }

    def clean_fallbacks(self) -> list[str] | None:
        names = [name for line in str(self.cleaned_data["fallbacks"]).splitlines() if (name := line.strip())]
        return [] if names == [NONE] else names or None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        tokens, summary = cleaned.get("context_tokens"), cleaned.get("context_summary")
        self.instance.context = ({"tokens": tokens} if tokens else {}) | ({} if summary else {"summary": False})
        limits = {name: cleaned.get(f"limit_{name}") for name in ("steps", "seconds", "cost_usd")}
        self.instance.run_limit = {name: value for name, value in limits.items() if value is not None}
        return cleaned


def _described(tool: Tool) -> str:
    kind = "writes, asks a person first" if tool.needs_approval else "writes" if tool.access == "write" else "reads"
    return f"{tool.name} ({kind}): {tool.description.partition(chr(10))[0]}"


@admin.register(Agent, site=site)
class Agents(Page):
    form = AgentForm
    list_display = ("name", "title", "enabled", "visibility", "mode", "llm", "updated_at")
    list_filter = ("enabled",)
    ordering = ("name",)
    search_help_text = "A part of a name or title"
    fieldsets = (
        (None, {"fields": (("name", "title"), ("enabled", "visibility"), "instructions")}),
        ("Language model", {"fields": (("llm", "mode"), "fallbacks", ("context_tokens", "context_summary"))}),
        ("Tools and questions", {"fields": ("tools", "interrupt_expires_s")}),
        ("What one answer may take", {"fields": (("limit_steps", "limit_seconds", "limit_cost_usd"),)}),
        ("How it looks", {"fields": (("avatar", "color"), ("created_at", "updated_at"))}),
    )
    readonly_fields = ("created_at", "updated_at")

    def search(self, request: HttpRequest, queryset: Any, words: str) -> Any:
        return queryset.filter(name__icontains=words) | queryset.filter(title__icontains=words)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if self.has_change_permission(request, obj):
            return self.fieldsets
        columns = (("name", "title"), ("enabled", "visibility"), "instructions", ("llm", "mode"), "fallbacks", "tools")
        return ((None, {"fields": (*columns, ("context", "run_limit"), "interrupt_expires_s")}),)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: Any) -> None:
        obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)
