"""The session is locked before anything else, and what lost a race for a lock runs again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from chat.actions import attempts, claims, events, members, messages, runs, sessions
from chat.actions.events import action, locked
from chat.models import ChatSession, Message, Run
from chat.protocol.commands import NewMember, SessionChange
from tests.inside import WAIT_S, Talk, new_talk
from tests.threads import Threads, wait_until_blocked

# --- the order of locks -----------------------------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[Talk, Run], Any]] = {
    "post": lambda talk, run: talk.post("Another"),
    "rename": lambda talk, run: sessions.update_session(talk.ada, talk.pk, SessionChange(title="New")),
    "close": lambda talk, run: sessions.close_session(talk.ada, talk.pk),
    "add a member": lambda talk, run: members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer")),
    "cancel": lambda talk, run: talk.cancel(run.pk),
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "fail": lambda talk, run: attempts.fail_run(run, attempts.WORKER_LOST, "Hel", attempts.Spending()),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
}
WAITING: dict[str, Callable[[Talk, Run], Any]] = {
    "claim": lambda talk, run: claims.claim_run(talk.worker_id, talk.pk),
    "cancel": lambda talk, run: talk.cancel(run.pk),
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
    assert len(tries) > 2, "the deadlock's victim tried once more"
    assert talk.types().count("session.updated") == 2
    titles = ChatSession.objects.filter(pk__in=[talk.pk, other.pk]).values_list("title", flat=True)
    assert len(set(titles)) == 1


LOCKED_OUT: dict[str, Callable[[Talk, Run], Any]] = {
    "post": lambda talk, run: talk.post("Another"),
    "cancel": lambda talk, run: talk.cancel(run.pk),
    "finish": lambda talk, run: attempts.finish_run(run, "Hello!", attempts.Spending()),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
}


@contextmanager
def _sqlite_itself() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        yield
        cursor.execute("ROLLBACK")


@pytest.mark.parametrize("name", LOCKED_OUT)
def test_an_action_that_found_the_database_locked_runs_again(
    talk: Talk, threads: Threads, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = talk.start()
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        # On SQLite past the turnstile, as another program would: in there one of ours waits for the other.
        with transaction.atomic() if connection.vendor == "postgresql" else _sqlite_itself():
            if connection.vendor == "postgresql":
                ChatSession.objects.select_for_update().get(pk=talk.pk)
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
