"""The pages for people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import AsyncClient, Client

from chat.models import User
from tests.api.conftest import Caller


@pytest.fixture
def browser(ada: Caller) -> Client:
    assert ada.user is not None
    ada.user.set_password("correct horse")
    ada.user.save()
    return Client(enforce_csrf_checks=True)


def _token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    return found[1]


def _sign_in(browser: Client, **more: str) -> object:
    page = browser.get("/login/").content.decode()
    form = {"username": "ada", "password": "correct horse", "csrfmiddlewaretoken": _token(page), **more}
    return browser.post("/login/", form)


def test_one_signs_in_sees_home_and_signs_out(browser: Client) -> None:
    away = browser.get("/")
    assert (away.status_code, away.headers["Location"]) == (302, "/login/?next=/")
    came = _sign_in(browser, next="/")
    assert (came.status_code, came.headers["Location"]) == (302, "/")  # type: ignore[attr-defined]
    home = browser.get("/").content.decode()
    for told in ("ada", "ws://testserver/ws/", "http://testserver/api/", "manage.py chat"):
        assert told in home
    assert "/admin/" not in home
    assert browser.get("/logout/").status_code == 405
    out = browser.post("/logout/", {"csrfmiddlewaretoken": _token(home)})
    assert (out.status_code, out.headers["Location"]) == (302, "/login/")
    assert browser.get("/").status_code == 302


def test_staff_are_shown_to_the_admin(browser: Client) -> None:
    User.objects.update(is_staff=True)
    _sign_in(browser)
    assert 'href="/admin/"' in browser.get("/").content.decode()


def test_a_wrong_password_is_told_and_the_name_is_kept(browser: Client) -> None:
    page = _sign_in(browser, username='<ada">', password="wrong").content.decode()  # type: ignore[attr-defined]
    assert "The name or the password is wrong." in page
    assert "&lt;ada&quot;&gt;" in page
    assert "<ada" not in page


def test_a_form_without_its_token_is_refused(browser: Client) -> None:
    assert browser.post("/login/", {"username": "ada", "password": "correct horse"}).status_code == 403


def test_one_is_not_sent_elsewhere_after_signing_in(browser: Client) -> None:
    came = _sign_in(browser, next="https://evil.example/")
    assert came.headers["Location"] == "/"  # type: ignore[attr-defined]


def test_the_pages_ask_nobody_else_and_run_no_script(browser: Client) -> None:
    pages = [browser.get("/login/").content.decode()]
    _sign_in(browser)
    pages.append(browser.get("/").content.decode())
    for page in pages:
        assert "<script" not in page
        assert " style=" not in page
        loaded = re.findall(r'<link [^>]*href="([^"]+)"', page)
        assert loaded
        assert all(url.startswith("/static/") for url in loaded)


async def test_what_the_pages_load_is_served(ada: Caller) -> None:
    client = AsyncClient()
    for name, kind in (("page.css", "text/css"), ("icon.svg", "image/svg+xml")):
        response = await client.get(f"/static/chat/{name}")
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith(kind)
        whole = (Path(settings.BASE_DIR) / "chat" / "static" / "chat" / name).read_bytes()
        assert response.content == whole
        part = await client.get(f"/static/chat/{name}", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, whole[1:4])
        unchanged = await client.get(
            f"/static/chat/{name}", headers={"If-Modified-Since": response.headers["Last-Modified"]}
        )
        assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (await client.get("/static/chat/nothing.css")).status_code == 404
    assert ada.user is not None


async def test_staff_get_into_the_admin(ada: Caller) -> None:
    await User.objects.filter(pk=ada.id).aupdate(is_staff=True, is_superuser=True)
    client = AsyncClient()
    assert (await client.get("/admin/")).status_code == 302
    assert ada.user is not None
    await client.aforce_login(ada.user)
    assert (await client.get("/admin/")).status_code == 200
