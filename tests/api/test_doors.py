"""What holds for every endpoint: who may ask, how bodies and queries are read, and how it works without its slash."""

import json
from uuid import uuid4

import pytest
from django.test import AsyncClient, AsyncRequestFactory

from chat.api.doors import BODY_MAX_BYTES, Door
from chat.models import User
from tests.api.conftest import Caller
from tests.api.endpoints import ALL, OF_A_SESSION, Endpoint, name_of

SESSIONS = "/api/sessions/"


async def test_nobody_gets_in_without_signing_in(nobody: Caller) -> None:
    for endpoint in ALL:
        path = endpoint.at(**dict.fromkeys(("session_id", "run_id", "message_id", "user_id"), str(uuid4())))
        response = await nobody.ask(endpoint.method, path, endpoint.body)
        assert response.status_code == 401, endpoint
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert json.loads(response.content)["error"]["code"] == "not_authenticated"


@pytest.mark.parametrize("endpoint", OF_A_SESSION, ids=name_of)
async def test_for_eve_a_session_of_ada_does_not_exist(endpoint: Endpoint, ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session(title="secret")
    said = await ada.say(session_id)
    path = endpoint.at(session_id=session_id, run_id=said["run_id"], message_id=said["message_id"], user_id=ada.id)
    before = await ada.get(f"{SESSIONS}{session_id}/")
    assert await eve.refused(endpoint.method, path, endpoint.body) == (404, "not_found")
    assert await ada.get(f"{SESSIONS}{session_id}/") == before


async def test_staff_see_no_more_than_others(ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    said = await ada.say(session_id)
    await User.objects.filter(pk=eve.id).aupdate(is_staff=True, is_superuser=True)
    for endpoint in OF_A_SESSION:
        path = endpoint.at(session_id=session_id, run_id=said["run_id"], message_id=said["message_id"], user_id=ada.id)
        assert await eve.refused(endpoint.method, path, endpoint.body) == (404, "not_found"), endpoint
    assert (await eve.get(SESSIONS))["results"] == []


async def test_a_viewer_reads_everything_and_writes_nothing(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    said = await ada.say(session_id)
    await ada.let_in(session_id, ben, "viewer")
    before = await ada.get(f"{SESSIONS}{session_id}/")
    for endpoint in OF_A_SESSION:
        path = endpoint.at(session_id=session_id, run_id=said["run_id"], message_id=said["message_id"], user_id=ada.id)
        if endpoint.method == "GET":
            await ben.get(path)
        else:
            assert await ben.refused(endpoint.method, path, endpoint.body) == (403, "not_allowed"), endpoint
    assert await ada.get(f"{SESSIONS}{session_id}/") == before


async def test_every_path_works_without_its_slash(ada: Caller) -> None:
    session_id = await ada.new_session()
    said = await ada.say(session_id)
    for endpoint in ALL:
        if endpoint.method == "GET":
            path = endpoint.at(session_id=session_id, run_id=said["run_id"], message_id=said["message_id"])
            assert await ada.get(path) == await ada.get(path.rstrip("/"))


async def test_an_id_may_be_written_in_capitals(ada: Caller) -> None:
    session_id = await ada.new_session()
    said = await ada.say(session_id)
    ids = {"session_id": session_id, "run_id": said["run_id"], "message_id": said["message_id"]}
    for endpoint in OF_A_SESSION:
        if endpoint.method == "GET":
            path, loud = endpoint.at(**ids), endpoint.at(**{name: value.upper() for name, value in ids.items()})
            assert await ada.get(loud) == await ada.get(path), endpoint


async def test_a_message_can_be_posted_without_the_slash(ada: Caller) -> None:
    session_id = await ada.new_session()
    await ada.post(f"{SESSIONS}{session_id}/messages", {"content": "hi"}, 202)


async def test_a_path_that_is_none_is_not_found(ada: Caller, nobody: Caller) -> None:
    paths = ("/api", "/api/", "/api/nothing/", "/api/sessions/1/", "/api/runs/not-a-uuid", "/api/sessions/x/messages/")
    # Else the check against forged requests, which a server makes, is left out.
    ada.client = nobody.client = AsyncClient(enforce_csrf_checks=True)
    for path in paths:
        for method in ("GET", "POST", "PATCH", "DELETE", "PUT"):
            assert await nobody.refused(method, path) == (404, "not_found")
            assert await ada.refused(method, path) == (404, "not_found")


async def test_a_method_that_is_none_is_not_allowed_and_told_which_are(ada: Caller) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        response = await ada.ask(method, SESSIONS)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, POST"
        assert json.loads(response.content)["error"]["code"] == "method_not_allowed"


async def test_head_is_get_without_the_body(ada: Caller) -> None:
    assert (await ada.ask("HEAD", SESSIONS)).status_code == 200


async def test_nobody_on_the_way_keeps_an_answer(ada: Caller, nobody: Caller) -> None:
    for caller in (ada, nobody):
        assert (await caller.ask("GET", SESSIONS)).headers["Cache-Control"] == "no-store"


UNREADABLE = [
    b"",
    b"  ",
    b"hello",
    b"[]",
    b'"text"',
    b"null",
    b"{",
    b'{"title": NaN}',
    b'{"metadata": {"x": 1e999}}',
    b"\xff\xfe\x00",
    b'{"titel": "typo"}',
    b'{"title": 7}',
    b'{"title": ["x"]}',
    b'{"metadata": "x"}',
    b'{"parent_id": "x"}',
    b"[" * 100_000,
    b'{"title": "' + b"x" * 201 + b'"}',
]


async def test_a_body_that_cannot_be_read_is_invalid_input(ada: Caller) -> None:
    for body in UNREADABLE:
        assert await ada.refused("POST", SESSIONS, body) == (400, "invalid_input"), body[:50]


async def test_the_fields_that_are_wrong_are_named(ada: Caller) -> None:
    response = await ada.ask("POST", SESSIONS, {"titel": "x", "metadata": 3})
    error = json.loads(response.content)["error"]
    assert set(error["fields"]) == {"titel", "metadata"}
    assert error["fields"]["titel"] == "unknown"


@pytest.mark.postgres
async def test_text_that_no_database_could_store_is_cleaned(ada: Caller) -> None:
    created = await ada.call("POST", SESSIONS, b'{"title": "a\\u0000b\\ud800c"}', 201)
    assert created["title"] == "ab\ufffdc"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_other_kinds_of_bodies_than_json_are_invalid_input(kind: str, ada: Caller) -> None:
    assert await ada.refused("POST", SESSIONS, b'{"title": "x"}', Content_Type=kind) == (400, "invalid_input")


async def test_json_with_a_charset_or_without_a_type_is_json(ada: Caller) -> None:
    for kind in ("application/json; charset=utf-8", ""):
        created = await ada.call("POST", SESSIONS, '{"title": "ä"}'.encode(), 201, Content_Type=kind)
        assert created["title"] == "ä"


async def test_a_body_over_a_mebibyte_is_too_large(ada: Caller) -> None:
    assert await ada.refused("POST", SESSIONS, b" " * (BODY_MAX_BYTES + 1)) == (413, "too_large")


async def test_a_body_without_a_length_is_bounded_too() -> None:
    class Echo(Door):
        signed_in = False

        async def post(self, body: Door) -> None: ...

    request = AsyncRequestFactory().generic("POST", "/", b"x" * (BODY_MAX_BYTES + 1), content_type="application/json")
    del request.META["CONTENT_LENGTH"]
    response = await Echo.as_view()(request)
    assert response.status_code == 413


async def test_where_nothing_is_to_be_said_a_body_is_empty_or_an_empty_object(ada: Caller) -> None:
    session_id = await ada.new_session()
    close = f"{SESSIONS}{session_id}/close/"
    await ada.call("POST", close)
    await ada.call("POST", close, {})
    assert await ada.refused("POST", close, {"why": "so"}) == (400, "invalid_input")
    assert await ada.refused("POST", close, b"what?") == (400, "invalid_input")


MEANINGLESS = [
    "limit=0",
    "limit=201",
    "limit=x",
    "limit=",
    "limit=1.5",
    "limit=99999999999999999999999999",
    "status=open",
    "status=",
    "statsu=new",
    "updated_after=yesterday",
    "updated_after=0",
    "updated_after=20260101",
    "updated_after=2026-01-01T00:00:00",
    "updated_after=0001-01-01T00:00:00%2B23:00",
    "cursor=x",
    "cursor=",
    "cursor=%00",
    "agent=" + "x" * 65,
]


async def test_a_query_that_cannot_be_meant_is_invalid_input(ada: Caller) -> None:
    for query in MEANINGLESS:
        assert await ada.refused("GET", f"{SESSIONS}?{query}") == (400, "invalid_input"), query


async def test_a_token_of_somebody_made_inactive_opens_nothing(ada: Caller) -> None:
    await ada.get(SESSIONS)
    await User.objects.filter(pk=ada.id).aupdate(is_active=False)
    assert await ada.refused("GET", SESSIONS) == (401, "not_authenticated")


@pytest.mark.parametrize("value", ["Bearer", "Bearer x", "Bearer a b c", "Bearer ", "Basic YTpi", "x" * 5000])
async def test_a_credential_that_is_none_opens_nothing(value: str, nobody: Caller) -> None:
    assert await nobody.refused("GET", SESSIONS, Authorization=value) == (401, "not_authenticated")


async def test_a_cookie_reads_without_and_writes_with_the_token_against_forged_requests(ada: Caller) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    assert ada.user is not None
    await client.aforce_login(ada.user)
    by_cookie = Caller(None, client)
    assert (await by_cookie.get("/api/me/"))["username"] == "ada"
    assert await by_cookie.refused("POST", SESSIONS, {}) == (403, "not_allowed")
    assert await by_cookie.refused("POST", SESSIONS, {}, X_CSRFToken="x" * 32) == (403, "not_allowed")

    page = await client.get("/about/")  # any page with a form sets the cookie
    assert page.status_code == 200
    token = client.cookies["csrftoken"].value
    await by_cookie.post(SESSIONS, {}, 201, X_CSRFToken=token)


async def test_a_bearer_token_needs_no_token_against_forged_requests(ada: Caller) -> None:
    ada.client = AsyncClient(enforce_csrf_checks=True)
    await ada.new_session()


async def test_a_cookie_that_is_none_is_nobody(nobody: Caller) -> None:
    nobody.client.cookies["sessionid"] = "x" * 32
    assert await nobody.refused("GET", SESSIONS) == (401, "not_authenticated")
