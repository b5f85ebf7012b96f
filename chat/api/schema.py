"""The OpenAPI schema of the doors, put together from their own types: nothing is said here that a door does not say."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import UUIDConverter
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from typing_extensions import TypedDict

from chat import errors
from chat.api.answers import Answer, Done, Stream, Text
from chat.api.doors import METHODS, Door, wanted
from chat.errors import ChatError
from chat.protocol.shapes import ErrorBody

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
ABOUT = """What the chat server can be asked over HTTP. Live text comes over the WebSocket `/ws/`, or as server-sent
events from a session's `events/`; both carry the same frames."""


class Document(TypedDict):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: Json
    tags: list[Json]
    paths: dict[str, Json]
    components: Json


class Schema(Door):
    signed_in = False

    async def get(self) -> Answer[Document]:
        """Describe every path: this document."""
        return Answer(document())


class Operation(NamedTuple):
    """One method of a door, at its path."""

    path: str
    parts: dict[str, Any]  # of the path: their names, and what reads them
    door: type[Door]
    method: str

    @property
    def handler(self) -> Any:
        return getattr(self.door, self.method.lower())

    @property
    def tag(self) -> str:
        return self.door.__module__.rpartition(".")[2]


def operations(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[Operation]:
    """Every method of every door that a URL leads to."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        door = getattr(getattr(pattern, "callback", None), "view_class", None)
        if isinstance(pattern, URLResolver):
            yield from operations(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and inspect.isclass(door) and issubclass(door, Door):
            if not route.endswith("/"):
                continue  # the same one again
            parts = dict(pattern.pattern.converters)
            for method in METHODS:
                if hasattr(door, method.lower()):
                    yield Operation(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route), parts, door, method)


@cache
def document() -> Document:
    known = Shapes()
    paths: dict[str, Json] = {}
    tags: dict[str, Json] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, known)
        caption = (inspect.getmodule(operation.door).__doc__ or "").partition("\n")[0]
        tags[operation.tag] = {"name": operation.tag, "description": caption}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chat server", "version": _version(), "description": ABOUT},
        "tags": [tags[name] for name in sorted(tags)],
        "paths": paths,
        "components": {"schemas": dict(sorted(known.schemas.items())), "securitySchemes": _security_schemes()},
    }


def _version() -> str:
    try:
        return version("chat-server")
    except PackageNotFoundError:
        return "1"


class Shapes:
    """The JSON schemas of types, each named one once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Json] = {}

    def of(self, shape: Any, mode: JsonSchemaMode) -> Json:
        schema = TypeAdapter(shape).json_schema(mode=mode, ref_template=REF)
        for name, inner in schema.pop("$defs", {}).items():
            self._keep(name, inner)
        if schema.get("type") != "object" or "properties" not in schema:
            return schema
        name = schema["title"] = "_of_".join(one.__name__ for one in ((get_origin(shape) or shape), *get_args(shape)))
        self._keep(name, schema)
        return {"$ref": REF.format(model=name)}

    def _keep(self, name: str, schema: Json) -> None:
        if self.schemas.setdefault(name, schema) != schema:
            raise TypeError(f"two shapes have the name {name}")


def _operation(operation: Operation, known: Shapes) -> Json:
    query, headers, body = wanted(operation.handler)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _format(converter)}
        for name, converter in operation.parts.items()
    ]
    for shape, place in ((query, "query"), (headers, "header")):
        if shape is not None:
            parameters += _parameters(shape, place)
    told: Json = {
        "operationId": operation.method.lower() + operation.door.__name__,
        "summary": inspect.getdoc(operation.handler) or "",
        "tags": [operation.tag],
        "security": _security(operation),
        "parameters": parameters,
        "responses": _answers(operation, known) | _refusals(operation, known),
    }
    if body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known.of(body, "validation")}},
        }
    return told


def _format(converter: Any) -> Json:
    return {"type": "string", "format": "uuid"} if isinstance(converter, UUIDConverter) else {"type": "string"}


def _parameters(shape: Any, place: str) -> list[Json]:
    schema = TypeAdapter(shape).json_schema()
    required = schema.get("required", ())
    found = []
    for name, whole in schema["properties"].items():
        choices = [choice for choice in whole.get("anyOf", ()) if choice != {"type": "null"}]
        one = choices[0] if choices else whole  # what may be left out is not sent as null: a URL has none
        if "$ref" in one:
            one = schema["$defs"][one["$ref"].rpartition("/")[2]]
        kept = {key: value for key, value in one.items() if key != "title"}
        found.append({"name": name, "in": place, "required": name in required, "schema": kept})
    return found


# --- answers ----------------------------------------------------------------------------------------------------------
def _answers(operation: Operation, known: Shapes) -> Json:
    """Raises `TypeError` for a method that does not say what it answers."""
    annotation = get_type_hints(operation.handler).get("return")
    is_union = get_origin(annotation) in {Union, UnionType}
    told: Json = {}
    for one in get_args(annotation) if is_union else (annotation,):
        kind = get_origin(one) or one
        if not (inspect.isclass(kind) and issubclass(kind, (Answer, Done, Stream, Text))):
            raise TypeError(f"{operation.method} {operation.path} does not say what it answers")
        answer = told.setdefault(str(kind.status), {"description": kind.told})
        if issubclass(kind, Done):
            continue
        content = answer.setdefault("content", {})
        if issubclass(kind, Text):
            content[kind.media_type] = {"schema": {"type": "string"}}
            continue
        schema = known.of(get_args(one)[0], "serialization")
        if issubclass(kind, Stream):
            answer["description"] = kind.told
            content[kind.media_type] = {"schema": {"type": "string", "contentSchema": schema}}
        else:
            content["application/json"] = {"schema": schema}
    return told


def _refusals(operation: Operation, known: Shapes) -> Json:
    """What a method refuses with, by status: what its parameters tell, and what it names itself."""
    query, headers, _ = wanted(operation.handler)
    changes = operation.method != "GET"
    problems: list[type[ChatError]] = [*getattr(operation.handler, "problems", ()), errors.Internal, errors.Unavailable]
    if query or headers or operation.method in {"POST", "PATCH"}:
        problems.append(errors.InvalidInput)
    if operation.door.signed_in:
        problems += [errors.NotAuthenticated, *([errors.NotAllowed] if changes else [])]
    if operation.parts:
        problems.append(errors.NotFound)
    if changes and operation.method != "DELETE":
        problems.append(errors.TooLarge)
    told: Json = {}
    error = known.of(ErrorBody, "serialization")
    for status in sorted({problem.status for problem in problems}):
        codes = sorted({problem.code for problem in problems if problem.status == status})
        narrowed = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
        told[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": {"allOf": [error, narrowed]}}},
        }
        if status in {429, 503}:
            told[str(status)]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return told


# --- who may ask ------------------------------------------------------------------------------------------------------
def _security_schemes() -> Json:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An access token, or an API key (`ck_…`)."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRFToken",
            "description": "With a cookie, whatever changes something needs this too: the value of the cookie "
            f"`{settings.CSRF_COOKIE_NAME}`.",
        },
    }


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if not operation.door.signed_in:
        return []
    by_cookie: dict[str, list[str]] = {"cookie": []} if operation.method == "GET" else {"cookie": [], "csrf": []}
    return [{"bearer": []}, by_cookie]
