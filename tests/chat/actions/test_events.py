"""The log: one lock a session, gapless numbers, rows and events together or not at all, and what follows a commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from chat import stream
from chat.actions import attempts, events, members, messages, runs, sessions
from chat.actions.events import Log, action, locked, on_commit
from chat.errors import NotFound
from chat.models import ChatSession, Event, Message, Run, Worker
from chat.protocol import Frame
from chat.protocol.commands import NewMember, SessionChange
from tests.inside import WAIT_S, Talk, Threads, failing_at, new_talk, stopped_at, told, wait_until_blocked

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
        runs.cancel_run(talk.ada, run.pk)
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


# --- the order of locks -----------------------------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[Talk, Run], Any]] = {
    "post": lambda talk, run: talk.post("Another"),
    "rename": lambda talk, run: sessions.update_session(talk.ada, talk.pk, SessionChange(title="New")),
    "close": lambda talk, run: sessions.close_session(talk.ada, talk.pk),
    "add a member": lambda talk, run: members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer")),
    "cancel": lambda talk, run: runs.cancel_run(talk.ada, run.pk),
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "fail": lambda talk, run: attempts.fail_run(run, attempts.WORKER_LOST, "Hel", attempts.Spending()),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
}
WAITING: dict[str, Callable[[Talk, Run], Any]] = {
    "claim": lambda talk, run: attempts.claim_run(talk.worker_id, talk.pk),
    "cancel": lambda talk, run: runs.cancel_run(talk.ada, run.pk),
    "move": lambda talk, run: runs.move_run(talk.ada, run.pk, None),
    "change the question": lambda talk, run: messages.update_message(talk.ada, run.message_id, "Other words"),
}


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("is_running", "name"), [*((True, name) for name in ACTIONS), *((False, name) for name in WAITING)]
)
def test_every_action_waits_for_the_session_before_it_locks_a_run(
    talk: Talk, threads: Threads, is_running: bool, name: str
) -> None:
    """Whoever held the run and wanted the session would deadlock with whoever goes the right way."""
    run = talk.start() if is_running else talk.queue()
    doing = (ACTIONS if is_running else WAITING)[name]
    with transaction.atomic():
        ChatSession.objects.select_for_update(no_key=True).get(pk=talk.pk)
        acting = threads.start(doing, talk, run)
        wait_until_blocked()
        # Raises where somebody else holds it.
        list(Run.objects.select_for_update(nowait=True).filter(session_id=talk.pk))
        list(Message.objects.select_for_update(nowait=True).filter(session_id=talk.pk))
        assert not acting.done()
    acting.result(WAIT_S)


def test_the_lock_of_a_session_is_not_taken_for_reading(talk: Talk, threads: Threads) -> None:
    with locked(talk.pk) as log:
        log.change_session(title="Held")
        assert threads.start(lambda: ChatSession.objects.get(pk=talk.pk).title).result(WAIT_S) == "Incident"


# --- once more --------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_an_action_that_lost_a_deadlock_runs_again(talk: Talk, threads: Threads) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    @action
    def rename_both(first: Talk, second: Talk, title: str) -> None:
        tries.append(title)
        with locked(first.pk) as log:
            if len(tries) <= 2:
                both_hold_one.wait(WAIT_S)
            with locked(second.pk) as log_of_second:
                log.change_session(title=title)
                log_of_second.change_session(title=title)

    done = threads.at_once(lambda: rename_both(talk, other, "one"), lambda: rename_both(other, talk, "two"))
    assert done == [None, None]
    assert len(tries) == 3, "the deadlock's victim tried once more"
    assert talk.types().count("session.updated") == 2
    titles = ChatSession.objects.filter(pk__in=[talk.pk, other.pk]).values_list("title", flat=True)
    assert len(set(titles)) == 1


LOCKED_OUT: dict[str, Callable[[Talk, Run], Any]] = {
    "post": lambda talk, run: talk.post("Another"),
    "cancel": lambda talk, run: runs.cancel_run(talk.ada, run.pk),
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
}


@pytest.mark.parametrize("name", LOCKED_OUT)
def test_an_action_that_found_the_database_locked_runs_again(
    talk: Talk, threads: Threads, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = talk.start()
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(talk.pk):
            holds.set()
            assert release.wait(WAIT_S)

    def release_instead_of_sleeping(seconds: float) -> None:
        release.set()
        holding.result(WAIT_S)

    def act() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout=1" if connection.vendor == "sqlite" else "SET lock_timeout='20ms'")
        try:
            return LOCKED_OUT[name](talk, run)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout=20000" if connection.vendor == "sqlite" else "RESET lock_timeout")

    monkeypatch.setattr(events.time, "sleep", release_instead_of_sleeping)
    holding = threads.start(hold)
    assert holds.wait(WAIT_S)
    assert threads.start(act).result(WAIT_S) is not None
    assert release.is_set(), "it met no lock"


@pytest.mark.parametrize(
    ("problem", "tries"),
    [
        (OperationalError("database is locked"), 4),
        (IntegrityError("duplicate key value violates unique constraint"), 4),
        (OperationalError("server closed the connection unexpectedly"), 1),
        (DatabaseError("no such column"), 1),
    ],
)
def test_what_another_try_may_mend_is_tried_four_times_and_the_rest_once(
    db: None, monkeypatch: pytest.MonkeyPatch, problem: DatabaseError, tries: int
) -> None:
    """A connection that broke may have broken after its COMMIT: whoever asked must look first."""
    seen: list[int] = []

    @action
    def fail() -> None:
        seen.append(1)
        raise problem

    monkeypatch.setattr(events.time, "sleep", lambda seconds: None)
    with pytest.raises(type(problem)):
        fail()
    assert len(seen) == tries


def test_an_action_inside_another_transaction_is_not_repeated_on_its_own(db: None) -> None:
    seen: list[int] = []

    @action
    def fail() -> None:
        seen.append(1)
        raise OperationalError("database is locked")

    with pytest.raises(OperationalError), transaction.atomic():
        fail()
    assert len(seen) == 1, "its rows were only rolled back with the whole"


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
    listening = redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(stream.channel_of(stream.session_group(talk.pk)))
    listening.get_message(timeout=5)
    after = talk.last_seq
    talk.answer()
    told()
    seen: list[int] = []
    while message := listening.get_message(timeout=0.2):
        decoded = stream.layer().deserialize(message["data"])
        if decoded["type"] == "event":
            seen.append(Frame.unpack(decoded["frame"]).seq)
    assert seen == list(range(after + 1, talk.last_seq + 1))
    listening.close()


def test_a_log_keeps_its_session_when_the_row_is_deleted(talk: Talk) -> None:
    log = Log(ChatSession.objects.get(pk=talk.pk))
    log.session.pk = None
    assert log.session_id == talk.pk


def test_rows_that_only_a_worker_changes_take_no_number(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.keep_checkpoint(run, "so far")
    Worker.objects.update(name="renamed")
    assert talk.last_seq == before
    assert Event.objects.filter(session_id=talk.pk).count() == before
