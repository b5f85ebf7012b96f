"""The pages for people: the chat itself, signing in and out, the password, and how to talk to the server otherwise."""

import secrets
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language, override
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.api.built import built
from chat.api.sign_in import ChangePassword, SignIn
from chat.database import Pool
from chat.models import Agent, User
from chat.protocol.commands import CONTENT_MAX
from chat.rendering import made_by, rendered

THREADS = 4

Page = Callable[..., Any]


@cache
def _printers() -> Pool:
    return Pool("pages", THREADS)


def in_threads(view: Page) -> Page:
    """Make a page in a few threads of the chat's own."""

    @wraps(view)
    async def page(request: HttpRequest, *args: Any, **parts: Any) -> HttpResponseBase:
        return await made_by(_printers(), partial(_spoken, get_language(), partial(view, request, *args, **parts)))

    return page


def _spoken(language: str | None, view: Callable[[], Any]) -> HttpResponseBase:
    with override(language):  # it is known to the thread of the request alone
        return rendered(view)


sign_in = in_threads(SignIn.as_view())
sign_out = in_threads(LogoutView.as_view())
change_password = in_threads(ChangePassword.as_view())

THEME_COOKIE = "chat_theme"  # light or dark; none: as the system


@in_threads
@require_safe
@login_required
@never_cache
def home(request: HttpRequest, session_id: UUID | None = None) -> HttpResponse:
    """The chat page, on whichever session: which of them are one's own is for the API to say."""
    found = built()
    if found is None:
        return render(request, "chat/not_built.html", status=503)
    nonce = secrets.token_urlsafe(16)
    get_token(request)  # so that the cookie is set, which the page's requests repeat
    response = render(request, "chat/app.html", {"built": found, "boot": boot(request), "nonce": nonce})
    response.headers["Content-Security-Policy"] = app_policy(request, nonce)
    return response


def boot(request: HttpRequest) -> dict[str, Any]:
    """What the page has to know before its first request."""
    user = request.user
    assert isinstance(user, User)
    return {
        "user": {**user.as_data(), "is_staff": user.is_staff},
        "language": (get_language() or "en").partition("-")[0],
        "language_cookie": settings.LANGUAGE_COOKIE_NAME,
        "theme_cookie": THEME_COOKIE,
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "default_agent": Agent.DEFAULT,
        "llms": list(dict.fromkeys([settings.CHAT_LLM, *settings.CHAT_LLMS])) if settings.CHAT_LLMS else [],
        "max_content": CONTENT_MAX,
        "about_url": reverse("about"),
        "password_url": reverse("password"),
        "sign_in_url": reverse("login"),
        "sign_out_url": reverse("logout"),
        "admin_url": reverse("admin:index") if user.is_staff else None,
    }


def app_policy(request: HttpRequest, nonce: str) -> str:
    """Our own script, and what it loads; requests to us alone. Nothing may become a script that was text before."""
    # Browsers before 2023 do not count a socket to the same host as 'self'.
    socket = f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'nonce-{nonce}'; "
        f"img-src 'self' data: blob:; connect-src 'self' {socket}; font-src 'self'; manifest-src 'self'; "
        "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


@in_threads
@require_safe
@login_required
def about(request: HttpRequest) -> HttpResponse:
    """How to talk to the server from elsewhere."""
    address = request.build_absolute_uri("/").rstrip("/")
    socket = "ws" + address.removeprefix("http") + "/ws/"
    return render(request, "chat/about.html", {"address": address, "socket": socket})


# Nothing from another host, no script but the files named there. Swagger UI draws its icons as data: URLs.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    response = render(request, "chat/docs.html")
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    return response
