"""How every endpoint is asked: who is it, what do they say, may they; and how it answers.

Endpoints are plain async views. A sync one would take a thread, and on SQLite a connection, of its own for each
request, and hold it while it waits; here the database's threads are shared, bounded and keep their connections. Rest
framework's part is the authenticators, so that what it and its packages know of credentials holds here too.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar, get_type_hints

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from pydantic import ConfigDict
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from chat.api.errors import error_response
from chat.auth import Credential, credential_of
from chat.clean import clean_text
from chat.database import reading
from chat.errors import InvalidInput, MethodNotAllowed, NotAuthenticated, TooLarge
from chat.models import User
from chat.protocol import read_body
from chat.protocol.commands import Body, Nothing, read_json

BODY_MAX_BYTES = 1024 * 1024
METHODS = ("GET", "POST", "PATCH", "DELETE")

B = TypeVar("B", bound=Body)
Handler = Callable[..., Awaitable[HttpResponseBase]]


class Query(Body):
    """The part of a URL after its question mark: a `Body` whose values all arrive as text."""

    model_config = ConfigDict(strict=False)


class Headers(Query):
    """The headers that a door listens to, by their aliases."""

    model_config = ConfigDict(strict=False, extra="ignore")


class Door(View):
    """An endpoint: one async method for each HTTP method that it takes.

    A method is given the parts of the path by name; `query: SomeQuery`, `headers: SomeHeaders` and `body: SomeBody` if
    it asks for them, read and checked. Who asks is `self.user`, by `self.credential`. What it answers and refuses is
    written at it too (`chat.api.answers`): the schema knows all of that from here.
    """

    signed_in = True  # whether one must be
    user: User
    credential: Credential

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        # A cookie needs the token against forged requests too: the authenticator of cookies sees to it.
        return csrf_exempt(super().as_view(**initkwargs))

    async def dispatch(self, request: HttpRequest, *args: Any, **parts: Any) -> HttpResponseBase:  # type: ignore[override]
        try:
            response: HttpResponseBase = await self._answer(request, parts)
        except Exception as problem:
            response = error_response(problem)
            if isinstance(problem, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(method for method in METHODS if hasattr(self, method.lower()))
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _answer(self, request: HttpRequest, parts: dict[str, Any]) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else str(request.method)
        handler: Handler | None = getattr(self, method.lower(), None) if method in METHODS else None
        if handler is None:
            raise MethodNotAllowed
        if self.signed_in:
            self.credential = await reading(credential_for, request)
            self.user = self.credential.user
            bind_contextvars(user_id=str(self.user.pk))
        query, headers, body = wanted(getattr(type(self), method.lower()))
        if query is not None:
            parts["query"] = _read_query(request, query)
        if headers is not None:
            parts["headers"] = _read_headers(request, headers)
        if body is not None:
            parts["body"] = _read(request, body)
        elif method in {"POST", "PATCH"} and not _is_empty(request):
            _read(request, Nothing)
        return await handler(**parts)


@cache
def wanted(handler: Handler) -> tuple[type[Query] | None, type[Headers] | None, type[Body] | None]:
    """What a method asks for."""
    hints = get_type_hints(handler)
    return hints.get("query"), hints.get("headers"), hints.get("body")


class Unread(BaseParser):
    """Leaves the body unread: the check against forged requests would look for its token there before the header."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


def credential_for(request: HttpRequest) -> Credential:
    """Who asks, by any of the credentials that the settings name. In a database thread. Raises `NotAuthenticated`."""
    asked = Request(request, parsers=[Unread()], authenticators=APIView().get_authenticators())
    user = asked.user  # with a cookie: Django's lazy object, loaded by now, which passes for a User
    if not isinstance(user, User):
        raise NotAuthenticated
    return credential_of(request, user, asked.auth)


def _read_query(request: HttpRequest, shape: type[B]) -> B:
    return read_body(shape, {clean_text(name): clean_text(str(value)) for name, value in request.GET.items()})


def _read_headers(request: HttpRequest, shape: type[B]) -> B:
    names = [str(field.alias) for field in shape.model_fields.values()]
    given = {name: request.headers[name] for name in names if name in request.headers}
    return read_body(shape, {name: clean_text(_as_utf8(name, value)) for name, value in given.items()})


def _as_utf8(name: str, value: str) -> str:
    """A header as it was meant: Django reads it as Latin-1, and the same key in a body would be another one."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise InvalidInput(f"The header {name} is not UTF-8.", fields={name: "must be UTF-8"}) from None


def _is_empty(request: HttpRequest) -> bool:
    return request.headers.get("Content-Length", "0") in {"", "0"} and not request.headers.get("Transfer-Encoding")


def _read(request: HttpRequest, shape: type[B]) -> B:
    """Raises `InvalidInput`, `TooLarge`."""
    if request.content_type not in {"", "application/json"}:
        raise InvalidInput("Send JSON, with Content-Type: application/json.")
    # Not `request.body`: that believes Content-Length, which a chunked request has not.
    text = request.read(BODY_MAX_BYTES + 1)
    if len(text) > BODY_MAX_BYTES:
        raise TooLarge("A body may have 1 MiB.")
    if not text.strip():
        raise InvalidInput("The body is empty: a JSON object is expected.")
    return read_body(shape, read_json(text))
