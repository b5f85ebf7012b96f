"""Django's and WhiteNoise's middlewares, on the event loop.

Under ASGI Django moves each step of each of its middlewares to a thread and back, a dozen times a request, and
WhiteNoise's, being synchronous, holds a thread for as long as the view takes: a request that waits a minute would cost
one. None of these steps waits for anything, but for a changed login session that is saved.
"""

import logging
import re
import time
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin
from django.utils.encoding import escape_uri_path
from structlog.contextvars import bind_contextvars, clear_contextvars
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from chat import metrics, tracing

log = structlog.stdlib.get_logger(__name__)

PROBES = ("/healthz", "/readyz", "/metrics")
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
QUIET_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The admin's own scripts stand in its pages, and read expressions from attributes.
ADMIN_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NO_DEVICES = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
_WAITS = re.compile(r"(?:^|&)wait=")
HUNG_UP = 499  # what an answer that nobody waited for is logged with


class OnTheLoop(MiddlewareMixin):
    """A middleware whose steps are too short to be worth a thread."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = self.process_request(request) if hasattr(self, "process_request") else None
        response = response or await self.get_response(request)  # type: ignore[misc]
        if hasattr(self, "process_response"):
            response = self.process_response(request, response)
        return response


class Watched(MiddlewareMixin):
    """The first of all: says in one line what was asked, and measures how long the answer took to begin.

    Without the query string: it may hold a ticket, or what somebody looks for.
    """

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        metrics.loop_lag.watch()
        clear_contextvars()
        tracing.adopt(request.headers.get("traceparent"))
        begun, status = time.monotonic(), HUNG_UP
        try:
            response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
            status = response.status_code
        finally:
            self._tell(request, status, time.monotonic() - begun)
        return response

    async def process_view(self, request: HttpRequest, view: Any, args: Any, parts: dict[str, Any]) -> None:
        bind_contextvars(**{name: str(parts[name]) for name in ("session_id", "run_id") if name in parts})

    def _tell(self, request: HttpRequest, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        metrics.API_RESPONSE.labels(method, door(request), f"{status // 100}xx").observe(seconds)
        level = logging.INFO
        if is_probe(request) and status < 400:
            level = logging.DEBUG
        elif status >= 500:
            level = logging.WARNING
        log.log(
            level,
            "request",
            method=method,
            path=escape_uri_path(request.path),
            status=status,
            ms=round(seconds * 1e3, 1),
        )


def is_probe(request: HttpRequest) -> bool:
    """By `path_info`, as the URLs are found: what stands before it in `path` is a header's word."""
    return request.path_info.removesuffix("/") in PROBES


def door(request: HttpRequest) -> str:
    """The name of what was asked, one of a few: a door of the API and whether it waited, or a kind of page."""
    found = request.resolver_match
    if found is None:
        return "static" if request.path.startswith(settings.STATIC_URL) else "unknown"
    view = getattr(found.func, "view_class", None)
    if found.func.__module__.startswith("chat.api.") and view is not None:
        name = f"{view.__module__.removeprefix('chat.api.')}.{view.__name__}"
        # Not by request.GET: of too many parameters it makes an error, here where nobody answers it.
        return f"{name} wait" if _WAITS.search(request.META.get("QUERY_STRING", "")) else name
    return "admin" if found.app_name == "admin" else "page"


class Security(OnTheLoop, SecurityMiddleware):
    pass


class Common(OnTheLoop, CommonMiddleware):
    """Looks at the Host, but not of a probe: a balancer, Docker and Prometheus ask a process by its own address.

    No answer to one holds a host. All others are refused here, before any view, where it is not in ALLOWED_HOSTS.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if is_probe(request) else super().process_request(request)


class Authentication(OnTheLoop, AuthenticationMiddleware):
    pass


class Messages(OnTheLoop, MessageMiddleware):
    pass


class XFrameOptions(OnTheLoop, XFrameOptionsMiddleware):
    pass


class Policy(OnTheLoop, MiddlewareMixin):
    """What a browser may do with an answer, where its view did not say: show it, with our own styles, and no more."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        policy = ADMIN_POLICY if request.path_info.startswith("/admin/") else QUIET_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", NO_DEVICES)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class Language(OnTheLoop, LocaleMiddleware):
    """The language of the pages. The API is the same for everybody, and so is the admin, which is not translated."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path_info.startswith(("/api", "/admin")):
            translation.activate(settings.LANGUAGE_CODE)
        else:
            super().process_request(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            return super().process_response(request, response)
        return response


class Sessions(SessionMiddleware):
    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response = await self.get_response(request)  # type: ignore[misc]
        if request.session.modified:
            return await sync_to_async(self.process_response)(request, response)
        return self.process_response(request, response)


class Csrf(OnTheLoop, CsrfViewMiddleware):
    async def process_view(self, *args: Any) -> HttpResponse | None:  # type: ignore[override]
        return super().process_view(*args)


class StaticFiles(WhiteNoiseMiddleware):
    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._answer(request)
        return super().__call__(request)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        # By name, in the index made at the start: nothing is looked for on the disk.
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self.get_response(request)
        return await sync_to_async(_read)(self.serve(static_file, request))


def _read(response: HttpResponseBase) -> HttpResponse:
    """A file's response with the file in it: an open one would be read in a thread, piece by piece."""
    whole = HttpResponse(b"".join(response), status=response.status_code)
    del whole.headers["Content-Type"]
    for name, value in response.items():
        whole.headers[name] = value
    response.close()
    return whole
