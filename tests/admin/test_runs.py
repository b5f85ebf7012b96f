"""The pages of runs: each attempt and its end, what the LLM read, stopping and asking again."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from chat.actions import attempts, summaries, workers
from chat.admin import runs as pages
from chat.hub import hubs
from chat.models import Agent, ChatSession, Run, Usage, User
from chat.protocol import Frame
from tests.admin.conftest import Browser, looks
from tests.inside import Talk
from workers.context import build_context

LIST = "/admin/chat/run/"
Staff = Callable[..., Browser]
TIMEOUT = {"code": "llm_timeout", "message": "It took too long.", "temporary": True}


def page_of(run: Run) -> str:
    return f"{LIST}{run.pk}/change/"


def read_and_finish(talk: Talk, question: str, answer: str) -> Run:
    run = talk.start(question)
    run.read = build_context(run).read
    return attempts.finish_run(run, answer, attempts.Spending("demo", 3, 2))


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_tells_attempts_crashes_tokens_errors_and_no_talk(talk: Talk, olga: Browser) -> None:
    attempts.fail_run(talk.start("A secret"), TIMEOUT, "", attempts.Spending("demo", 30, 4))
    page = olga.text(LIST)
    assert "failed Incident ada assistant 1 0 30 + 4 llm_timeout" in page
    assert "secret" not in page
    assert looks() == []


def test_runs_are_filtered_and_found(talk: Talk, olga: Browser, eve: User) -> None:
    failed = attempts.fail_run(talk.start(by=talk.ben), TIMEOUT, "", attempts.Spending())
    done = talk.answer()
    for query, found in (
        ("status__exact=failed", [failed]),
        (f"user__id__exact={talk.ada.pk}", [done]),
        (f"session__id__exact={talk.pk}", [done, failed]),
        (f"q={failed.pk}", [failed]),
        (f"q={talk.pk}", [done, failed]),
        ("q=be", [failed]),
        ("q=eve", []),
        ("session__active_at_to=2020-01-01", []),
    ):
        page = olga.get(f"{LIST}?{query}")
        assert [one for one in (done, failed) if f"{one.pk}/change" in page] == found, query


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_tells_how_each_attempt_ended_and_what_it_cost(talk: Talk, olga: Browser) -> None:
    first = talk.start()
    back = attempts.put_back(first, "drained")
    assert back is not None
    second = talk.claim()
    attempts.put_back(second, "worker_lost", stuck=True)
    spent = [attempts.Spending("main", 3, 1, None), attempts.Spending("demo", 7, 8, Decimal(0))]
    attempts.finish_run(talk.claim(), "There.", *spent)
    page = olga.text(page_of(first))
    assert f"put back: its worker was stopped and handed it back {first.answer_id}" in page
    assert f"put back: its worker died or froze {second.answer_id}" in page
    assert "succeeded main: 3 + 1 demo: 7 + 8 unknown 0.000000" in page
    assert "1 crash: workers that were lost" in page
    assert looks() == [("olga", "run", str(talk.pk))]


def test_the_page_tells_what_went_wrong(talk: Talk, olga: Browser) -> None:
    page = olga.text(page_of(attempts.fail_run(talk.start(), TIMEOUT, "", attempts.Spending())))
    assert "llm_timeout: It took too long." in page
    assert "failed: llm_timeout" in page


def test_the_page_shows_what_the_llm_read(talk: Talk, olga: Browser) -> None:
    Agent.objects.filter(name="assistant").update(instructions="Be brief.")
    read_and_finish(talk, "Long past", "Forgotten")
    seq = talk.last_seq
    summaries.store_summary(talk.pk, 0, "They talked about the past.", seq)
    read_and_finish(talk, "What is new?", "Nothing")
    run = read_and_finish(talk, "And now?", "A lot")
    talk.answer("Later", "Unread")
    page = olga.text(page_of(run)).partition("What the LLM read")[2]
    assert "(9 characters)" in page and "Be brief." in page
    assert f"up to entry {seq} of the log, and 3 messages" in page
    assert "They talked about the past." in page
    for text in ("What is new?", "Nothing", "And now?"):
        assert text in page
    for text in ("Long past", "A lot", "Unread"):
        assert text not in page
    ChatSession.objects.filter(pk=talk.pk).update(summary="Another", summary_seq=seq + 1)
    assert "It has been replaced by a later one." in olga.text(page_of(run))


def test_what_was_read_is_shown_in_its_order_and_bounded(
    talk: Talk, olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("One", "Two", "Three"):
        run = read_and_finish(talk, f"{word}?", f"{word}!")
    page = olga.text(page_of(run)).partition("What the LLM read")[2]
    places = [page.index(text) for text in ("One?", "One!", "Two?", "Two!", "Three?")]
    assert places == sorted(places)
    monkeypatch.setattr(pages, "SHOWN_LINES", 2)
    page = olga.text(page_of(run)).partition("What the LLM read")[2]
    assert "3 older ones are not shown here." in page and "One?" not in page and "Three?" in page


def test_who_may_not_read_messages_is_not_told_what_the_llm_read(talk: Talk, staff: Staff) -> None:
    run = read_and_finish(talk, "A secret", "An answer")
    page = staff("view_run", user=talk.ben).text(page_of(run))
    assert "Attempts" in page and "secret" not in page and "What the LLM read" not in page


# --- stopping and asking again ----------------------------------------------------------------------------------------


def test_runs_are_cancelled_with_their_events_and_each_is_told(
    talk: Talk, olga: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    relayed: list[str] = []

    async def apply(session_id: Any, frames: list[Frame]) -> None:
        relayed.extend(frame.type for frame in frames)

    monkeypatch.setattr(hubs, "apply", apply)
    done, running, queued = talk.answer(), talk.start("One?"), talk.queue("Two?")
    before = talk.last_seq
    olga.act("run", "cancel", done, running, queued)
    page = olga.told("run")
    assert "2 runs: cancelled." in page and "1 run: already finished (succeeded)." in page
    types = talk.types(before)
    assert types.count("run.cancelled") == 2 and types[-2:] == ["session.updated", "run.cancelled"]
    assert sorted(relayed) == sorted(types), "to this process's sockets before the page was answered"
    assert looks() == [("olga", "cancel run", str(talk.pk))]


def test_a_run_that_is_asked_again_is_still_the_asking_persons(talk: Talk, olga: Browser) -> None:
    failed = attempts.fail_run(talk.start(by=talk.ben), TIMEOUT, "", attempts.Spending())
    done = talk.answer()
    before = talk.last_seq
    olga.act("run", "retry", failed, done)
    page = olga.told("run")
    assert "1 run: asked again." in page and "1 run: not done: The run has succeeded." in page
    again = Run.objects.get(retry_of=failed)
    assert (again.user, again.status) == (talk.ben, "queued")
    assert talk.types(before)[-1] == "run.queued"
    olga.act("run", "retry", failed)
    assert "1 run: asked again already." in olga.told("run")
    assert Run.objects.filter(retry_of=failed).count() == 1


def test_a_page_offers_what_makes_sense(talk: Talk, olga: Browser) -> None:
    run = talk.start()
    assert 'value="cancel"' in olga.get(page_of(run)) and 'value="retry"' not in olga.get(page_of(run))
    talk.cancel(run.pk)
    assert 'value="retry"' in olga.get(page_of(run)) and 'value="cancel"' not in olga.get(page_of(run))


def test_an_operator_who_may_change_runs_needs_to_be_no_member(talk: Talk, staff: Staff, eve: User) -> None:
    run = talk.start()
    staff("view_run", "change_run", user=eve).act("run", "cancel", run)
    assert Run.objects.get(pk=run.pk).status == "cancelled"


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_what_a_cancelled_attempt_read_and_cost_is_added_when_its_worker_lets_go(talk: Talk) -> None:
    run = talk.start()
    run.read = build_context(run).read
    talk.cancel(run.pk)
    attempts.record_usage(run, attempts.Spending("demo", 1, 1))
    assert Run.objects.get(pk=run.pk).read == run.read
    assert Usage.objects.get(run=run).output_tokens == 1


def test_a_lost_attempt_does_not_overwrite_what_a_later_one_read(talk: Talk) -> None:
    lost = talk.start()
    lost.read = {**build_context(lost).read, "tokens": 1}
    attempts.put_back(lost, "worker_lost", stuck=True)
    workers.renew_lease(talk.worker_id)
    run = talk.claim()
    run.read = build_context(run).read
    attempts.finish_run(run, "There.", attempts.Spending())
    attempts.record_usage(lost, attempts.Spending())
    kept = Run.objects.get(pk=run.pk).read
    assert kept == run.read and kept["attempt"] == 2
