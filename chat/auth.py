"""Who is at the door: JWT, API key, ticket or cookie, on HTTP and on the socket; and whether they may still stay.

A credential is looked at again every few seconds while a socket or a stream lives: a token runs out, a key is deleted,
a person signs out, changes the password or is made inactive.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError

from chat.actions import api_keys, logins, tickets
from chat.errors import ForbiddenOrigin, NotAuthenticated
from chat.models import Ticket, User

CHECK_S = 10.0
SUBPROTOCOL = "chat.v1"
BEARER_SUBPROTOCOL = "bearer."

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a socket or a stream was opened with. One that a ticket opened has what the ticket was bought with."""

    user: User  # as it was then: but for API keys, another password ends it
    expires_at: float | None = None  # seconds since the epoch
    session_key: str | None = None
    key_id: UUID | None = None
    is_cookie: bool = False

    def as_proof(self) -> dict[str, Any]:
        """What a ticket keeps of it."""
        return {
            "expires_at": self.expires_at,
            "session_key": self.session_key,
            "key_id": None if self.key_id is None else str(self.key_id),
            "password": self.user.get_session_auth_hash(),
        }


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer <jwt or API key>`. Asks for a credential, so that DRF answers 401 and not 403."""

    def authenticate(self, request: Any) -> Any:
        token = _bearer(request.headers.get("authorization", ""))
        if token is None:
            return None
        credential = _of_token(token)
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
    return Credential(user, session_key=request.session.session_key, is_cookie=True)


def identify(scope: Scope) -> Credential:
    """Who opens a socket. In a database thread. Raises `NotAuthenticated`, `ForbiddenOrigin`."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    credential = _from_header(headers) or _from_subprotocol(scope) or _from_ticket(scope) or _from_cookie(headers)
    if credential is None:
        raise NotAuthenticated
    _check_origin(headers, is_cookie=credential.is_cookie)
    return credential


def ended(credentials: Iterable[Credential]) -> set[Credential]:
    """Those that are no longer good: a query for each kind, however many they are. In a database thread."""
    asked, now = set(credentials), time.time()
    users = User.objects.filter(pk__in={one.user.pk for one in asked}, is_active=True)
    passwords = dict(users.values_list("pk", "password"))
    owners = logins.owners({one.session_key for one in asked if one.session_key is not None})
    keys = api_keys.living({one.key_id for one in asked if one.key_id is not None})

    def is_good(one: Credential) -> bool:
        password = passwords.get(one.user.pk)  # its hash: another one stands for another password
        return (
            password is not None
            and (one.expires_at is None or one.expires_at > now)
            and (one.session_key is None or owners.get(one.session_key) == str(one.user.pk))
            and (password == one.user.password if one.key_id is None else one.key_id in keys)
        )

    return {one for one in asked if not is_good(one)}


def is_still_good(credential: Credential) -> bool:
    """In a database thread."""
    return not ended([credential])


def _from_header(headers: dict[bytes, str]) -> Credential | None:
    value = headers.get(b"authorization")
    if value is None:
        return None
    token = _bearer(value)
    credential = None if token is None else _of_token(token)
    if credential is None:
        raise NotAuthenticated("The token is not valid, or has run out.")
    return credential


def _bearer(value: str) -> str | None:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


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
    ticket = tickets.use_ticket(given[0])
    credential = None if ticket is None else _bought_with(ticket)
    if credential is None or not is_still_good(credential):
        raise NotAuthenticated("The ticket is not valid, was used or has run out.")
    return credential


def _bought_with(ticket: Ticket) -> Credential | None:
    """What opens a socket now that would have opened it a minute ago. None where the password is another one."""
    proof = ticket.proof.get
    if (key_id := proof("key_id")) is not None:
        return Credential(ticket.user, key_id=UUID(key_id))
    password = proof("password")
    if password is not None and not constant_time_compare(password, ticket.user.get_session_auth_hash()):
        return None
    return Credential(ticket.user, expires_at=proof("expires_at"), session_key=proof("session_key"))


def _from_cookie(headers: dict[bytes, str]) -> Credential | None:
    session_key = parse_cookie(headers.get(b"cookie", "")).get(settings.SESSION_COOKIE_NAME)
    user = _user_of_session(session_key) if session_key else None
    return None if user is None else Credential(user, session_key=session_key, is_cookie=True)


def _of_token(token: str) -> Credential | None:
    if token.startswith(api_keys.PREFIX):
        key = api_keys.use_key(token)
        return None if key is None else Credential(key.user, key_id=key.pk)
    try:
        checked = _jwt.get_validated_token(token.encode())
        user = _jwt.get_user(checked)
    except (InvalidToken, AuthenticationFailed, TokenError):
        return None
    if not isinstance(user, User):
        return None
    return Credential(user, expires_at=float(checked["exp"]))


def _user_of_session(session_key: str) -> User | None:
    request = HttpRequest()
    request.session = _sessions.SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def client_address(request: HttpRequest) -> str:
    """Where a request comes from. Behind a proxy: what that proxy saw, and not what the client said before."""
    seen: str = request.META.get("REMOTE_ADDR") or ""
    if settings.CHAT_BEHIND_PROXY:  # the last one is the proxy's own word; those before it are the client's
        seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or seen
    return seen


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
