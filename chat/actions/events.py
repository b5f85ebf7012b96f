"""The log: how every action locks its session, appends its events and tells them."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import IntegrityError, NotSupportedError, OperationalError, ProgrammingError, connection, transaction
from django.db.models import Model
from django.utils import timezone

from chat import metrics, stream
from chat.errors import Fenced, NotFound
from chat.failpoints import failpoint
from chat.models import ChatSession, Event
from chat.prepared import Asked, Given, Prepared, insert, together
from chat.protocol import Frame

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 4
# Serialisation failure, deadlock, lock not available; a plan that the connection has lost, or whose table has changed.
TEMPORARY_SQLSTATES = {"40001", "40P01", "55P03", "26000", "0A000"}


def action(fn: Callable[P, T]) -> Callable[P, T]:
    """Run again what lost a deadlock, a serialisation or a race for a unique row.

    So an action must hold no outside effect: those are registered on commit and a rollback forgets them.
    """

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for left in reversed(range(TRIES)):
            try:
                return fn(*args, **kwargs)
            except (OperationalError, IntegrityError, ProgrammingError, NotSupportedError) as problem:
                if not left or connection.in_atomic_block or not _may_wait() or not _is_temporary(problem):
                    raise
                time.sleep(0.005 * (TRIES - left))
        raise AssertionError("unreachable")

    return run


def _may_wait() -> bool:
    return getattr(connection, "waits", True)  # SQLite's, where it is the event loop's


def _is_temporary(problem: Exception) -> bool:
    if isinstance(problem, IntegrityError):
        return True  # the second look sees the row that was faster; what stays wrong is raised by the last try
    return getattr(problem.__cause__, "sqlstate", None) in TEMPORARY_SQLSTATES or "locked" in str(problem)


class Log:
    """A session's row, locked, and the events that the action appends to it."""

    def __init__(self, session: ChatSession, now: datetime | None = None) -> None:
        self.session = session
        self.session_id = session.pk  # Django takes the key from a row's object when the row is deleted
        self.now = now or timezone.now()
        self.frames: list[Frame] = []
        self._events: list[Event] = []
        self._changes: list[Asked[Any]] = []
        self._rows: list[Asked[Any]] = []
        self._columns = {"last_seq", "updated_at"}

    @property
    def next_seq(self) -> int:
        return self.session.last_seq + 1

    def append_event(
        self,
        type: str,
        data: object = None,
        *,
        run_id: UUID | None = None,
        author_id: UUID | None = None,
        extra: dict[str, Any] | None = None,
    ) -> int:
        """Add a fact to the log: the only way to make an event. Returns its seq.

        `data` is the whole row that it is about; of session.* the session itself, with this event's seq and time.
        """
        self.session.last_seq += 1
        self.session.updated_at = self.now
        row: Any = self.session.as_data() if data is None else data
        self._events.append(
            Event(
                session_id=self.session.pk,
                seq=self.session.last_seq,
                type=type,
                run_id=run_id,
                author_id=author_id,
                at=self.now,
                data={**row, **(extra or {})},
            )
        )
        return self.session.last_seq

    def change_session(
        self, event: str = "session.updated", *, extra: dict[str, Any] | None = None, **columns: Any
    ) -> None:
        """Set columns of the session and say so."""
        for name, value in columns.items():
            setattr(self.session, name, value)
            self._columns.add(name)
        self.append_event(event, extra=extra)

    def set_status(self, status: str) -> None:
        if self.session.status != status:
            self.change_session(status=status, active_at=self.now)

    def touch(self) -> None:
        """Move the session up in its lists."""
        self.session.active_at = self.now
        self._columns.add("active_at")

    def add_row(self, *rows: Model, ignore_conflicts: bool = False) -> None:
        """Insert rows of one model with the events, at the end."""
        self._rows.append(insert(*rows, ignore_conflicts=ignore_conflicts))

    def change_row(self, change: Asked[Any]) -> None:
        """Change one row with the events, before them. `write` raises `Fenced` where it is not as it has to be."""
        self._changes.append(change)

    def write(self) -> None:
        if not self._events:
            assert not self._changes, "no row changes without an event that tells it"
            return
        columns = {name: getattr(self.session, name) for name in self._columns}
        changes = self._changes
        together(*changes, *self._rows, insert(*self._events), _SESSION.change(columns, pk=self.session_id))
        if any(change.count != 1 for change in changes):
            raise Fenced
        self._changes, self._rows = [], []
        self.frames += [event.as_frame() for event in self._events]
        on_commit(functools.partial(metrics.count_events, self._events))
        self._events = []
        on_commit(self._tell)

    def forget(self) -> None:
        """The session is gone: nothing is left to write."""
        self._events = []

    def _tell(self) -> None:
        failpoint("commit.publish")
        stream.publish(self.session_id, self.frames)


_SESSION = Prepared(lambda: ChatSession.objects.filter(pk=Given("pk")))
# On SQLite the transaction itself is the lock (BEGIN IMMEDIATE); Postgres locks the row and reads it fresh.
_LOCKED = Prepared(lambda: ChatSession.objects.select_for_update(no_key=True).filter(pk=Given("pk")))


@contextmanager
def locked(session_id: UUID, *also: Asked[Any]) -> Iterator[Log]:
    """One transaction on one session: its row is locked first, so that commit order is seq order.

    `also` is asked under the lock, in the same round trip. Raises `NotFound`.
    """
    with transaction.atomic():
        session = _LOCKED.ask(pk=session_id)
        clock = _clock()
        together(session, *clock, *also)
        if session.first is None:
            raise NotFound
        log = Log(session.first, clock[0].first if clock else None)
        yield log
        log.write()


def _clock() -> list[Asked[datetime]]:
    """Ask the database for the time: what is late, lost or expired is judged by its clock, whoever's else runs wrong.

    SQLite's is that of this machine, in milliseconds only.
    """
    if connection.vendor != "postgresql":
        return []
    return [Asked("SELECT clock_timestamp()", [], lambda rows: [at.astimezone(UTC) for (at,) in rows])]


def on_commit(call: Callable[[], Any]) -> None:
    """Do something after the commit; what goes wrong with it is logged, and does not undo what is done."""

    def tell() -> None:  # Django names the function in its log, and a partial has no name
        call()

    transaction.on_commit(tell, robust=True)
