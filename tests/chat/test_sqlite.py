"""The turnstile of those who write to SQLite: one goes in, the next is let in when he leaves, however he leaves."""

import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections

from chat.sqlite import base
from chat.sqlite.base import DatabaseWrapper
from tests.inside import WAIT_S
from tests.threads import Threads

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("in", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own(tmp_path: Path, db: None) -> Iterator[DatabaseWrapper]:
    """A database of its own, as the settings make one."""
    settings = {**connection.settings_dict, "NAME": str(tmp_path / "own.sqlite3"), "ENGINE": "chat.sqlite"}
    settings["OPTIONS"] = {"timeout": 1, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    made = DatabaseWrapper(settings, "own")
    made.inc_thread_sharing()
    with made.cursor() as cursor:
        cursor.execute("CREATE TABLE said (word TEXT)")
    yield made
    made.close()


@contextmanager
def somebody_inside(database: DatabaseWrapper) -> Iterator[subprocess.Popen[str]]:
    """Another process that has passed the turnstile."""
    path = f"{database.settings_dict['NAME']}-writer"
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "in\n"
    try:
        yield held
    finally:
        held.kill()
        held.wait()


def write(database: DatabaseWrapper, word: str) -> None:
    database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    try:
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO said VALUES (%s)", [word])
        database.commit()
    finally:
        database.set_autocommit(True)


def words(database: DatabaseWrapper) -> list[str]:
    with database.cursor() as cursor:
        return [word for (word,) in cursor.execute("SELECT word FROM said")]


def is_free(database: DatabaseWrapper) -> bool:
    path = f"{database.settings_dict['NAME']}-writer"
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", code, path], stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_who_writes_waits_for_another_process_and_reads_meanwhile(own: DatabaseWrapper, threads: Threads) -> None:
    with somebody_inside(own) as other:
        writing = threads.start(write, own, "mine")
        assert words(own) == []
        assert not writing.done()
        other.kill()  # the kernel gives back what a dead process held
        writing.result(WAIT_S)
    assert words(own) == ["mine"]


def test_nobody_waits_for_ever_for_one_who_is_frozen_inside(own: DatabaseWrapper) -> None:
    own.settings_dict["OPTIONS"]["timeout"] = 0.05
    with somebody_inside(own), pytest.raises(DatabaseError, match="locked"):
        write(own, "mine")
    own.set_autocommit(True)
    write(own, "later")
    assert words(own) == ["later"]


def test_the_turnstile_is_free_after_a_commit_a_failure_and_a_lost_connection(own: DatabaseWrapper) -> None:
    write(own, "one")
    assert is_free(own)
    with pytest.raises(DatabaseError):
        _write_nonsense(own)
    own.set_autocommit(True)
    assert is_free(own)
    own.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    assert not is_free(own)
    own.close()
    assert is_free(own)
    assert words(own) == ["one"]


def _write_nonsense(own: DatabaseWrapper) -> None:
    own.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    try:
        with own.cursor() as cursor:
            cursor.execute("INSERT INTO nowhere VALUES (1)")
    finally:
        own.rollback()


def test_where_sqlite_itself_is_locked_the_next_one_is_let_in(own: DatabaseWrapper) -> None:
    """Whoever passes the turnstile by holds SQLite's own lock: that is an error as before, and holds up nobody else."""
    stranger = sqlite3.connect(own.settings_dict["NAME"], isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="locked"):
        write(own, "too late")
    assert is_free(own)
    stranger.execute("ROLLBACK")
    stranger.close()


def test_who_may_not_wait_does_not_wait_to_open_the_file_either(own: DatabaseWrapper) -> None:
    own.close()
    own.settings_dict["OPTIONS"]["timeout"] = 2 * WAIT_S
    stranger = sqlite3.connect(own.settings_dict["NAME"], isolation_level=None)
    stranger.execute("PRAGMA locking_mode = EXCLUSIVE")
    stranger.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(OperationalError, match="locked"), own.at_once():
        pass
    assert time.monotonic() - began < WAIT_S
    stranger.close()
    write(own, "later")
    with own.cursor() as cursor:
        assert cursor.execute("PRAGMA busy_timeout").fetchone()[0] == 2000 * WAIT_S, "and then it waits again"


def test_a_loop_tells_sqlite_once_that_it_does_not_wait_and_who_comes_after_it_takes_that_back(
    own: DatabaseWrapper,
) -> None:
    told: list[str] = []
    with own.at_once():
        write(own, "first")
    own.connection.set_trace_callback(told.append)
    for word in ("second", "third"):
        with own.at_once():
            write(own, word)
    assert [one for one in told if "PRAGMA" in one] == []
    write(own, "by one who waits")
    own.connection.set_trace_callback(None)
    assert [one for one in told if "PRAGMA" in one] == ["PRAGMA busy_timeout = 1000"]


def log_of(own: DatabaseWrapper) -> Path:
    return Path(f"{own.settings_dict['NAME']}-wal")


def pages_of(own: DatabaseWrapper) -> int:
    with own.cursor() as cursor:
        pages: int = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    return pages


@pytest.fixture
def long(own: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> DatabaseWrapper:
    """A database with a long log: an event loop has written it, which leaves it alone."""
    monkeypatch.setattr(base, "LONG_LOG", 20)
    with own.at_once():
        for _ in range(50):
            write(own, "x" * 4000)
    assert log_of(own).stat().st_size > 50 * base.PAGE
    return own


def test_a_very_long_log_is_put_into_its_place_and_begins_anew_and_its_file_is_cut_when_the_crowd_has_gone(
    long: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "VERY_LONG_LOG", 100)
    long.put_log_in_place()
    assert is_free(long)
    write(long, "later")
    assert pages_of(long) < 10
    long.put_log_in_place()
    assert log_of(long).stat().st_size == 0
    assert len(words(long)) == 51


def test_a_long_log_is_put_into_its_place_as_far_as_that_holds_up_nobody(long: DatabaseWrapper) -> None:
    with somebody_inside(long):
        long.put_log_in_place()
    assert pages_of(long) > 50
    copy = sqlite3.connect(f"file:{long.settings_dict['NAME']}?immutable=1", uri=True)  # looks into no log
    assert copy.execute("SELECT count(*) FROM said").fetchone() == (50,)
    copy.close()


def test_a_short_log_is_left_for_later(long: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs two waits for the disk, which a server that is idle should not have each second."""
    monkeypatch.setattr(base, "LONG_LOG", 1000)
    before = log_of(long).stat().st_size
    long.put_log_in_place()
    assert log_of(long).stat().st_size == before


def test_a_log_that_somebody_reads_is_cut_the_next_time_and_nobody_waits(
    long: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    long.settings_dict["OPTIONS"]["timeout"] = 2 * WAIT_S
    pages_of(long)
    write(long, "a new log")
    reader = sqlite3.connect(long.settings_dict["NAME"], isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM said").fetchone()
    began = time.monotonic()
    long.put_log_in_place()
    assert time.monotonic() - began < WAIT_S
    assert log_of(long).stat().st_size > 0
    write(long, "meanwhile")
    reader.close()
    long.put_log_in_place()
    assert log_of(long).stat().st_size == 0


def test_where_nobody_has_written_there_is_nothing_to_put(tmp_path: Path, own: DatabaseWrapper) -> None:
    own.close()
    own.put_log_in_place()


def file_of(own: DatabaseWrapper) -> Path:
    return Path(f"{own.settings_dict['NAME']}-writer")


def test_whoever_may_write_to_the_database_may_stand_in_line(own: DatabaseWrapper) -> None:
    Path(own.settings_dict["NAME"]).chmod(0o664)
    write(own, "mine")
    assert stat.S_IMODE(file_of(own).stat().st_mode) == 0o664


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_has_made_belongs_to_whom_the_database_belongs(own: DatabaseWrapper) -> None:
    os.chown(own.settings_dict["NAME"], 1234, 1234)
    write(own, "mine")
    assert file_of(own).stat().st_uid == 1234


def test_a_file_that_is_there_is_left_as_it_is(own: DatabaseWrapper) -> None:
    """It may be a link that somebody has laid for root."""
    file_of(own).touch(0o600)
    Path(own.settings_dict["NAME"]).chmod(0o666)
    write(own, "mine")
    assert stat.S_IMODE(file_of(own).stat().st_mode) == 0o600


@contextmanager
def no_lock(own: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", refuse)
        yield


@contextmanager
def no_file(own: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file_of(own).mkdir()
    yield
    file_of(own).rmdir()


@pytest.mark.parametrize("missing", [no_lock, no_file])
def test_where_there_is_no_way_into_the_line_it_is_the_database_that_fails(
    own: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch, missing: Any
) -> None:
    """So it is waited for, and told, as a database is."""
    with missing(own, monkeypatch), pytest.raises(OperationalError) as refused:
        write(own, "mine")
    assert own.settings_dict["NAME"] not in str(refused.value)
    own.set_autocommit(True)
    write(own, "later")
    assert words(own) == ["later"]


@pytest.mark.usefixtures("db")
def test_the_server_uses_it() -> None:
    assert connection.vendor != "sqlite" or isinstance(connections["default"], DatabaseWrapper)
