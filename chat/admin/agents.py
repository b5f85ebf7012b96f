"""Agents: who answers, how and with which language model. They are switched off, not deleted: talk refers to them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from chat.admin.base import Page
from chat.admin.site import site
from chat.models import Agent
from chat.models.agents import MODES


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    mode = forms.ChoiceField(choices=[(mode, mode) for mode in MODES], widget=UnfoldAdminSelectWidget)
    instructions = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 12}), help_text="What the LLM is told first."
    )


@admin.register(Agent, site=site)
class Agents(Page):
    form = AgentForm
    list_display = ("name", "title", "enabled", "mode", "llm", "updated_at")
    list_filter = ("enabled",)
    ordering = ("name",)
    search_help_text = "A part of a name or title"
    fields = (
        ("name", "title"),
        ("enabled", "mode", "llm"),
        "instructions",
        ("avatar", "color"),
        ("created_at", "updated_at"),
    )
    readonly_fields = ("created_at", "updated_at")

    def search(self, request: HttpRequest, queryset: Any, words: str) -> Any:
        return queryset.filter(name__icontains=words) | queryset.filter(title__icontains=words)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: Any) -> None:
        obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)
