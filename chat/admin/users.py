"""Users and groups. Accounts are made inactive, not deleted: deleting one would delete what it asked for."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from chat.admin.base import Page
from chat.admin.site import site
from chat.models import User

POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


@admin.register(User, site=site)
class Users(UserAdmin, Page):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "get_full_name", "email", "is_active", "is_staff", "last_login", "date_joined")
    list_filter = (
        ("is_active", BooleanRadioFilter),
        ("is_staff", BooleanRadioFilter),
        ("is_superuser", BooleanRadioFilter),
    )
    ordering = ("username",)
    search_fields = ("username",)  # type: ignore[misc]
    search_help_text = "Id, name or e-mail address"
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    autocomplete_fields = ()

    # Of the two bases the second one knows what a UUID is.
    get_search_results = Page.get_search_results

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(
            Q(username__istartswith=words)
            | Q(first_name__istartswith=words)
            | Q(last_name__istartswith=words)
            | Q(email__iexact=words)
        )

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a superuser changes the accounts of staff: whoever sets another's password has another's powers."""
        if obj is not None and (obj.is_staff or obj.is_superuser) and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if request.user.is_superuser else (*self.readonly_fields, *POWERS)


@admin.register(Group, site=site)
class Groups(GroupAdmin, Page):  # type: ignore[misc]
    """Only a superuser changes what a group may: whoever is in one would give themselves its powers."""

    get_search_results = GroupAdmin.get_search_results
    search_fields = ("name",)  # type: ignore[misc]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_superuser)
