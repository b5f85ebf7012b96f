"""The pages for people: what they show, to whom, and what a browser may do with them."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from pytest_django import Settings

from chat.api import home
from chat.database import Pool
from chat.models import User
from tests.api.browsing import boot_of, change, sign_in
from tests.api.conftest import Caller
from tests.inside import WAIT_S
from tests.processes import ROOT

NEW = "battery staple 17"


def test_one_signs_in_chats_and_signs_out(browser: Client) -> None:
    away = browser.get("/")
    assert (away.status_code, away.headers["Location"]) == (302, "/login/?next=/")
    came = sign_in(browser, next="/")
    assert (came.status_code, came.headers["Location"]) == (302, "/")
    page = browser.get("/")
    assert page.status_code == 200 and '<div id="app"></div>' in page.content.decode()
    assert browser.get("/logout/").status_code == 405
    out = browser.post("/logout/", headers={"X-CSRFToken": browser.cookies["csrftoken"].value})
    assert (out.status_code, out.headers["Location"]) == (302, "/login/")
    assert browser.get("/").status_code == 302


def test_a_link_to_a_session_opens_the_page_after_signing_in_and_knows_nothing_of_the_session(browser: Client) -> None:
    link = f"/c/{uuid4()}/"
    away = browser.get(link)
    assert away.headers["Location"] == f"/login/?next={link}"
    assert sign_in(browser, next=link).headers["Location"] == link
    for path in (link, link.rstrip("/")):
        assert boot_of(browser.get(path)) == boot_of(browser.get("/"))
    assert browser.get("/c/none/").status_code == 404


def test_the_page_is_told_what_it_needs_before_its_first_request(browser: Client, settings: Settings) -> None:
    settings.CHAT_LLM, settings.CHAT_LLMS = "demo", ["openai:big", "demo"]
    sign_in(browser)
    user = User.objects.get()
    assert boot_of(browser.get("/")) == {
        "user": {"user_id": str(user.pk), "username": "ada", "name": "ada", "is_staff": False},
        "language": "en",
        "language_cookie": "chat_language",
        "theme_cookie": "chat_theme",
        "csrf_cookie": "csrftoken",
        "default_agent": "assistant",
        "llms": ["demo", "openai:big"],
        "max_content": 10_000,
        "about_url": "/about/",
        "password_url": "/password/",
        "sign_in_url": "/login/",
        "sign_out_url": "/logout/",
        "admin_url": None,
    }


def test_where_one_llm_is_offered_there_is_nothing_to_choose(browser: Client) -> None:
    sign_in(browser)
    told = boot_of(browser.get("/"))
    assert told["llms"] == []


def test_staff_are_shown_to_the_admin(browser: Client) -> None:
    User.objects.update(is_staff=True)
    sign_in(browser)
    assert boot_of(browser.get("/"))["admin_url"] == "/admin/"
    assert 'href="/admin/"' in browser.get("/about/").content.decode()


def test_a_name_cannot_end_the_data_that_it_stands_in(browser: Client) -> None:
    name = "</script><script>alert(1)</script>&amp;"
    User.objects.update(first_name=name)
    sign_in(browser)
    page = browser.get("/")
    assert page.content.decode().count("<script") == 2
    assert boot_of(page)["user"]["name"] == name


def test_the_built_files_are_loaded_and_only_what_has_the_nonce_may_run(browser: Client) -> None:
    sign_in(browser)
    first, second = browser.get("/"), browser.get("/")
    page, policy = first.content.decode(), first.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]{20,})' 'strict-dynamic';", policy)
    assert nonce and nonce[1] not in second.headers["Content-Security-Policy"]
    assert f'<script type="module" src="/static/app/assets/main-12345678.js" nonce="{nonce[1]}">' in page
    assert f'<link rel="modulepreload" href="/static/app/assets/more-12345678.js" nonce="{nonce[1]}">' in page
    assert '<link rel="stylesheet" href="/static/app/assets/main-87654321.css">' in page
    assert f'<meta property="csp-nonce" nonce="{nonce[1]}">' in page
    assert "no-store" in first.headers["Cache-Control"] and "<noscript>" in page


def test_a_page_that_was_not_built_says_so_and_what_to_do(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "built", lambda: None)
    sign_in(browser)
    answer = browser.get("/")
    assert answer.status_code == 503 and "chatproject/launch/page.py build" in answer.content.decode()


def test_about_tells_how_to_talk_to_the_server_otherwise(browser: Client) -> None:
    assert browser.get("/about/").status_code == 302
    sign_in(browser)
    text = browser.get("/about/").content.decode()
    for told in ("ada", "ws://testserver/ws/", "http://testserver/api/", "manage.py chat"):
        assert told in text
    assert "/admin/" not in text


def test_a_wrong_password_is_told_and_the_name_is_kept(browser: Client) -> None:
    page = sign_in(browser, username='<ada">', password="wrong").content.decode()
    assert "The name or the password is wrong." in page
    assert "&lt;ada&quot;&gt;" in page
    assert "<ada" not in page


def test_a_form_without_its_token_is_refused_in_words(browser: Client) -> None:
    refused = browser.post("/login/", {"username": "ada", "password": "correct horse"})
    assert refused.status_code == 403 and "Please try again" in refused.content.decode()


def test_one_is_not_sent_elsewhere_after_signing_in(browser: Client) -> None:
    assert sign_in(browser, next="https://evil.example/").headers["Location"] == "/"


def test_a_password_is_changed_and_other_browsers_are_signed_out(browser: Client) -> None:
    other = Client(enforce_csrf_checks=True)
    sign_in(browser)
    sign_in(other)
    done = change(browser, "correct horse", NEW)
    assert (done.status_code, done.headers["Location"]) == (302, "/password/?changed")
    assert "The password is changed" in browser.get("/password/?changed").content.decode()
    assert browser.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert sign_in(Client(enforce_csrf_checks=True), password=NEW).status_code == 302


@pytest.mark.parametrize(
    ("old", "new", "again", "told"),
    [
        ("a guess", NEW, NEW, "Your old password was entered incorrectly"),
        ("correct horse", NEW, "other", "The two password fields"),
        ("correct horse", "password", "password", "too common"),
    ],
)
def test_a_change_that_will_not_do_says_why_and_changes_nothing(
    browser: Client, old: str, new: str, again: str, told: str
) -> None:
    sign_in(browser)
    page = change(browser, old, new, again).content.decode()
    assert told in page and NEW not in page
    assert sign_in(Client(enforce_csrf_checks=True)).status_code == 302


def test_a_change_needs_a_sign_in(browser: Client) -> None:
    assert browser.get("/password/").headers["Location"] == "/login/?next=/password/"


# --- what they load ---------------------------------------------------------------------------------------------------


async def test_what_the_pages_load_is_served(ada: Caller) -> None:
    client = AsyncClient()
    for name, kind in (("page.css", "text/css"), ("colours.css", "text/css"), ("icon.svg", "image/svg+xml")):
        response = await client.get(f"/static/chat/{name}")
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith(kind)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        whole = (ROOT / "chat" / "static" / "chat" / name).read_bytes()
        assert response.content == whole
        part = await client.get(f"/static/chat/{name}", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, whole[1:4])
        unchanged = await client.get(
            f"/static/chat/{name}", headers={"If-Modified-Since": response.headers["Last-Modified"]}
        )
        assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (await client.get("/static/chat/nothing.css")).status_code == 404
    assert ada.user is not None


@pytest.mark.parametrize(
    ("name", "for_ever"),
    [("app/assets/main-BxK3_-9z.js", True), ("app/assets/main.js", False), ("chat/page.css", False)],
)
def test_files_named_for_their_content_are_kept_for_ever(name: str, for_ever: bool, tmp_path: Path) -> None:
    from chatproject.middleware import StaticFiles

    files = StaticFiles(lambda request: HttpResponse(status=404))
    path = tmp_path / "file.js"
    path.write_text("1")
    files.add_file_to_dictionary(f"/static/{name}", str(path))
    answer = files(RequestFactory().get(f"/static/{name}"))
    assert ("immutable" in answer.headers["Cache-Control"]) is for_ever


async def test_staff_get_into_the_admin(ada: Caller) -> None:
    await User.objects.filter(pk=ada.id).aupdate(is_staff=True, is_superuser=True)
    client = AsyncClient()
    assert (await client.get("/admin/")).status_code == 302
    assert ada.user is not None
    await client.aforce_login(ada.user)
    assert (await client.get("/admin/")).status_code == 200


# --- without a database -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["hangs", "fails"])
async def test_a_page_that_the_database_does_not_serve_says_so_in_time(
    browser: Client, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    await sync_to_async(sign_in)(browser)
    client, thaw = AsyncClient(), threading.Event()
    client.cookies = browser.cookies

    def get_user(request: Any) -> Any:
        if problem == "fails":
            raise OperationalError("could not connect to db.internal:5432 as chat")
        return thaw.wait()

    pool = Pool("test", home.THREADS, within_s=0.2)
    monkeypatch.setattr(home, "_printers", lambda: pool)
    monkeypatch.setattr(Pool, "hurries", True)
    monkeypatch.setattr("django.contrib.auth.middleware.get_user", get_user)
    try:
        for path in ("/", "/about/", "/password/"):
            response = await asyncio.wait_for(client.get(path), WAIT_S)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert "internal" not in response.content.decode()
    finally:
        thaw.set()


def test_a_page_is_made_in_few_threads_however_many_ask(browser: Client) -> None:
    sign_in(browser)
    for _ in range(3 * home.THREADS):
        assert browser.get("/").status_code == 200
    assert sum(thread.name.startswith("database-pages") for thread in threading.enumerate()) <= home.THREADS
