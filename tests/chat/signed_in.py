"""Who comes to the WebSocket's door, and with what credential."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from rest_framework_simplejwt.tokens import AccessToken

from chat.models import User


def scope(*, query: str = "", subprotocols: tuple[str, ...] = (), **headers: str) -> dict[str, Any]:
    headers = {"host": "chat.test"} | headers
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "websocket", "headers": raw, "query_string": query.encode(), "subprotocols": list(subprotocols)}


def token_of(user: User, **lifetime: float) -> str:
    token = AccessToken.for_user(user)
    if lifetime:
        token.set_exp(lifetime=timedelta(**lifetime))
    return str(token)


def session_of(user: User) -> str:
    """Sign in as by the page, and give the key that its cookie holds."""
    request = HttpRequest()
    request.session = SessionStore()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)


def cookie_of(user: User) -> str:
    return f"theme=dark; sessionid={session_of(user)}"
