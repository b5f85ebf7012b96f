"""What time does to sessions: closed when idle, deleted when closed for long, and their old events forgotten."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from chat.actions import attempts, messages, retention, sessions
from chat.actions.retention import close_idle, delete_closed, forget_events
from chat.errors import SessionClosed
from chat.models import ChatSession, Event, Message, Usage
from tests.inside import Talk, new_talk
from tests.threads import Threads, stopped_at

HOUR = 3600


def rest(talk: Talk, seconds: float) -> None:
    """Let a session have been quiet for so long."""
    ChatSession.objects.filter(pk=talk.pk).update(active_at=timezone.now() - timedelta(seconds=seconds))


def status(talk: Talk) -> str | None:
    return ChatSession.objects.filter(pk=talk.pk).values_list("status", flat=True).first()


# --- idle -------------------------------------------------------------------------------------------------------------


def test_an_idle_session_is_closed_and_says_why(talk: Talk, settings: Any) -> None:
    settings.CHAT_SESSION_IDLE_S = HOUR
    talk.answer()
    rest(talk, HOUR - 60)
    assert close_idle() == (0, False)
    rest(talk, HOUR + 1)
    assert close_idle() == (1, False)
    event = talk.log()[-1]
    assert (event.type, event.data["status"], event.data["reason"]) == ("session.closed", "closed", "idle")
    with pytest.raises(SessionClosed):
        talk.post()
    assert close_idle() == (0, False)
    sessions.reopen_session(talk.ada, talk.pk)
    talk.post("It goes on")


def test_each_message_and_each_answer_puts_it_off(talk: Talk, settings: Any) -> None:
    settings.CHAT_SESSION_IDLE_S = HOUR
    talk.answer()
    rest(talk, HOUR + 1)
    run = talk.start("Still there?")
    rest(talk, HOUR + 1)
    attempts.finish_run(run, "Yes.")
    assert close_idle() == (0, False) and status(talk) == "waiting"


@pytest.mark.parametrize("state", ["queued", "running", "interrupted"])
def test_no_session_is_closed_while_an_answer_or_a_question_is_open(talk: Talk, settings: Any, state: str) -> None:
    settings.CHAT_SESSION_IDLE_S = HOUR
    run = talk.queue() if state == "queued" else talk.start()
    if state == "interrupted":
        type(run).objects.filter(pk=run.pk).update(status="interrupted", slot=None)
        ChatSession.objects.filter(pk=talk.pk).update(status="interrupted")
    rest(talk, 10 * HOUR)
    assert close_idle() == (0, False)
    # Not even where the status of the session is behind.
    ChatSession.objects.filter(pk=talk.pk).update(status="waiting")
    assert close_idle() == (0, False)
    sessions.delete_session(talk.ada, talk.pk)


def test_by_default_nothing_is_closed_deleted_or_forgotten(talk: Talk) -> None:
    talk.answer()
    rest(talk, 10_000 * HOUR)
    Event.objects.update(at=timezone.now() - timedelta(days=10_000))
    sessions.close_session(talk.ada, talk.pk)
    rest(talk, 10_000 * HOUR)
    assert [step() for step in (close_idle, delete_closed, forget_events)] == [(0, False)] * 3


def test_a_message_that_comes_first_keeps_the_session_open(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_SESSION_IDLE_S = HOUR
    talk.answer()
    rest(talk, HOUR + 1)
    posted, step = threads.at_once(lambda: talk.post("Just in time"), close_idle)
    assert step.done == isinstance(posted, SessionClosed)
    assert status(talk) == ("closed" if step.done else "active")


def test_many_sweeps_at_once_close_it_once(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_SESSION_IDLE_S = HOUR
    rest(talk, HOUR + 1)
    done = [step.done for step in threads.at_once(*[close_idle] * 4)]
    assert sum(done) == 1 and talk.types().count("session.closed") == 1


# --- deleted ----------------------------------------------------------------------------------------------------------


def test_what_was_closed_long_ago_is_deleted_and_its_cost_is_still_owed(talk: Talk, settings: Any) -> None:
    settings.CHAT_RETENTION_DAYS = 30
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    for one in (talk, other):
        one.answer()
        rest(one, 40 * 24 * HOUR)
    sessions.close_session(talk.ada, talk.pk)
    assert delete_closed() == (0, False), "closed just now"
    rest(talk, 29 * 24 * HOUR)
    assert delete_closed() == (0, False)
    rest(talk, 31 * 24 * HOUR)
    assert delete_closed() == (1, False)
    assert status(talk) is None and status(other) == "waiting"
    assert not Message.objects.filter(session_id=talk.pk).exists()
    assert Usage.objects.filter(run=None).count() == 1 and Usage.objects.count() == 2


def test_what_is_still_being_answered_in_a_closed_session_is_waited_for(talk: Talk, settings: Any) -> None:
    settings.CHAT_RETENTION_DAYS = 30
    talk.start()
    sessions.close_session(talk.ada, talk.pk)
    rest(talk, 31 * 24 * HOUR)
    assert delete_closed() == (0, False) and status(talk) == "closed"
    ChatSession.objects.filter(pk=talk.pk).update(active_at=timezone.now())


def test_a_session_that_is_reopened_while_the_sweep_looks_stays(
    talk: Talk, threads: Threads, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_RETENTION_DAYS = 30
    sessions.close_session(talk.ada, talk.pk)
    rest(talk, 31 * 24 * HOUR)
    decide = retention._if_quiet

    def and_then_it_is_reopened(*args: Any) -> bool:
        sessions.reopen_session(talk.ada, talk.pk)
        return decide(*args)

    monkeypatch.setattr(retention, "_if_quiet", and_then_it_is_reopened)
    assert delete_closed() == (0, False) and status(talk) == "waiting"


def test_a_long_backlog_is_worked_off_in_batches(talk: Talk, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHAT_RETENTION_DAYS = 30
    monkeypatch.setattr(retention, "SESSIONS_MAX", 2)
    for _ in range(5):
        one = new_talk(talk.ada, talk.ben, talk.worker_id)
        sessions.close_session(one.ada, one.pk)
        rest(one, 31 * 24 * HOUR)
    assert [delete_closed() for _ in range(4)] == [(2, True), (2, True), (1, False), (0, False)]


# --- events -----------------------------------------------------------------------------------------------------------


def age(talk: Talk, up_to: int, days: float) -> None:
    Event.objects.filter(session_id=talk.pk, seq__lte=up_to).update(at=timezone.now() - timedelta(days=days))


def kept(talk: Talk) -> tuple[int, list[int]]:
    row = ChatSession.objects.get(pk=talk.pk)
    return row.kept_from, [event.seq for event in talk.log()]


@pytest.fixture
def old_talk(talk: Talk, settings: Any) -> Talk:
    """A talk of which the first ten events, of many, are old; its log alone no longer tells the state."""
    settings.CHAT_EVENTS_DAYS = 30
    made = new_talk(talk.ada, talk.ben, talk.worker_id)
    for _ in range(3):
        made.answer()
    ChatSession.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=40))
    age(made, 10, 31)
    return made


def test_old_events_are_forgotten_and_what_was_said_is_not(old_talk: Talk) -> None:
    last = old_talk.last_seq
    assert forget_events() == (1, False)
    assert kept(old_talk) == (11, list(range(11, last + 1)))
    assert Message.objects.filter(session_id=old_talk.pk).count() == 6
    assert forget_events() == (0, False)
    age(old_talk, last, 31)
    assert forget_events() == (1, False) and kept(old_talk) == (last + 1, [])
    assert forget_events() == (0, False)
    old_talk.post("On it goes")
    assert kept(old_talk)[1] == [last + 1, last + 2, last + 3]


def test_what_is_kept_has_no_gap_whatever_the_clocks_said(old_talk: Talk) -> None:
    age(old_talk, 20, 31)
    Event.objects.filter(session_id=old_talk.pk, seq=5).update(at=timezone.now())
    assert forget_events() == (1, False)
    assert kept(old_talk)[0] == 5 and kept(old_talk)[1][0] == 5


def test_a_long_log_is_forgotten_in_batches(old_talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_MAX", 4)
    assert [forget_events() for _ in range(4)] == [(1, True), (1, True), (1, False), (0, False)]
    assert kept(old_talk)[0] == 11


def test_a_message_that_is_sent_meanwhile_is_kept(old_talk: Talk, threads: Threads) -> None:
    with stopped_at("commit.publish") as stop:
        posting = threads.start(old_talk.post, "Meanwhile")
        stop.wait()
        forget_events()
        stop.go_on()
        posted: messages.Posted = posting.result()
    assert isinstance(posted.message_id, UUID) and kept(old_talk)[0] == 11
    assert old_talk.types()[-1] == "run.queued"
