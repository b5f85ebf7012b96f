"""Every error, as HTTP tells it."""

import json
import logging
from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework_simplejwt.exceptions import InvalidToken

from chat import errors
from chat.api.errors import error_response
from tests.api.conftest import Caller


def _all(kind: type[errors.ChatError]) -> Iterator[type[errors.ChatError]]:
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
        yield from _all(one)


@pytest.mark.parametrize("kind", list(_all(errors.ChatError)), ids=lambda kind: kind.__name__)
def test_each_error_of_the_tree_has_its_status_and_shape(kind: type[errors.ChatError]) -> None:
    response = error_response(kind(fields={"x": "y"}))
    assert response.status_code == kind.status
    assert response.headers["Content-Type"] == "application/json"
    error = json.loads(response.content)["error"]
    assert (error["code"], error["temporary"], error["fields"]) == (kind.code, kind.temporary, {"x": "y"})
    assert ("Retry-After" in response.headers) == ("retry_after_s" in error)
    if kind.status == 429:
        assert kind.temporary
        assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (exceptions.ParseError(), 400, "invalid_input"),
        (exceptions.NotAuthenticated(), 401, "not_authenticated"),
        (exceptions.AuthenticationFailed(), 401, "not_authenticated"),
        (InvalidToken(), 401, "not_authenticated"),
        (exceptions.PermissionDenied("CSRF Failed: no token"), 403, "not_allowed"),
        (PermissionDenied(), 403, "not_allowed"),
        (Http404("chat_session 7"), 404, "not_found"),
        (RequestDataTooBig(), 413, "too_large"),
        (SuspiciousOperation("/etc/passwd"), 400, "invalid_input"),
        (OperationalError("host db.internal is down"), 503, "unavailable"),
        (InterfaceError("closed"), 503, "unavailable"),
        (exceptions.APIException("secret"), 500, "internal"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
def test_what_others_raise_is_told_in_our_words(problem: Exception, status: int, code: str) -> None:
    response = error_response(problem)
    error = json.loads(response.content)["error"]
    assert (response.status_code, error["code"]) == (status, code)
    for secret in ("secret", "internal is down", "passwd", "chat_session"):
        assert secret not in error["message"]


def test_a_time_to_wait_is_whole_seconds_in_the_header() -> None:
    response = error_response(errors.RateLimited(retry_after_s=2.2))
    assert response.headers["Retry-After"] == "3"
    assert json.loads(response.content)["error"]["retry_after_s"] == 2.2


async def test_a_database_that_is_away_is_unavailable(ada: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise OperationalError("could not connect to db.internal")

    monkeypatch.setattr("chat.api.sessions._list", gone)
    response = await ada.ask("GET", "/api/sessions/")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert b"internal" not in response.content


async def test_very_many_parameters_are_no_trouble_to_who_logs_and_counts_requests(
    ada: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    query = "&".join(f"a{number}=1" for number in range(1100))
    assert await ada.refused("GET", f"/api/sessions/?{query}") == (400, "invalid_input")
    made = await ada.post(f"/api/sessions/?{query}", {}, 201)
    assert [one["session_id"] for one in (await ada.get("/api/sessions/"))["results"]] == [made["session_id"]]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_our_own_mistake_is_logged_and_not_told(
    ada: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("the secret")

    monkeypatch.setattr("chat.api.sessions._list", broken)
    with caplog.at_level(logging.ERROR):
        response = await ada.ask("GET", "/api/sessions/")
    assert response.status_code == 500
    assert json.loads(response.content)["error"] == {
        "code": "internal",
        "message": "Something went wrong on our side.",
        "temporary": False,
    }
    assert "the secret" in caplog.text
