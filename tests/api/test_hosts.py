"""Whose name a request may come under: any for the probes, which are asked by address; a known one for all else."""

import json

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from pytest_django import Settings

from chatproject.middleware import PROBES

OURS, FOREIGN = "chat.example.org", "10.0.0.11:8001"
PATHS = [
    *("/", "/login/", "/password/", "/admin/", "/admin/login/", "/api/me/", "/api/schema/", "/api/docs/", "/about/"),
    *(
        "/nothing",
        "/healthz//",
        "//healthz",
        "/healthzz",
        "/healthz/x",
        "/api/healthz",
        "/HEALTHZ",
        "/metrics/../login/",
    ),
]


@pytest.fixture(autouse=True)
def _production(settings: Settings, db: None) -> None:
    settings.LOCAL = False
    settings.ALLOWED_HOSTS = [OURS]
    settings.CHAT_METRICS_TOKEN = "of-the-operator"


async def _status(path: str, host: str, root: str = "") -> int:
    return (await _answer(path, host, root))[0]


async def _answer(path: str, host: str, root: str = "") -> tuple[int, dict[bytes, bytes], str]:
    headers = [(b"host", host.encode()), (b"authorization", b"Bearer of-the-operator")]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "query_string": b"", "headers": headers}
    asking = ApplicationCommunicator(ASGIHandler(), scope)
    await asking.send_input({"type": "http.request", "body": b""})
    head = await asking.receive_output(5)
    body = (await asking.receive_output(5))["body"].decode()
    assert host in (OURS, "") or host not in body
    return int(head["status"]), dict(head["headers"]), body


@pytest.mark.parametrize("path", [f"{probe}{slash}" for probe in PROBES for slash in ("", "/")])
@pytest.mark.parametrize("host", [FOREIGN, "127.0.0.1:8000", "evil.example", "no host at all/", OURS])
async def test_a_probe_is_answered_under_any_name(path: str, host: str) -> None:
    assert await _status(path, host) == 200


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_else_is(path: str) -> None:
    assert await _status(path, FOREIGN) == 400
    assert await _status(path, OURS) != 400


@pytest.mark.parametrize("host", [FOREIGN, "foo_bar:1", ""])
@pytest.mark.parametrize("path", ["/api/me/", "/api/nothing", "/api"])
async def test_the_api_says_so_in_json(path: str, host: str) -> None:
    status, headers, body = await _answer(path, host)
    assert (status, headers[b"Content-Type"]) == (400, b"application/json")
    assert json.loads(body)["error"]["code"] == "invalid_input"
    assert b"text/html" in (await _answer("/login/", host))[1][b"Content-Type"]


@pytest.mark.parametrize("probe", PROBES)
async def test_a_path_does_not_become_a_probe_by_what_a_header_puts_before_it(probe: str) -> None:
    """Daphne takes the header Daphne-Root-Path for where the paths begin: these are the first page and /login/."""
    assert await _status(probe, FOREIGN, root=probe) == 400
    assert await _status(f"{probe}/login/", FOREIGN, root=probe) == 400
