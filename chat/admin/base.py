"""What the pages of all nouns share: lists that cost the same however long they are, actions in bulk, the audit."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets, display
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.utils import unquote
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from chat.actions.audit import Visit, record_act
from chat.auth import client_address
from chat.errors import ChatError
from chat.models import Run, User

PAGE = 50
BULK_MAX = 200

# What the pages of other rows link to a list with, besides its own filters.
LINKED = {"session__id__exact", "run__id__exact", "worker__id__exact"}

# What an action on one row came to.
Done = str
Act = Callable[[Any], Done]


class List(ChangeList):
    """A list that is asked by its filters, and nothing else.

    Django takes any column and comparison out of the address: who may see a list could spell out what it does not show,
    and a regular expression holds up the whole process, where SQLite leaves it to Python.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        for name in found[2]:  # what no filter has taken
            if name not in LINKED:
                raise DisallowedModelAdminLookup(f"Filtering by {name} not allowed")
        return found


class Page(ModelAdmin):
    """A list that counts nothing and sorts by what has an index, and a page for each row."""

    paginator = InfinitePaginator  # COUNT(*) reads the whole table on each page
    show_full_result_count = False
    list_per_page = list_max_show_all = PAGE
    list_disable_select_all = True  # there is no count of "all"
    list_filter_submit = True
    list_fullwidth = True
    compressed_fields = False
    show_facets = ShowFacets.NEVER  # they count, too
    sortable_by = ()
    search_fields = ("pk",)
    ids: tuple[str, ...] = ("pk",)  # what a UUID in the search box may be
    change_form_outer_before_template = "chat/admin/buttons.html"

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[List]:
        return List

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        try:
            one = UUID(words)
        except ValueError:
            return self.search(request, queryset, words), False
        wanted = Q()
        for name in self.ids:
            wanted |= Q(**{name: one})
        return queryset.filter(wanted), False

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        """Find rows by words."""
        return queryset.none()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: HttpResponse = super().changelist_view(request, extra_context)
        shown = getattr(response, "context_data", None) or {}
        if "cl" in shown:  # else it leads elsewhere
            shown |= self.listed(request, shown["cl"])
        return response

    def listed(self, request: HttpRequest, found: ChangeList) -> dict[str, Any]:
        """Collect what a list shows besides its rows. Whoever shows talk writes it down here first."""
        return {}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        row = None
        if object_id is not None and request.method != "POST":
            row = self.get_object(request, unquote(object_id))
        if row is not None and self.has_view_or_change_permission(request, row):
            extra_context = {**(extra_context or {}), "buttons": self._buttons(request, row)}
            extra_context |= self.show(request, row)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def show(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Collect what the page of a row shows besides its fields. Whoever shows talk writes it down here first."""
        return {}

    def _buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        wanted = self.buttons(row)
        known = self.get_actions(request)
        return [(name, str(known[name][2])) for name in wanted if name in known]

    def buttons(self, row: Any) -> Iterable[str]:
        """The actions that make sense for a row as it is."""
        return ()

    def act_on_all(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        act: Act,
        what: str,
        session_of: Callable[[Any], UUID] = lambda row: row.session_id,
    ) -> HttpResponse | None:
        """Do something to each of some rows, and tell what became of it."""
        chosen = list(rows[:BULK_MAX])
        record_act(visit(request), [session_of(row) for row in chosen], what)
        done: Counter[tuple[int, str]] = Counter()
        for row in chosen:
            try:
                done[messages.SUCCESS, act(row)] += 1
            except AlreadySo as nothing:
                done[messages.INFO, str(nothing)] += 1
            except ChatError as problem:
                done[messages.ERROR, f"not done: {problem}"] += 1
        for (level, text), count in done.items():
            noun = self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural
            self.message_user(request, f"{count} {noun}: {text}", level)
        if "_back" in request.POST and len(chosen) == 1:
            return HttpResponseRedirect(url_of(chosen[0]))
        return None


class AlreadySo(Exception):
    """There was nothing to do."""


class Dates(RangeDateFilter):
    """From the first moment of one day to the last of another, in UTC; the theme's own leaves the last day out."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for end, lookup, moment in (("from", "gte", time.min), ("to", "lte", time.max)):
            try:
                day = parse_date(str(self.used_parameters.get(f"{self.parameter_name}_{end}", "")))
            except ValueError:  # the 30th of February
                continue
            if day is not None:
                queryset = queryset.filter(**{f"{self.parameter_name}__{lookup}": datetime.combine(day, moment, UTC)})
        return queryset


class ReadOnly(Page):
    """Rows that are made by what people and workers do, and by nobody here."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class InSession(ReadOnly):
    """Rows of sessions, each with a link to its own."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request)
        return found.select_related("session").defer("session__summary", "session__metadata")

    @display(description="Session")
    def in_session(self, row: Any) -> str:
        return linked(row.session, row.session.title or str(row.session_id)[:8])


class OfRun(ReadOnly):
    """Rows of runs, each with a link to its own."""

    @display(description="Run")
    def of_run(self, row: Any) -> str | None:
        return linked_id(Run, row.run_id)


def is_list(request: HttpRequest) -> bool:
    """Whether rows are asked for to be listed: then their long columns stay where they are."""
    return request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")


def operator(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def visit(request: HttpRequest) -> Visit:
    """Who asks for a page, and from where."""
    return Visit(operator(request), request.get_full_path(), client_address(request))


def url_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=(row.pk,))


def linked(row: Model, text: str) -> SafeString:
    return format_html('<a class="chat-link" href="{}">{}</a>', url_of(row), text)


def linked_id(model: type[Model], pk: UUID | None) -> SafeString | None:
    """A link to a row that was not read."""
    return None if pk is None else linked(model(pk=pk), str(pk)[:8])


def list_of(model: type[Model], **filters: object) -> str:
    """The address of a list, by what is `LINKED`."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + f"?{query}"


COLORS = {
    "queued": "info",
    "running": "primary",
    "active": "primary",
    "interrupted": "warning",
    "succeeded": "success",
    "failed": "danger",
    "open": "warning",
    "waiting": "warning",
    "unknown": "danger",
    "called": "primary",
    "returned": "success",
    "resolved": "success",
    "refused": "danger",
    "cancelled": "default",
}


def status_column(name: str = "status", description: str = "Status") -> Callable[[Any, Any], Any]:
    """A column with the status in its color."""

    @display(description=description)
    def column(self: Any, row: Any) -> SafeString:
        return colored(getattr(row, name))

    return column


def colored(status: str) -> SafeString:
    return format_html('<span class="chat-status chat-{}">{}</span>', COLORS.get(status, "default"), status)


def found_users(words: str) -> QuerySet[User]:
    """A few people by the start of their name."""
    return User.objects.filter(username__istartswith=words).order_by()[:100]
