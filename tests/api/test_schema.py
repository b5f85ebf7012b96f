"""The OpenAPI schema: whole, told by the doors themselves, and read on a page that asks no other host."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.urls import path
from schemathesis.specs.openapi.definitions import OPENAPI_31  # the specification's own schema of schemas

from chat.api import schema
from chat.api.doors import Door
from chat.errors import ChatError
from chat.models import ChatSession, Member, Message, Run
from tests.api.conftest import Caller
from tests.api.test_urls import _served

Json = dict[str, Any]


@pytest.fixture
async def told(nobody: Caller) -> Json:
    document: Json = await nobody.get("/api/schema/")
    return document


def methods(document: Json) -> Iterator[tuple[str, str, Json]]:
    for route, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), route, operation


async def test_it_is_valid_openapi(told: Json) -> None:
    assert told["openapi"] == "3.1.0"
    jsonschema.Draft202012Validator(OPENAPI_31).validate(told)
    for shape in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(shape)
    named = set(re.findall(r"'#/components/schemas/(\w+)'", str(told)))
    assert named <= set(told["components"]["schemas"])


async def test_every_method_of_every_path_is_in_it(told: Json) -> None:
    served = {(method, route) for method, route in _served() if route.endswith("/")}
    assert {(method, route) for method, route, _ in methods(told)} == served


async def test_every_method_says_what_it_does_takes_answers_and_refuses(told: Json) -> None:
    statuses = {str(problem.status) for problem in ChatError.__subclasses__()}
    for method, route, operation in methods(told):
        name = f"{method} {route}"
        assert re.fullmatch(r"[A-Z].*\.", operation["summary"]), name
        parts = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert parts == set(re.findall(r"{(\w+)}", route)), name
        assert {status for status in operation["responses"] if status < "300"}, name
        assert {status for status in operation["responses"] if status >= "400"} <= statuses, name
        assert "401" in operation["responses"] or not operation["security"], name
    ids = [operation["operationId"] for _, _, operation in methods(told)]
    assert len(set(ids)) == len(ids)


async def test_every_id_in_a_path_is_said_to_be_a_uuid_and_a_name_is_not(told: Json) -> None:
    parts = {
        (one["name"], one["schema"].get("format"))
        for _, _, operation in methods(told)
        for one in operation["parameters"]
        if one["in"] == "path"
    }
    ids = ("session_id", "run_id", "message_id", "user_id", "key_id", "interrupt_id")
    assert parts == {("name", None), *((name, "uuid") for name in ids)}


def test_a_door_that_does_not_say_what_it_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Door):
        async def get(self) -> HttpResponse:
            """Say nothing."""
            return HttpResponse()

    (one,) = schema.operations([path("silent/", Silent.as_view())])
    with pytest.raises(TypeError, match="GET /silent/"):
        schema._operation(one, schema.Shapes())


def test_two_shapes_cannot_share_a_name() -> None:
    shapes = schema.Shapes()
    shapes._keep("Data", {"type": "object"})
    shapes._keep("Data", {"type": "object"})
    with pytest.raises(TypeError):
        shapes._keep("Data", {"type": "string"})


async def test_the_words_of_a_status_are_those_of_the_rows(told: Json) -> None:
    shapes = told["components"]["schemas"]

    def words(shape: str, key: str) -> set[str]:
        found = shapes[shape]["properties"][key]
        return set((found.get("anyOf") or [found])[0]["enum"])

    assert words("SessionData", "status") == set(ChatSession.Status.values)
    assert words("RunData", "status") == words("RunChangeData", "status") == set(Run.Status.values)
    assert words("MessageData", "role") == set(Message.Role.values)
    assert words("MemberData", "role") == words("SessionData", "my_role") == set(Member.Role.values)


# --- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_asks_no_other_host_and_runs_no_inline_script(nobody: Caller) -> None:
    for route in ("/api/docs/", "/api/docs"):
        page = await nobody.ask("GET", route)
        assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
        policy = dict(one.strip().partition(" ")[::2] for one in page.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
        assert not re.search(r"unsafe|https?:|\*", page.headers["Content-Security-Policy"])
        text = page.content.decode()
        assert 'data-schema="/api/schema/"' in text
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|//[a-z]", text)
        files = re.findall(r'(?:src|href)="/static/([^"]+)"', text)
        assert len(files) == 4 and all(finders.find(name) for name in files)


def test_the_pages_own_script_names_no_host() -> None:
    script = Path(str(finders.find("chat/docs.js"))).read_text()
    assert "//" not in re.sub(r"^\s*//.*$|// it would.*$", "", script, flags=re.M)
    assert "validatorUrl: null" in script


async def test_a_page_links_both(ada: Caller) -> None:
    assert ada.user is not None
    await ada.client.aforce_login(ada.user)
    text = (await ada.ask("GET", "/about/")).content.decode()
    assert 'href="/api/docs/"' in text and 'href="/api/schema/"' in text
