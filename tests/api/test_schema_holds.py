"""The server keeps to its schema: whatever is generated from it, nothing breaks, and answers have the declared shapes.

The same requests each time: the seed is fixed, and printed where one fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.stack import Stack, Workshop

SEED = 20260101
EXAMPLES = 4  # of a method for a person
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@dataclass
class Place:
    """A server with something in it."""

    url: str
    schema: Any  # read once: to prepare what is generated takes longer than to generate it
    tokens: dict[str, str]
    new_ids: Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def place(workshop: Workshop) -> Iterator[Place]:
    with Stack(workshop, "sqlite", workers=0, env={"CHAT_SIGN_INS_PER_MINUTE": "3"}) as stack:
        stack.start()
        ada, eve, olga = stack.person("ada"), stack.person("eve"), stack.person("olga")
        powers = "User.objects.filter(pk=user_id).update(is_staff=True, is_superuser=True)"
        stack.ask(powers, user_id=olga.user_id)
        tokens = {"nobody": "", "ada": ada.token, "eve": eve.token, "olga": olga.token}
        url = stack.webs[0].url

        def ask(method: str, path: str, body: Any = None, who: str = "ada") -> Any:
            headers = {"Authorization": f"Bearer {tokens[who]}"}
            answer = requests.request(method, url + path, json=body, headers=headers)
            assert answer.ok, answer.text
            return answer.json()

        def new_ids(path: str) -> dict[str, str]:
            """Make what a path names."""
            ids = {"user_id": eve.user_id}
            if "{name}" in path:
                ids["name"] = ask("POST", "/api/agents/", {"name": f"a{uuid4().hex[:8]}"}, "olga")["name"]
            if any(name in path for name in ("{session_id}", "{run_id}", "{message_id}", "{interrupt_id}")):
                ids["session_id"] = ask("POST", "/api/sessions/", {"title": "Plans"})["session_id"]
                said = ask("POST", f"/api/sessions/{ids['session_id']}/messages/", {"content": "hello"})
                ids |= {"run_id": said["run_id"], "message_id": said["message_id"]}
            if "{interrupt_id}" in path:
                ids["interrupt_id"] = stack.ask("ask_people(session_id)", session_id=ids["session_id"])
            if "{key_id}" in path:
                ids["key_id"] = ask("POST", "/api/api-keys/", {"name": "x"})["key_id"]
            return ids

        yield Place(url, schemathesis.openapi.from_url(f"{url}/api/schema/"), tokens, new_ids)


@pytest.mark.parametrize("who", ["nobody", "ada", "eve", "olga"])
def test_nothing_breaks_and_every_answer_has_its_shape(who: str, place: Place) -> None:
    print(f"seed {SEED}")
    schema = place.schema
    session = requests.Session()
    session.headers["Accept"] = "application/json"
    if place.tokens[who]:
        session.headers["Authorization"] = f"Bearer {place.tokens[who]}"
    statuses: dict[str, set[int]] = {}

    def ask_all_it_may_be_asked(operation: schemathesis.APIOperation, ids: dict[str, str]) -> None:
        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), is_real=st.sampled_from([True, True, False]))
        def holds(case: schemathesis.Case, is_real: bool) -> None:
            if is_real:  # what is there, and not only what is not found
                case.path_parameters = {name: ids.get(name, one) for name, one in (case.path_parameters or {}).items()}
            if case.query and "wait" in case.query:
                case.query["wait"] = 0.01
            case.headers.pop("Authorization", None)
            response = case.call(base_url=place.url, session=session)
            statuses.setdefault(f"{case.method} {case.path}", set()).add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        holds()

    for result in schema.get_all_operations():
        operation = result.ok()
        ask_all_it_may_be_asked(operation, place.new_ids(operation.path))
    assert len(statuses) > 30
    if who == "nobody":
        assert statuses["GET /api/sessions/"] == {401}
    else:
        fine = {name for name, seen in statuses.items() if min(seen) < 300}
        assert {"GET /api/sessions/", "GET /api/me/", "GET /api/api-keys/", "GET /api/interrupts/"} <= fine
        of_a_session = {name for name in fine if "{session_id}" in name or "{run_id}" in name or "{key_id}" in name}
        assert len(of_a_session) > 8 if who == "ada" else not of_a_session, "staff see no more than others"
        of_agents = {f"{method} /api/agents/{{name}}/" for method in ("PATCH", "DELETE")}
        assert of_agents <= fine if who == "olga" else not of_agents & fine
