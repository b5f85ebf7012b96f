"""Members: who takes part where; an operator may change a role and take somebody out, and everybody is told."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from chat.actions import members as actions
from chat.admin.base import AlreadySo, InSession, found_users, operator
from chat.admin.site import site
from chat.models import Member
from chat.protocol.commands import NewMember


@admin.register(Member, site=site)
class Members(InSession):
    list_display = ("user", "role", "in_session", "created_at")
    list_filter = (("role", ChoicesDropdownFilter), ("user", AutocompleteSelectFilter))
    ordering = ("-pk",)
    ids = ("session_id", "user_id")
    search_help_text = "Id of session or user; name"
    fields = ("user", "role", "in_session", "created_at")
    readonly_fields = ("in_session",)
    actions = ("make_owner", "make_member", "make_viewer", "remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("user")

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(user__in=found_users(words))

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("chat.change_member"))

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("chat.delete_member"))

    def buttons(self, row: Member) -> list[str]:
        return [name for name in self.actions if name != f"make_{row.role}"]

    @admin.action(description="Make owner", permissions=["act"])
    def make_owner(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        return self._make(request, queryset, Member.Role.OWNER)

    @admin.action(description="Make member", permissions=["act"])
    def make_member(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        return self._make(request, queryset, Member.Role.MEMBER)

    @admin.action(description="Make viewer", permissions=["act"])
    def make_viewer(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        return self._make(request, queryset, Member.Role.VIEWER)

    def _make(self, request: HttpRequest, queryset: QuerySet[Member], role: Member.Role) -> HttpResponse | None:
        def make(member: Member) -> str:
            if member.role == role:
                raise AlreadySo(f"{role} already.")
            new = NewMember.model_validate({"username": member.user.username, "role": str(role)})
            actions.add_member(operator(request), member.session_id, new, by_operator=True)
            return f"made {role}."

        return self.act_on_all(request, queryset, make, f"make {role}")

    @admin.action(description="Take out of the session", permissions=["remove"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        def remove(member: Member) -> str:
            actions.remove_member(operator(request), member.session_id, member.user_id, by_operator=True)
            return "taken out."

        return self.act_on_all(request, queryset, remove, "remove member")
