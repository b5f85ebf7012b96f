"""Real threads, places for them to stop or fail at, and what vanishes under their hands."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

from chat import failpoints
from chat.actions import sessions
from tests.inside import WAIT_S, Talk
from tests.processes import eventually


class Threads:
    """Real threads, each with a database connection of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(24, thread_name_prefix="test")

    def start(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        def tidily() -> Any:
            try:
                return call(*args, **kwargs)
            finally:
                connections.close_all()

        return self._pool.submit(tidily)

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        """Start calls together, each in a thread, and give what they gave or raised."""
        ready = threading.Barrier(len(calls))

        def after_all_are_ready(call: Callable[[], Any]) -> Any:
            connection.ensure_connection()
            ready.wait(WAIT_S)
            return call()

        futures = [self.start(after_all_are_ready, call) for call in calls]
        return [future.exception(WAIT_S) or future.result() for future in futures]

    def end(self) -> None:
        self._pool.shutdown(wait=True)


@pytest.fixture
def threads(db: None) -> Iterator[Threads]:
    made = Threads()
    yield made
    failpoints.armed.clear()
    made.end()


class Stop:
    """A failpoint at which the first that comes waits until the test lets it go on; the others pass."""

    def __init__(self) -> None:
        self._reached, self._open, self._first = threading.Event(), threading.Event(), threading.Lock()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self._reached.set()
            assert self._open.wait(WAIT_S), "nobody let it go on"

    def wait(self) -> None:
        assert self._reached.wait(WAIT_S), "nobody came here"

    def go_on(self) -> None:
        self._open.set()


@contextmanager
def stopped_at(name: str) -> Iterator[Stop]:
    stop = failpoints.armed[name] = Stop()
    try:
        yield stop
    finally:
        stop.go_on()
        failpoints.armed.pop(name, None)


@contextmanager
def failing_at(name: str, problem: BaseException, times: int = 1) -> Iterator[list[int]]:
    """Raise an error at a failpoint, as often as asked; gives a list that grows with each time."""
    seen: list[int] = []

    def act() -> None:
        if len(seen) < times:
            seen.append(1)
            raise problem

    failpoints.armed[name] = act
    try:
        yield seen
    finally:
        failpoints.armed.pop(name, None)


def wait_until_blocked(count: int = 1) -> None:
    """Wait until that many statements wait for a lock of another transaction. Postgres only: SQLite tells nobody."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            return bool(cursor.fetchone()[0] >= count)

    eventually(blocked, "a statement waits for a lock", WAIT_S, every_s=0.005)


def deleted_before_it_is_locked(module: Any, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete a talk just before the actions of a module take its lock: they saw it, and it is gone."""
    locked = module.locked

    def delete_first(session_id: Any, *also: Any) -> Any:
        monkeypatch.setattr(module, "locked", locked)
        sessions.delete_session(talk.ada, session_id)
        return locked(session_id, *also)

    monkeypatch.setattr(module, "locked", delete_first)
