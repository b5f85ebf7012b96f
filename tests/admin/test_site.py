"""Who is let in, what the pages load, and that a slow one is nobody else's trouble."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.test import AsyncClient
from rest_framework_simplejwt.tokens import AccessToken

from chat import database, failpoints
from chat.actions import attempts
from chat.actions.questions import Question
from chat.admin.site import THREADS
from chat.database import Pool
from chat.models import AuditEntry, ChatSession, Interrupt, Message, User
from tests.admin.conftest import Browser, looks
from tests.chat.consumers.sockets import Socket
from tests.inside import WAIT_S, Talk

NOUNS = "chatsession run message member agent usage worker user apikey auditentry".split()  # noqa: SIM905
NOUNS += "toolcall interrupt tool order".split()  # noqa: SIM905
Staff = Callable[..., Browser]


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/admin/", "/admin/chat/message/", f"/admin/chat/chatsession/{UUID(int=1)}/live/"])
def test_who_is_not_signed_in_is_asked_to(db: None, path: str) -> None:
    response = Browser().client.get(path)
    assert (response.status_code, response["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_who_is_not_staff_is_asked_to_sign_in_as_somebody_else(talk: Talk, eve: User) -> None:
    browser = Browser(eve)
    for path in ("/admin/", f"/admin/chat/chatsession/{talk.pk}/change/", f"/admin/chat/chatsession/{talk.pk}/live/"):
        assert browser.client.get(path)["Location"].startswith("/admin/login/")
    assert "Password" in browser.text("/admin/login/?next=/admin/")
    assert looks() == []


def test_a_member_who_is_not_staff_is_no_operator(talk: Talk) -> None:
    assert Browser(talk.ben).client.get(f"/admin/chat/chatsession/{talk.pk}/change/").status_code == 302


def test_staff_without_permissions_sees_an_empty_admin(talk: Talk, staff: Staff) -> None:
    ben = staff(user=talk.ben)
    assert "Incident" not in ben.text("/admin/")
    for noun in NOUNS:
        ben.get(f"/admin/chat/{noun}/", 403)
    ben.get(f"/admin/chat/chatsession/{talk.pk}/change/", 403)
    ben.get(f"/admin/chat/chatsession/{talk.pk}/live/", 404)
    assert looks() == []


def test_a_permission_to_see_sessions_is_none_to_read_their_talk(talk: Talk, staff: Staff) -> None:
    talk.answer("A secret question", "A secret answer")
    ChatSession.objects.update(summary="They spoke of a secret.", summary_seq=3)
    path = f"/admin/chat/chatsession/{talk.pk}/change/"
    page = staff("view_chatsession", user=talk.ben).text(path)
    assert "Incident" in page
    assert "secret" not in page and "Newest" not in page and "Members" not in page
    assert "Metadata" not in page, "a client may have put anything there"
    page = staff("view_chatsession", "view_message", user=talk.ben).text(path)
    assert "They spoke of a secret." in page and "Metadata" in page and "A secret answer" in page


def test_labels_are_words_and_no_names_of_the_code(talk: Talk, olga: Browser) -> None:
    run = talk.start()
    for path in (f"run/{run.pk}/change/", "agent/assistant/change/", "run/", "usage/"):
        page = olga.text(f"/admin/chat/{path}")
        assert "LLM" in page or path == "run/", path
        assert re.findall(r"\b(?:Llm|llm|usd|expires s)\b", page) == [], path


def test_staff_change_their_password_where_guesses_are_counted(olga: Browser) -> None:
    for ask in (olga.client.get, olga.client.post):
        assert ask("/admin/password_change/").headers.get("Location") == "/password/"


def test_a_page_that_writes_no_entry_shows_no_talk(talk: Talk, olga: Browser) -> None:
    run = talk.start("A secret question")
    attempts.interrupt_run(run, [Question("question", "A secret?")], attempts.Spending("demo", 1, 1))
    rows = [*Message.objects.filter(session=talk.session), *Interrupt.objects.filter(session=talk.session)]
    assert len(rows) == 2
    for row in rows:
        assert "secret" not in olga.get(f"/admin/chat/{row._meta.model_name}/{row.pk}/history/")
        assert "secret" not in repr(row), "as logs and tracebacks name it"
    assert looks() == []


def test_a_permission_to_see_is_none_to_act(talk: Talk, staff: Staff) -> None:
    run = talk.start()
    views = ("view_chatsession", "view_run", "view_message", "view_member", "view_agent", "view_user")
    ben = staff(*views, user=talk.ben)
    assert "Cancel run" not in ben.text(f"/admin/chat/run/{run.pk}/change/")
    ben.act("run", "cancel", run, status=200)
    ben.act("chatsession", "close", talk.session, status=200)
    ben.act("member", "make_viewer", talk.session.members.first(), status=200)
    ben.post("/admin/chat/agent/assistant/change/", {"title": "Mine"}, 403)
    ben.post(f"/admin/chat/user/{talk.ada.pk}/change/", {"username": "mine"}, 403)
    run.refresh_from_db()
    assert (run.status, ChatSession.objects.get(pk=talk.pk).status) == ("running", "active")
    assert talk.session.members.filter(role="owner").exists()


@pytest.mark.parametrize("noun", ["chatsession", "run", "message", "member", "usage", "worker", "apikey", "auditentry"])
def test_rows_that_people_and_workers_make_are_made_and_changed_by_nobody_here(olga: Browser, noun: str) -> None:
    olga.get(f"/admin/chat/{noun}/add/", 403)


def test_a_door_that_completes_names_tells_no_messages(talk: Talk, olga: Browser) -> None:
    talk.post("A secret")
    for model, field in (("run", "message"), ("message", "parent"), ("message", "session"), ("nothing", "x")):
        olga.get(f"/admin/autocomplete/?app_label=chat&model_name={model}&field_name={field}&term=", 403)
    assert "ada" in olga.get("/admin/autocomplete/?app_label=chat&model_name=member&field_name=user&term=ad")
    assert looks() == []


def test_who_signs_out_is_named_to_the_script_that_forgets_what_they_typed(olga: Browser) -> None:
    assert olga.user is not None
    page = olga.post("/admin/logout/", {}, 200)
    assert f'<a href="/login/" data-chat-forget="{olga.user.pk}">' in page.content.decode()
    assert 'src="/static/chat/admin.js"' in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert olga.client.get("/admin/").status_code == 302


# --- what the pages load ----------------------------------------------------------------------------------------------


def _references(page: str) -> set[str]:
    return set(re.findall(r"""(?:href|src|action|srcset|hx-get)=["']([^"'{]*)["']""", page))


def _is_ours(reference: str) -> bool:
    return not re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", reference) or reference.startswith("data:")


async def test_pages_and_their_styles_name_no_other_host_and_everything_they_load_is_there(
    talk: Talk, olga: Browser
) -> None:
    await asyncio.to_thread(talk.answer)
    client = AsyncClient()
    client.cookies = olga.client.cookies
    paths = ["/admin/", *(f"/admin/chat/{noun}/" for noun in NOUNS), "/admin/login/"]
    paths += [f"/admin/chat/chatsession/{talk.pk}/change/", "/admin/chat/agent/add/", "/admin/chat/user/add/"]
    loaded: set[str] = set()
    for path in paths:
        response = await client.get(path)
        assert response.status_code == (302 if path == "/admin/login/" else 200), path
        found = _references(response.content.decode())
        assert not [one for one in found if not _is_ours(one)], path
        loaded |= {one for one in found if one.startswith("/static/")}
    assert len(loaded) > 10
    for path in sorted(loaded):
        response = await client.get(path)
        assert response.status_code == 200, path
        if path.endswith(".css"):
            named = re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", response.content.decode())
            assert not [one for one in named if not _is_ours(one)], path


# --- slow pages -------------------------------------------------------------------------------------------------------


class Slow:
    """Every page of the admin waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.release = threading.Event()

    def __call__(self) -> None:
        self.begun.append(threading.get_ident())
        assert self.release.wait(WAIT_S)


@pytest.fixture
def slow_pages() -> Iterator[Slow]:
    slow = failpoints.armed["admin.page"] = Slow()
    yield slow
    slow.release.set()


async def test_slow_pages_of_the_admin_delay_no_api_and_no_socket(talk: Talk, olga: Browser, slow_pages: Slow) -> None:
    """More of them than there are threads for anything; the order of the answers tells."""
    client = AsyncClient()
    client.cookies = olga.client.cookies
    pages = [asyncio.ensure_future(client.get("/admin/chat/chatsession/")) for _ in range(2 * database.THREADS)]
    api, ada = AsyncClient(), Socket(talk.ada)
    bearer = {"Authorization": f"Bearer {AccessToken.for_user(talk.ada)}"}
    for _ in range(10):
        assert (await api.get("/api/me/", headers=bearer)).status_code == 200
        body = json.dumps({"content": "Hi"})
        path = f"/api/sessions/{talk.pk}/messages/"
        said = await api.post(path, body, content_type="application/json", headers=bearer)
        assert said.status_code == 202
    await ada.open()
    assert (await ada.ask("ping"))["type"] == "pong"
    assert not any(page.done() for page in pages), "they still wait, and nobody waited for them"
    assert len(set(slow_pages.begun)) == THREADS, "and no thread, or connection, for each of them"
    slow_pages.release.set()
    assert {(await page).status_code for page in pages} == {200}
    await ada.wire.disconnect()


@pytest.mark.parametrize("problem", ["hangs", "fails"])
async def test_a_page_that_the_database_does_not_serve_says_so_in_time(
    olga: Browser, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    client, thaw = AsyncClient(), threading.Event()
    client.cookies = olga.client.cookies

    def get_user(request: Any) -> Any:
        if problem == "fails":
            raise OperationalError("could not connect to db.internal:5432 as chat")
        return thaw.wait()

    pool = Pool("test", THREADS, within_s=0.2)
    monkeypatch.setattr(import_module("chat.admin.site"), "_operators", lambda: pool)
    monkeypatch.setattr(Pool, "hurries", True)
    monkeypatch.setattr("django.contrib.auth.middleware.get_user", get_user)
    try:
        for path in ("/admin/", "/admin/chat/message/", "/admin/password_change/"):
            response = await asyncio.wait_for(client.get(path), WAIT_S)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert "internal" not in response.content.decode()
    finally:
        thaw.set()


def test_no_page_is_shown_where_the_audit_cannot_be_written(
    talk: Talk, olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.post("A secret")

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(AuditEntry.objects, "bulk_create", refuse)
    for path in (f"chatsession/{talk.pk}/change", "message", f"chatsession/{talk.pk}/live"):
        with pytest.raises(RuntimeError):
            olga.get(f"/admin/chat/{path}/")
