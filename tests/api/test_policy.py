"""What a browser may do with an answer: every page says it, and no more than that page needs."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client, RequestFactory
from django.views.defaults import server_error
from pytest_django import Settings

from chat.api import home
from chat.models import User
from tests.api.browsing import sign_in


@pytest.fixture
def pages(browser: Client) -> dict[str, Any]:
    """Every page that there is for people, by its path."""
    found: dict[str, Any] = {
        path: browser.get(path) for path in ("/login/", "/api/docs/", "/nothing/", "/admin/login/")
    }
    found["/login/ without its token"] = browser.post("/login/", {})
    User.objects.update(is_staff=True, is_superuser=True)
    sign_in(browser)
    paths = ("/", f"/c/{uuid4()}/", "/about/", "/password/", "/admin/", "/admin/chat/run/", "/admin/nothing/")
    found |= {path: browser.get(path) for path in paths}
    found["an error"] = server_error(RequestFactory().get("/"))
    return found


def test_every_page_says_what_a_browser_may_do(pages: dict[str, Any]) -> None:
    pages.pop("an error")  # made past the middlewares
    for path, page in pages.items():
        assert page.headers["Content-Type"].startswith("text/html"), path
        policy = dict(one.strip().partition(" ")[::2] for one in page.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'", path
        assert policy["form-action"] in {"'self'", "'none'"}, path
        assert not re.search(r"https?:|\*", page.headers["Content-Security-Policy"]), path
        assert path.startswith("/admin/") or "unsafe" not in page.headers["Content-Security-Policy"], path
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Frame-Options"] == "DENY"
        # Not "no-referrer": browsers then send `Origin: null` with a form, which Django takes for a forged one.
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "microphone=()" in page.headers["Permissions-Policy"]


def test_the_chats_policy_is_the_strictest_that_it_lives_with(pages: dict[str, Any]) -> None:
    policy = pages["/"].headers["Content-Security-Policy"]
    for rule in (
        "img-src 'self' data: blob:",
        "connect-src 'self' ws://testserver",
        "font-src 'self'",
        "frame-src 'self'",
        "require-trusted-types-for 'script'",
    ):
        assert f"; {rule};" in policy
    assert home.app_policy(RequestFactory().get("/", secure=True), "n").count("connect-src 'self' wss://testserver;")


def test_other_pages_run_no_script_at_all(pages: dict[str, Any]) -> None:
    ours = {
        path: page for path, page in pages.items() if not path.startswith(("/admin", "/api", "/c/")) and path != "/"
    }
    assert len(ours) == 6
    for path, page in ours.items():
        text = page.content.decode()
        assert "<script" not in text and " style=" not in text and not re.search(r"\son\w+=", text), path
        assert "script-src" not in page.headers.get("Content-Security-Policy", "")
        loaded = re.findall(r'<link [^>]*href="([^"]+)"', text)
        assert len(loaded) == 3 and all(url.startswith("/static/chat/") for url in loaded), path


def test_browsers_are_told_to_stay_with_https_where_it_is_used(db: None, settings: Settings) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    assert Client().get("/login/", secure=True).headers["Strict-Transport-Security"] == "max-age=60"
    assert "Strict-Transport-Security" not in Client().get("/login/").headers


def test_answers_of_the_api_may_do_nothing(browser: Client) -> None:
    answer = browser.get("/api/me/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
