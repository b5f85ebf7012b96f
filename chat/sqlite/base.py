"""SQLite with a turnstile: who wants to write waits in line, and does not sleep.

SQLite itself lets a second writer sleep and try again, for longer and longer, up to a tenth of a second: with a web
process and a worker that take turns, most of the time nobody writes. So each transaction first takes a lock on a file
beside the database, and asks for it again each millisecond: cheap, since it is one system call and touches no page. The
kernel gives it back when a process dies.

It is a courtesy and not the guard: whoever passes it by (another program, a single statement) meets SQLite's own lock
and waits as before.

An event loop may not sleep: it takes its turn with `try_enter`, and then works `at_once`.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

AGAIN_S = 0.001
LONG_LOG = 1000  # pages: as SQLite itself has it
VERY_LONG_LOG = 20_000  # 80 MB: at half of it a worker's thread makes an end, so that no loop has to
PAGE = 4096


class DatabaseWrapper(base.DatabaseWrapper):
    _turnstile: int | None = None
    _is_inside = False
    waits = True  # else what is locked is an error, at once
    _told: tuple[Any, bool] | None = None  # which connection of SQLite was told last whether it waits, and what
    _checkpoints_late: Any = None  # the connection that does

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        return params if self.waits else {**params, "timeout": 0}  # opening reads the file, so it may wait, too

    def ensure_connection(self) -> None:
        """What each use begins with. SQLite is told whether to wait for a lock only where that has changed.

        A loop never waits: to tell SQLite so at each of its actions, and to take it back, took a sixteenth of its time.
        """
        super().ensure_connection()
        if self._told != (self.connection, self.waits):
            timeout_s = self.settings_dict["OPTIONS"].get("timeout", 5) if self.waits else 0
            self.connection.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
            self._told = (self.connection, self.waits)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Wait for nothing in this block: what is locked raises `OperationalError`. One's turn ends with the block."""
        self.waits = False
        try:
            self.ensure_connection()
            if self._checkpoints_late is not self.connection:
                # What is written is put into its place, and on the disk, by a worker's thread, each second. This is for
                # where there is none.
                self.connection.execute(f"PRAGMA wal_autocheckpoint = {VERY_LONG_LOG}")
                self._checkpoints_late = self.connection
            yield
        finally:
            self.waits = True
            self._leave()

    def put_log_in_place(self) -> None:
        """Put what was written into its place, and on the disk, so that the log begins anew. For a worker's thread.

        Only while nobody writes does it come to an end: the bulk is done beside those who do, and the rest in a turn,
        for which all others wait: so not more often than it has to be.
        """
        if self.is_in_memory_db() or not _is_long(f"{self.settings_dict['NAME']}-wal"):
            return
        with self.cursor() as cursor:
            others_do, pages, _ = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if others_do or LONG_LOG < pages < VERY_LONG_LOG // 2:
            return
        self._enter()
        with self.at_once(), self.cursor() as cursor:
            # The file stays as long as its log ever was. It is cut when the crowd has gone: then a look costs nothing.
            cursor.execute(f"PRAGMA wal_checkpoint({'PASSIVE' if pages > LONG_LOG else 'TRUNCATE'})")

    def try_enter(self) -> bool:
        """Take one's turn to write, if it is free just now."""
        if self._is_inside or self.is_in_memory_db():
            return True
        try:
            if self._turnstile is None:
                self._turnstile = _open_turnstile(str(self.settings_dict["NAME"]))
            fcntl.flock(self._turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as problem:  # no right, no descriptor: who waits for a database waits for this as well
            raise OperationalError(f"no way into the line of writers: {problem.strerror}") from problem
        self._is_inside = True
        return True

    def _start_transaction_under_autocommit(self) -> None:
        self._enter()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._leave()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc]
        finally:
            self._leave()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self._leave()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]
        finally:
            self._leave()
            if self._turnstile is not None:
                os.close(self._turnstile)
                self._turnstile = None

    def _enter(self) -> None:
        # Not without an end: a process that is frozen inside would stop all others without a word.
        deadline = time.monotonic() + self.settings_dict["OPTIONS"].get("timeout", 5)
        while not self.try_enter():
            if not self.waits or time.monotonic() > deadline:
                raise OperationalError("database is locked")
            time.sleep(AGAIN_S)

    def _leave(self) -> None:
        if self._is_inside:
            self._is_inside = False
            assert self._turnstile is not None
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)


def _is_long(log: str) -> bool:
    try:
        return os.path.getsize(log) > LONG_LOG * PAGE
    except OSError:
        return False  # nobody has written yet


def _open_turnstile(database: str) -> int:
    """Open the file beside a database; whoever makes it, it is for all who may write there, as SQLite's own are."""
    path, how = f"{database}-writer", os.O_RDWR | os.O_CLOEXEC
    like = os.stat(database)
    try:
        made = os.open(path, how | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, how)
    os.fchmod(made, stat.S_IMODE(like.st_mode))
    if os.geteuid() == 0:  # a `sudo manage.py migrate` would shut the server out
        os.fchown(made, like.st_uid, like.st_gid)
    return made
