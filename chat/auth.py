"""Who is at the door: JWT, API key, ticket or cookie, on HTTP and on the socket; and whether they may still stay.

A credential is looked at again every few seconds while a socket or a stream lives: a token runs out, a key is deleted,
a person signs out, changes the password or is made inactive.
"""

import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError

from chat.actions import api_keys, tickets
from chat.errors import ForbiddenOrigin, NotAuthenticated
from chat.models import User

CHECK_S = 10.0
SUBPROTOCOL = "chat.v1"
BEARER_SUBPROTOCOL = "bearer."

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a socket or a stream was opened with."""

    user: User
    expires_at: float | None = None  # seconds since the epoch
    session_key: str | None = None
    token: str | None = None

    @property
    def is_cookie(self) -> bool:
        return self.session_key is not None


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer <jwt or API key>`. Asks for a credential, so that DRF answers 401 and not 403."""

    def authenticate(self, request: Any) -> Any:
        header = self.get_header(request)
        token = None if header is None else self.get_raw_token(header)
        if token is None:
            return None
        credential = _of_token(token.decode("latin-1"))
        if credential is None:
            raise AuthenticationFailed
        return credential.user, credential

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


_jwt = BearerAuthentication()
_sessions = import_module(settings.SESSION_ENGINE)


def credential_of(request: HttpRequest, user: User, proof: object) -> Credential:
    """What an HTTP request was made with: `proof` is what its authenticator found."""
    if isinstance(proof, Credential):
        return proof
    return Credential(user, session_key=request.session.session_key)


def identify(scope: Scope) -> Credential:
    """Who opens a socket. In a database thread. Raises `NotAuthenticated`, `ForbiddenOrigin`."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    credential = _from_header(headers) or _from_subprotocol(scope) or _from_ticket(scope) or _from_cookie(headers)
    if credential is None:
        raise NotAuthenticated
    _check_origin(headers, is_cookie=credential.is_cookie)
    return credential


def is_still_good(credential: Credential) -> bool:
    """In a database thread."""
    if credential.expires_at is not None and credential.expires_at <= time.time():
        return False
    if credential.session_key is not None:
        user = _user_of_session(credential.session_key)
        return user is not None and user.pk == credential.user.pk
    if credential.token is not None:
        return _of_token(credential.token) is not None
    return User.objects.filter(pk=credential.user.pk, is_active=True).exists()


def _from_header(headers: dict[bytes, str]) -> Credential | None:
    value = headers.get(b"authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    credential = _of_token(token.strip()) if scheme.lower() == "bearer" else None
    if credential is None:
        raise NotAuthenticated("The token is not valid, or has run out.")
    return credential


def _from_subprotocol(scope: Scope) -> Credential | None:
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(BEARER_SUBPROTOCOL):
            credential = _of_token(offered.removeprefix(BEARER_SUBPROTOCOL))
            if credential is None:
                raise NotAuthenticated("The token is not valid, or has run out.")
            return credential
    return None


def _from_ticket(scope: Scope) -> Credential | None:
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
    if not given:
        return None
    user = tickets.use_ticket(given[0])
    if user is None:
        raise NotAuthenticated("The ticket is not valid, was used or has run out.")
    return Credential(user)


def _from_cookie(headers: dict[bytes, str]) -> Credential | None:
    session_key = parse_cookie(headers.get(b"cookie", "")).get(settings.SESSION_COOKIE_NAME)
    user = _user_of_session(session_key) if session_key else None
    return None if user is None else Credential(user, session_key=session_key)


def _of_token(token: str) -> Credential | None:
    if token.startswith(api_keys.PREFIX):
        owner = api_keys.user_of_key(token)
        return None if owner is None else Credential(owner, token=token)
    try:
        checked = _jwt.get_validated_token(token.encode())
        user = _jwt.get_user(checked)
    except (InvalidToken, AuthenticationFailed, TokenError):
        return None
    if not isinstance(user, User):
        return None
    return Credential(user, expires_at=float(checked["exp"]), token=token)


def _user_of_session(session_key: str) -> User | None:
    request = HttpRequest()
    request.session = _sessions.SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def _check_origin(headers: dict[bytes, str], *, is_cookie: bool) -> None:
    """A browser sends a cookie along from any page, so there the page must be ours; a page always tells its origin."""
    origin = headers.get(b"origin")
    if origin is None:
        if is_cookie:
            raise ForbiddenOrigin
        return
    page_host = origin.partition("://")[2]
    if origin not in settings.CHAT_ORIGINS and (not page_host or page_host.lower() != headers.get(b"host", "").lower()):
        raise ForbiddenOrigin
