"""The site of the admin: Django's synchronous pages, in two threads of their own.

Under ASGI Django would give each request for a page a thread and a database connection. Here a page that takes long,
or many at once, delay other pages of the admin, and nobody's chat.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import cache, partial, wraps
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, reverse
from unfold.sites import UnfoldAdminSite

from chat.database import PATIENT_S, Pool
from chat.failpoints import failpoint
from chat.hub import hubs
from chat.models import User
from chat.protocol import Frame
from chat.rendering import made_by

THREADS = 2
ORDER = ["ChatSession", "Run", "Interrupt", "ToolCall", "Message", "Member", "Agent", "Tool", "Usage", "Worker"]
ORDER += ["User", "ApiKey", "AuditEntry", "Order", "Group"]

_caused: ContextVar[list[tuple[UUID, list[Frame]]]] = ContextVar("caused")


@cache
def _operators() -> Pool:
    return Pool("admin", THREADS, within_s=PATIENT_S)


def relay(session_id: UUID, frames: list[Frame]) -> None:
    """Hand what an operator's action has told to the sockets of this process, before the page is answered."""
    _caused.get().append((session_id, frames))


class Site(UnfoldAdminSite):
    index_title = "Chat server"

    def get_urls(self) -> list[Any]:
        urls = super().get_urls()
        _move_to_threads(urls)
        return urls

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """What is asked for most comes first."""
        apps_shown: list[Any] = super().get_app_list(request, app_label)
        for app in apps_shown:
            app["models"].sort(key=lambda model: ORDER.index(model["object_name"]))
        return sorted(apps_shown, key=lambda app: app["app_label"] != "chat")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Sign out. Before the browser goes on, a script takes what the chat's page has kept there of this person.

        Not the header Clear-Site-Data: it takes everybody's, and browsers heed it over HTTPS alone.
        """
        user_id = request.user.pk
        response: HttpResponse = super().logout(request, extra_context)
        if response.status_code != 302:
            return response
        told = {"user_id": user_id, "next": response.headers["Location"]}
        return HttpResponse(render_to_string("chat/admin/signed_out.html", told))

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Help to choose a person, and nothing else: the same door would list messages, and write it down nowhere."""
        app, model, name = (request.GET.get(part, "") for part in ("app_label", "model_name", "field_name"))
        try:
            field = apps.get_model(app, model)._meta.get_field(name)
        except (LookupError, FieldDoesNotExist):
            raise PermissionDenied from None
        if field.related_model is not User:
            raise PermissionDenied
        return super().autocomplete_view(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """At the chat's own door, which counts wrong passwords: this one would let an open session guess for ever."""
        return HttpResponseRedirect(reverse("password"))


def _move_to_threads(urls: Iterable[URLPattern | URLResolver]) -> None:
    for one in urls:
        if isinstance(one, URLResolver):
            _move_to_threads(one.url_patterns)
        else:
            one.callback = _in_a_thread(one.callback)


def _in_a_thread(view: Callable[..., Any]) -> Callable[..., Awaitable[HttpResponseBase]]:
    @wraps(view)
    async def page(request: HttpRequest, *args: Any, **parts: Any) -> HttpResponseBase:
        caused: list[tuple[UUID, list[Frame]]] = []
        _caused.set(caused)
        response = await made_by(_operators(), partial(_begin, view, request, *args, **parts))
        for session_id, frames in caused:
            await hubs.apply(session_id, frames)
        return response

    return page


def _begin(view: Callable[..., Any], request: HttpRequest, *args: Any, **parts: Any) -> Any:
    failpoint("admin.page")
    return view(request, *args, **parts)


site = Site(name="admin")
