"""The log: gapless numbers, rows and events together or not at all, and what follows a commit."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat import stream
from chat.actions import attempts, events, sessions
from chat.actions.events import Log, locked, on_commit
from chat.errors import NotFound
from chat.models import ChatSession, Event, Message, Run, Worker
from chat.protocol import Frame
from chat.protocol.commands import SessionChange
from tests.chat.published import heard
from tests.inside import WAIT_S, Talk, new_talk, told
from tests.threads import Threads, failing_at, stopped_at

# --- numbers ----------------------------------------------------------------------------------------------------------


def test_the_first_event_is_number_one_and_each_further_one_is_the_next(talk: Talk) -> None:
    talk.answer()
    assert [event.seq for event in talk.log()] == list(range(1, talk.last_seq + 1))
    assert talk.types()[:2] == ["session.created", "session.member_added"]


def test_last_seq_and_updated_at_are_those_of_the_last_event(talk: Talk) -> None:
    talk.answer()
    session = ChatSession.objects.get(pk=talk.pk)
    last = talk.log()[-1]
    assert (session.last_seq, session.updated_at) == (last.seq, last.at)


def test_many_writers_at_once_get_numbers_without_a_gap_or_a_repeat(talk: Talk, threads: Threads) -> None:
    calls: list[Callable[[], Any]] = []
    for number in range(6):
        change = SessionChange(title=f"Title {number}")
        calls += [lambda number=number: talk.post(f"Message {number}", talk.ben if number % 2 else talk.ada)]
        calls += [lambda change=change: sessions.update_session(talk.ada, talk.pk, change)]
    done = threads.at_once(*calls)
    assert not [one for one in done if isinstance(one, Exception)]
    assert [event.seq for event in talk.log()] == list(range(1, talk.last_seq + 1))
    assert talk.types().count("run.queued") == 6


@pytest.mark.postgres
def test_nobody_waits_for_the_lock_of_another_session(talk: Talk, threads: Threads) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.queue()
    with stopped_at("claim.commit") as stop:
        claiming = threads.start(talk.claim)
        stop.wait()
        other.answer(by=talk.ben)
        assert not claiming.done()
    claiming.result(WAIT_S)


@pytest.mark.postgres
def test_a_process_whose_clock_runs_wrong_writes_the_time_of_the_database(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: before - timedelta(hours=1))
    run = talk.start()
    monkeypatch.undo()
    assert run.started_at is not None and before <= run.started_at <= timezone.now()
    assert all(before <= event.at <= timezone.now() for event in talk.log()[-3:])
    assert not attempts.stuck_runs(60, lambda _: 0)


# --- rows and events together -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["claim.commit", "claim.slot"])
def test_a_claim_that_fails_half_way_leaves_neither_a_status_nor_an_event(talk: Talk, point: str) -> None:
    run = talk.queue()
    before = talk.last_seq
    with failing_at(point, RuntimeError("power cut")), pytest.raises(RuntimeError):
        talk.claim()
    assert Run.objects.get(pk=run.pk).status == "queued"
    assert talk.last_seq == before == len(talk.log())


def test_an_end_that_fails_after_the_status_changed_leaves_the_run_running(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    with failing_at("attempt.fenced", RuntimeError("power cut")), pytest.raises(RuntimeError):
        attempts.finish_run(run, "Hello!", attempts.Spending())
    assert Run.objects.get(pk=run.pk).status == "running"
    assert not Message.objects.filter(pk=run.answer_id).exists()
    assert talk.last_seq == before == len(talk.log())


def test_a_cancel_that_fails_half_way_leaves_the_run_running(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    with failing_at("cancel.commit", RuntimeError("power cut")), pytest.raises(RuntimeError):
        talk.cancel(run.pk)
    assert Run.objects.get(pk=run.pk).status == "running"
    assert talk.last_seq == before == len(talk.log())


def test_nothing_is_told_or_rung_of_what_was_rolled_back(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(events.stream, "publish", lambda session_id, frames: seen.append("published"))
    with pytest.raises(RuntimeError), locked(talk.pk) as log:
        log.change_session(title="Never")
        on_commit(lambda: seen.append("rung"))
        raise RuntimeError
    assert seen == []
    with locked(talk.pk) as log:
        log.change_session(title="Now")
        on_commit(lambda: seen.append("rung"))
        assert seen == [], "before the commit nobody may hear of it"
    assert sorted(seen) == ["published", "rung"]


def test_what_follows_a_commit_cannot_turn_it_into_a_failure(talk: Talk) -> None:
    with failing_at("commit.publish", RuntimeError("no wire")) as seen, locked(talk.pk) as log:
        log.change_session(title="Committed")
    assert seen
    assert ChatSession.objects.get(pk=talk.pk).title == "Committed"


def test_a_session_that_is_gone_is_not_found(talk: Talk) -> None:
    sessions.delete_session(talk.ada, talk.pk)
    with pytest.raises(NotFound), locked(talk.pk):
        pass


# --- what is told -----------------------------------------------------------------------------------------------------


def test_an_event_of_a_session_holds_its_own_number_and_time(talk: Talk) -> None:
    with locked(talk.pk) as log:
        log.change_session(title="One")
        log.change_session(title="Two")
    one, two = talk.log()[-2:]
    assert (one.data["title"], one.data["last_seq"]) == ("One", one.seq)
    assert (two.data["title"], two.data["last_seq"]) == ("Two", two.seq)


def test_an_action_without_an_event_writes_nothing(talk: Talk) -> None:
    before = ChatSession.objects.get(pk=talk.pk)
    with locked(talk.pk) as log:
        log.touch()
    assert ChatSession.objects.get(pk=talk.pk).active_at == before.active_at


def test_frames_are_published_in_the_order_of_the_log(talk: Talk, redis: Any) -> None:
    told()
    with heard(redis, stream.session_group(talk.pk)) as hear:
        after = talk.last_seq
        talk.answer()
        told()
        seen: list[int] = []
        while message := hear(0.2):
            if message["type"] == "event":
                seen.append(Frame.unpack(message["frame"]).seq)
    assert seen == list(range(after + 1, talk.last_seq + 1))


def test_a_log_keeps_its_session_when_the_row_is_deleted(talk: Talk) -> None:
    log = Log(ChatSession.objects.get(pk=talk.pk))
    log.session.pk = None
    assert log.session_id == talk.pk


def test_rows_that_only_a_worker_changes_take_no_number(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.keep_checkpoint(run, run.answer_id, "so far")
    Worker.objects.update(name="renamed")
    assert talk.last_seq == before
    assert Event.objects.filter(session_id=talk.pk).count() == before
