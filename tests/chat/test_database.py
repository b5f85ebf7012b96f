"""Reads that see one state and wait for no writer; threads that keep their connections and survive a broken one."""

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections, transaction

from chat import database
from chat.actions.events import locked
from chat.database import Pool, read_snapshot, reading, writing
from chat.errors import Unavailable
from chat.models import ChatSession, Message
from tests.inside import WAIT_S, Talk
from tests.processes import PATIENCE
from tests.threads import Threads

# --- one state --------------------------------------------------------------------------------------------------------


def test_what_is_read_in_one_snapshot_is_one_state(talk: Talk, threads: Threads) -> None:
    """Else the messages that a page shows and its last_seq would be of two moments."""
    with read_snapshot():
        seq = ChatSession.objects.get(pk=talk.pk).last_seq
        threads.start(talk.post).result(WAIT_S)
        assert not Message.objects.exists()
        assert ChatSession.objects.get(pk=talk.pk).last_seq == seq
    assert Message.objects.exists(), "the next look sees it"


def test_a_writer_delays_no_reader(talk: Talk, threads: Threads) -> None:
    def read() -> tuple[float, str]:
        began = time.monotonic()
        with read_snapshot():
            title = ChatSession.objects.get(pk=talk.pk).title
        return time.monotonic() - began, title

    with locked(talk.pk) as log:
        log.change_session(title="Not yet")
        log.write()
        took_s, title = threads.start(read).result(WAIT_S)
    assert title == "Incident"
    assert took_s < 0.5 * PATIENCE


def test_a_reader_delays_no_writer(talk: Talk, threads: Threads) -> None:
    with read_snapshot():
        ChatSession.objects.get(pk=talk.pk)
        threads.start(talk.post).result(WAIT_S)


@pytest.mark.postgres
def test_nothing_is_written_in_a_snapshot(talk: Talk) -> None:
    with pytest.raises(DatabaseError), read_snapshot():
        ChatSession.objects.update(title="Written")
    assert ChatSession.objects.get(pk=talk.pk).title == "Incident"


def test_a_snapshot_within_a_transaction_is_that_transactions(talk: Talk) -> None:
    with locked(talk.pk) as log:
        log.change_session(title="Mine")
        log.write()
        with read_snapshot():
            assert ChatSession.objects.get(pk=talk.pk).title == "Mine"


def test_a_snapshot_ends_when_what_reads_in_it_fails(talk: Talk) -> None:
    with pytest.raises(RuntimeError), read_snapshot():
        ChatSession.objects.get(pk=talk.pk)
        raise RuntimeError
    talk.post()
    with transaction.atomic():
        assert Message.objects.exists()


def test_one_snapshot_after_another_sees_what_came_between(talk: Talk, threads: Threads) -> None:
    for count in range(3):
        with read_snapshot():
            assert Message.objects.count() == count
        threads.start(talk.post).result(WAIT_S)


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_database_work_leaves_the_loop_free_and_gives_what_it_gave(talk: Talk) -> None:
    me = threading.get_ident()
    assert await reading(threading.get_ident) != me
    assert await writing(threading.get_ident) != me
    assert (await reading(ChatSession.objects.get, pk=talk.pk)).title == "Incident"


async def test_sqlite_has_one_writing_thread_and_a_slow_read_holds_up_no_write(talk: Talk) -> None:
    slow, release = threading.Event(), threading.Event()

    def read() -> None:
        slow.set()
        assert release.wait(WAIT_S)

    reads = [asyncio.ensure_future(reading(read)) for _ in range(database.THREADS)]
    await asyncio.to_thread(slow.wait, WAIT_S)
    writers = await asyncio.gather(*(writing(threading.get_ident) for _ in range(20)))
    release.set()
    await asyncio.gather(*reads)
    if connection.vendor == "sqlite":
        assert len(set(writers)) == 1, "two would only sleep in the busy handler"


async def test_connections_that_the_database_has_cut_fail_nobody(db: None) -> None:
    """A pool of dead connections would fail as many people, one after the other, long after the restart."""
    all_at_once = threading.Barrier(6)

    def open_one() -> int:
        all_at_once.wait(WAIT_S)
        if connection.vendor == "sqlite":
            return 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            all_at_once.wait(WAIT_S)
            return int(cursor.fetchone()[0])

    def cut(pids: list[int]) -> None:
        with connection.cursor() as cursor:
            mine = "pid <> pg_backend_pid()"  # the pool has handed us one of them
            cursor.execute(f"SELECT pg_terminate_backend(pid, 1000) FROM unnest(%s) AS pid WHERE {mine}", [pids])
        connections.close_all()

    pids = await asyncio.gather(*(reading(open_one) for _ in range(6)))
    assert len(set(pids)) == (6 if any(pids) else 1)
    if connection.vendor == "postgresql":
        await asyncio.to_thread(cut, pids)
    for _ in range(12):
        await reading(ChatSession.objects.exists)


async def test_so_many_calls_wait_and_further_ones_are_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAITING_MAX", 3)
    pool, release = Pool("test", 1), threading.Event()
    waiting = [asyncio.ensure_future(pool.run(release.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await pool.run(int)
    assert refused.value.temporary
    release.set()
    await asyncio.gather(*waiting)
    assert await pool.run(int) == 0, "and then there is room again"


async def test_a_call_that_is_given_up_makes_room_for_another(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAITING_MAX", 1)
    pool, release = Pool("test", 2), threading.Event()
    waiting = asyncio.ensure_future(pool.run(release.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await pool.run(int) == 0
    release.set()


# --- a database that does not answer ----------------------------------------------------------------------------------


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a web process."""
    monkeypatch.setattr(Pool, "hurries", True)


async def test_who_asks_is_told_in_time_that_the_database_does_not_answer(db: None, in_a_hurry: None) -> None:
    pool, release = Pool("test", 2, within_s=0.2), threading.Event()
    begun: list[int] = []
    try:
        hanging = [asyncio.ensure_future(pool.run(release.wait)) for _ in range(2)]
        queued = asyncio.ensure_future(pool.run(lambda: begun.append(1)))
        for given_up in (*hanging, queued):
            with pytest.raises(Unavailable) as told:
                await asyncio.wait_for(given_up, WAIT_S)
            assert told.value.temporary
        before = time.monotonic()
        with pytest.raises(Unavailable):
            await pool.run(int)
        assert time.monotonic() - before < 0.1, "no thread is left that could serve anybody: that is told at once"
    finally:
        release.set()
    while pool._stuck:
        await asyncio.sleep(0.01)
    assert await pool.run(int) == 0, "they are back"
    assert not begun, "what was refused before it began is not done afterwards"


async def test_one_call_that_hangs_leaves_the_other_threads_to_the_others(db: None, in_a_hurry: None) -> None:
    pool, release = Pool("test", 2, within_s=0.1), threading.Event()
    try:
        with pytest.raises(Unavailable):
            await pool.run(release.wait)
        assert [await pool.run(int) for _ in range(5)] == [0] * 5
    finally:
        release.set()


async def test_a_time_out_of_the_call_itself_is_its_own(db: None, in_a_hurry: None) -> None:
    def fail() -> None:
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="of something else"):
        await Pool("test", 1).run(fail)


async def test_a_worker_waits_until_the_database_answers(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "hurries", False)
    assert await Pool("test", 1, within_s=0.05).run(lambda: threading.Event().wait(0.2)) is False, "it was waited for"


# --- what a thread has ------------------------------------------------------------------------------------------------


async def test_a_thread_knows_the_context_of_its_caller(db: None) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    variable.set("ada")
    assert await reading(variable.get) == "ada"


async def test_a_connection_that_broke_is_replaced(talk: Talk) -> None:
    """Postgres was restarted under it."""
    pool = Pool("test", 1)

    def break_it() -> Any:
        connection.ensure_connection()
        connection.connection.close()
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(OperationalError):
        await pool.run(break_it)
    assert await pool.run(ChatSession.objects.count) == 1
    await pool.run(connections.close_all)


async def test_an_idle_thread_holds_no_transaction(talk: Talk) -> None:
    pool = Pool("test", 1)

    def forget_to_end() -> None:
        connection.set_autocommit(False)
        ChatSession.objects.count()

    await pool.run(forget_to_end)
    await writing(talk.post)
    assert await pool.run(lambda: connection.get_autocommit() and Message.objects.count()) == 1
    await pool.run(connections.close_all)
