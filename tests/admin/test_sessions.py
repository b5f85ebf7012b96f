"""The pages of sessions: found, read as far as one may, watched while an answer is written, closed and reopened."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from chat import shards, stream
from chat.actions import attempts, sessions
from chat.admin import sessions as pages
from chat.models import Agent, AuditEntry, ChatSession, User
from chat.protocol.commands import NewSession
from tests.admin.conftest import Browser, looks
from tests.inside import Talk, post, told
from tests.servers import Redis

LIST = "/admin/chat/chatsession/"
Staff = Callable[..., Browser]


def page_of(talk: Talk) -> str:
    return f"{LIST}{talk.pk}/change/"


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_tells_who_takes_part_what_runs_and_what_went_wrong(talk: Talk, olga: Browser) -> None:
    error = {"code": "llm_timeout", "message": "It took too long.", "temporary": True}
    attempts.fail_run(talk.start(), error, "", attempts.Spending())
    talk.start()
    page = olga.text(LIST)
    assert "Incident active assistant ada, ben" in page
    assert "running llm_timeout" in page


def test_sessions_are_found_by_title_member_and_id(talk: Talk, olga: Browser, eve: User) -> None:
    other = sessions.create_session(eve, NewSession(title="Something else"))
    run = talk.answer()
    for words, found in (
        ("INCI", [talk.pk]),
        ("eve", [other.pk]),
        ("be", [talk.pk]),
        (talk.pk, [talk.pk]),
        (run.pk, [talk.pk]),
        (run.answer_id, [talk.pk]),
        (uuid4(), []),
        ("nobody", []),
    ):
        page = olga.get(f"{LIST}?q={words}")
        assert [one.pk for one in (talk.session, other) if str(one.pk) in page] == found, words


def test_sessions_are_filtered_by_status_agent_user_and_date(talk: Talk, olga: Browser, eve: User) -> None:
    Agent.objects.create(name="other")
    other = sessions.create_session(eve, NewSession(title="Something else", agent="other"))
    talk.post()
    today = f"{timezone.now():%Y-%m-%d}"
    long_ago = timezone.now() - timedelta(days=9)
    ChatSession.objects.filter(pk=other.pk).update(active_at=long_ago)
    for query, found in (
        ("status__exact=new", other),
        ("agent__name__exact=other", other),
        (f"members__user__id__exact={talk.ben.pk}", talk.session),
        (f"active_at_from={today}", talk.session),
        (f"active_at_to={long_ago:%Y-%m-%d}", other),
    ):
        page = olga.get(f"{LIST}?{query}")
        assert [one for one in (talk.session, other) if str(one.pk) in page] == [found], query


def test_a_text_is_looked_for_in_the_newest_talk_and_that_is_written_down(
    talk: Talk, olga: Browser, eve: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sessions.create_session(eve, NewSession(title="Something else"))
    post(eve, other.pk, "The password is swordfish")
    talk.post("nothing")
    page = olga.get(f"{LIST}?q=text: SwordFish")
    assert str(other.pk) in page and str(talk.pk) not in page
    assert looks() == [("olga", "search in messages", str(other.pk))]
    assert str(other.pk) not in olga.get(f"{LIST}?q=swordfish"), "without asking for it, texts are not searched"
    monkeypatch.setattr(pages, "RECENT", 1)
    assert str(other.pk) not in olga.get(f"{LIST}?q=text:swordfish"), "so far back and no further"
    monkeypatch.setattr(pages, "RECENT", 1000)
    monkeypatch.setattr(pages, "SEARCHED_SESSIONS", 1)
    assert str(other.pk) not in olga.get(f"{LIST}?q=text:swordfish"), "in so many sessions and no more"


def test_who_may_not_read_messages_cannot_search_them(talk: Talk, staff: Staff) -> None:
    talk.post("The password is swordfish")
    assert str(talk.pk) not in staff("view_chatsession", user=talk.ben).get(f"{LIST}?q=text:swordfish")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_talk_runs_and_members_and_is_written_down(talk: Talk, olga: Browser) -> None:
    talk.answer("What happened?", "The disk was <b>full</b>.")
    page = olga.text(page_of(talk))
    assert "What happened?" in page and "The disk was <b>full</b>." in olga.get(page_of(talk))
    assert "succeeded ada assistant 1 0 3 + 2" in page
    assert "ben member" in page
    entry = AuditEntry.objects.order_by("pk")[0]
    assert (entry.username, entry.what, entry.session_id, entry.address, entry.path) == (
        "olga",
        "session",
        talk.pk,
        "127.0.0.1",
        page_of(talk),
    )


def test_what_people_wrote_is_text_and_no_page(talk: Talk, olga: Browser) -> None:
    ChatSession.objects.filter(pk=talk.pk).update(title="<script>one()</script>")
    talk.answer("<script>two()</script>", "<img src=x onerror=three()>")
    run = talk.start("<script>four()</script>")
    told()
    shards.client(0).set(stream.draft_key(talk.pk, run.answer_id), "<script>five()</script>")
    for path in (page_of(talk), LIST, "/admin/chat/message/", f"/admin/chat/run/{run.pk}/change/", "/admin/chat/run/"):
        raw = olga.client.get(path).content.decode()
        assert not [number for number in ("one", "two", "three", "four", "five") if f"<script>{number}" in raw], path
        assert "<img src=x" not in raw


def test_members_read_their_own_session_without_an_entry(talk: Talk, staff: Staff) -> None:
    talk.answer()
    ben = staff("view_chatsession", "view_message", "view_run", user=talk.ben)
    assert "Hello!" in ben.text(page_of(talk))
    ben.get(f"{LIST}{talk.pk}/live/")
    ben.get("/admin/chat/message/")
    assert looks() == []


def test_only_the_newest_messages_are_shown_and_long_ones_only_in_part(
    talk: Talk, olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SHOWN", 2)
    monkeypatch.setattr(pages, "SHOWN_CHARS", 10)
    for text in ("The first one", "The second one", "Short"):
        talk.post(text)
    page = olga.text(page_of(talk))
    assert "The second… all of it" in page and "Short" in page
    assert "The first" not in page
    assert f"/admin/chat/message/?session__id__exact={talk.pk}" in olga.get(page_of(talk))


@pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete"])
def test_no_way_of_asking_shows_talk_without_an_entry(talk: Talk, olga: Browser, method: str) -> None:
    talk.post("A secret")
    response: Any = getattr(olga.client, method)(page_of(talk))
    if "A secret" in response.content.decode():
        assert looks() == [("olga", "session", str(talk.pk))]


# --- live -------------------------------------------------------------------------------------------------------------


def test_an_answer_in_progress_is_shown_as_far_as_it_is(talk: Talk, olga: Browser) -> None:
    run = talk.start()
    talk.post("And then?")
    told()
    shards.client(0).set(stream.draft_key(talk.pk, run.answer_id), "So far, so göod")
    page = olga.text(f"{LIST}{talk.pk}/live/")
    assert "running : assistant, attempt 1" in page and "by host:1" in page
    assert "queued : assistant, since" in page
    assert "So far, so göod" in page
    assert "So far, so göod" in olga.text(page_of(talk))


def test_watching_is_written_down_once_in_a_while(talk: Talk, olga: Browser) -> None:
    for _ in range(3):
        olga.get(f"{LIST}{talk.pk}/live/")
    assert looks() == [("olga", "answer in progress", str(talk.pk))]
    AuditEntry.objects.update(at=timezone.now() - timedelta(minutes=6))
    olga.get(f"{LIST}{talk.pk}/live/")
    assert len(looks()) == 2


def test_without_redis_the_page_says_so_and_shows_what_was_saved(
    talk: Talk, olga: Browser, redis_server: Redis
) -> None:
    run = talk.start()
    told()
    attempts.keep_checkpoint(run, run.answer_id, "What was saved")
    redis_server.freeze()
    page = olga.text(page_of(talk))
    assert "Redis does not answer" in page and "What was saved" in page


def test_nothing_in_progress_is_said(talk: Talk, olga: Browser) -> None:
    talk.answer()
    assert "Nothing is in progress; the session is waiting." in olga.text(f"{LIST}{talk.pk}/live/")
    olga.get(f"{LIST}{uuid4()}/live/", 404)


# --- actions ----------------------------------------------------------------------------------------------------------


def test_sessions_are_closed_and_reopened_with_their_events(talk: Talk, olga: Browser, eve: User) -> None:
    other = sessions.create_session(eve, NewSession(title="Something else"))
    sessions.close_session(eve, other.pk)
    before = talk.last_seq
    olga.act("chatsession", "close", talk.session, other)
    page = olga.told("chatsession")
    assert "1 chat session: closed." in page and "1 chat session: closed already." in page
    olga.act("chatsession", "reopen", talk.session)
    assert talk.types(before) == ["session.closed", "session.reopened"]
    assert {what for _, what, _ in looks()} == {"close session", "reopen session"}


def test_a_button_of_the_page_leads_back_to_it(talk: Talk, olga: Browser) -> None:
    assert 'value="close"' in olga.get(page_of(talk))
    response = olga.act("chatsession", "close", talk.session, _back="1")
    assert response["Location"] == page_of(talk)
    assert 'value="reopen"' in olga.get(page_of(talk))


def test_a_forged_form_does_nothing(talk: Talk, olga: Browser) -> None:
    olga.client.handler.enforce_csrf_checks = True
    olga.act("chatsession", "close", talk.session, status=403)
    assert ChatSession.objects.get(pk=talk.pk).status == "new"
