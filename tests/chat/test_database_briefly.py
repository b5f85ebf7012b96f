"""Short actions on the event loop itself, where the database is SQLite: in their turn, and waiting for nobody."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from chat import database, failpoints
from chat.actions.events import action, locked
from chat.database import Pool, off_the_loop, writing, writing_briefly
from chat.errors import Unavailable
from chat.models import ChatSession
from tests.chat.test_sqlite import somebody_inside
from tests.inside import WAIT_S, Talk

LIBRARY = connection.vendor == "sqlite"
only_sqlite = pytest.mark.skipif(not LIBRARY, reason="Postgres is a server: nobody waits for it on the loop")


def rename(talk: Talk, title: str) -> int:
    """Write, and tell in which thread."""
    with locked(talk.pk) as log:
        log.change_session(title=title)
    return threading.get_ident()


def title(talk: Talk) -> str:
    return ChatSession.objects.get(pk=talk.pk).title


@contextmanager
def a_stranger_writes() -> Iterator[None]:
    """Somebody who passes the line by and holds SQLite's own lock: a shell, a backup."""
    stranger = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        stranger.execute("ROLLBACK")
        stranger.close()


async def test_a_short_action_is_done_on_the_loop_with_sqlite_and_in_a_thread_with_a_server(talk: Talk) -> None:
    thread = await writing_briefly(rename, talk, "Brief")
    assert (thread == threading.get_ident()) == LIBRARY
    assert await writing(title, talk) == "Brief"


async def test_what_it_gives_to_do_after_its_commit_is_done(talk: Talk) -> None:
    done: list[str] = []

    def write() -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: done.append("committed"))

    await writing_briefly(write)
    assert done == ["committed"]


async def test_what_it_raises_undoes_it_and_the_next_one_goes_in(talk: Talk) -> None:
    def fail() -> None:
        with locked(talk.pk) as log:
            log.change_session(title="Never")
            log.write()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await writing_briefly(fail)
    await writing_briefly(rename, talk, "Then")
    assert await writing(title, talk) == "Then"


async def test_a_hundred_at_once_are_written_one_after_the_other(talk: Talk) -> None:
    def count() -> None:
        with locked(talk.pk) as log:
            log.change_session(title=str(int(log.session.title) + 1))

    await writing(rename, talk, "0")
    await asyncio.gather(*(way(count) for _ in range(50) for way in (writing, writing_briefly)))
    assert await writing(title, talk) == "100"


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not seen():
            await asyncio.sleep(0.001)


@only_sqlite
async def test_the_loop_goes_on_while_another_process_writes_and_the_action_waits_for_its_turn(talk: Talk) -> None:
    await writing_briefly(rename, talk, "Before")
    with somebody_inside(connection) as other:  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(writing_briefly(rename, talk, "After"))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert not waiting.done()
        other.kill()
        assert await waiting == threading.get_ident()
    assert await writing(title, talk) == "After"


@only_sqlite
async def test_one_that_is_given_up_while_it_waits_writes_nothing_and_keeps_nobodys_place(talk: Talk) -> None:
    with somebody_inside(connection):  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(writing_briefly(rename, talk, "Never"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await writing_briefly(rename, talk, "Next")
    assert await writing(title, talk) == "Next"


@only_sqlite
async def test_where_sqlite_itself_is_locked_it_waits_in_a_thread_and_the_loop_goes_on(talk: Talk) -> None:
    with a_stranger_writes():
        waiting = asyncio.ensure_future(writing_briefly(rename, talk, "Patient"))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert not waiting.done()
    assert await waiting != threading.get_ident()
    assert await writing(title, talk) == "Patient"
    assert await writing_briefly(rename, talk, "Brief again") == threading.get_ident()


@only_sqlite
async def test_what_has_to_be_tried_again_is_tried_in_a_thread_where_one_may_sleep(talk: Talk) -> None:
    tried: list[int] = []

    @action
    def race() -> int:
        tried.append(threading.get_ident())
        if len(tried) < 3:
            raise IntegrityError
        return threading.get_ident()

    here = threading.get_ident()
    assert await writing_briefly(race) != here
    assert [thread == here for thread in tried] == [True, False, False]


@only_sqlite
async def test_who_hurries_is_told_in_time_that_the_turn_does_not_come(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "hurries", True)
    monkeypatch.setattr(database, "ANSWER_S", 0.05)
    with somebody_inside(connection), pytest.raises(Unavailable):  # type: ignore[arg-type]
        await writing_briefly(rename, talk, "Late")
    monkeypatch.setattr(database, "WAITING_MAX", 0)
    with pytest.raises(Unavailable, match="busy"):
        await writing_briefly(rename, talk, "One too many")


@only_sqlite
async def test_a_process_that_a_test_may_stop_in_the_middle_does_it_in_a_thread(talk: Talk) -> None:
    failpoints.armed["nowhere"] = lambda: None
    assert await writing_briefly(rename, talk, "Brief") != threading.get_ident()


@only_sqlite
async def test_within_a_transaction_of_this_thread_it_goes_to_another(talk: Talk) -> None:
    """Its own would be a part of that one."""
    with off_the_loop():
        outer = transaction.atomic()
        outer.__enter__()
    try:
        waiting = asyncio.ensure_future(writing_briefly(rename, talk, "Apart"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    finally:
        with off_the_loop():
            outer.__exit__(None, None, None)
    assert await waiting != threading.get_ident()


@only_sqlite
async def test_the_loops_connection_waits_as_others_do_where_it_is_used_for_something_else(talk: Talk) -> None:
    await writing_briefly(rename, talk, "Brief")
    with off_the_loop(), connection.cursor() as cursor:
        timeout_ms = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    assert timeout_ms == 1000 * connection.settings_dict["OPTIONS"]["timeout"]


@only_sqlite
async def test_a_write_of_the_loop_leaves_the_log_to_be_put_into_its_place_by_others(talk: Talk) -> None:
    """To write a megabyte to the disk takes longer than anybody may hold up a loop."""
    for number in range(60):
        await writing_briefly(rename, talk, "x" * 200 + str(number))
    with off_the_loop(), connection.cursor() as cursor:
        assert cursor.execute("PRAGMA wal_autocheckpoint").fetchone()[0] > 1000
    threads_pages = await writing(lambda: connection.cursor().execute("PRAGMA wal_autocheckpoint").fetchone()[0])
    assert threads_pages == 1000


async def test_a_lock_that_is_none_of_the_databases_is_raised_as_it_is(talk: Talk) -> None:
    def broken() -> None:
        raise OperationalError("disk I/O error")

    with pytest.raises(OperationalError, match="disk"):
        await writing_briefly(broken)
