"""Database work off the event loop: bounded threads that keep their connections, and consistent reads.

Channels would send every query of a process through one shared thread, so that one slow query holds up every socket.
Here reads have threads of their own, and writes on SQLite exactly one: a second writer would only sleep in the busy
handler, for longer and longer.

A process that answers people lets nobody wait for long (`hurry`). A worker has nobody to tell: it waits until the
database answers or the kernel gives the connection up (`tcp_user_timeout` in the settings), and then asks again.

SQLite is no server but a library: what takes it a millisecond takes three in a thread, where each statement gives the
interpreter to the event loop and waits for it again. So the few short actions that each answer consists of, and nothing
else, run on the loop itself (`writing_briefly`). They wait for nobody there.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, ClassVar, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, ref

from django.db import DEFAULT_DB_ALIAS, Error, IntegrityError, OperationalError, connection, connections, transaction

from chat import failpoints, metrics
from chat.errors import Unavailable
from chat.sqlite.base import AGAIN_S, DatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
WAITING_MAX = 1000  # calls that may wait for a thread before new ones are refused
ANSWER_S = 5.0  # how long somebody waits for the database before they are told that it does not answer
PATIENT_S = 30.0  # the same where a long time may be honest work: a page of the admin, a password
SOON_S, GLANCE_S = 0.001, 0.0001  # how long a loop waits for its turn to write to SQLite, and how often it looks
LOCK_MS = 5_000  # how long a statement of a process that hurries waits for a lock


def hurry() -> None:
    """Let nobody in this process wait for long. Called before its first query.

    What nobody waits for any more should not be done much later either: Postgres itself ends such statements, too. Not
    those of a worker or of manage.py, where pruning and migrations may take their time.
    """
    if connection.vendor == "postgresql" and not Pool.hurries:
        options = connection.settings_dict["OPTIONS"]
        bounds = f"-c lock_timeout={LOCK_MS} -c statement_timeout={int(PATIENT_S * 1000)}"
        options["options"] = f"{bounds} {options.get('options', '')}".strip()  # what the operator asks for comes last
    Pool.hurries = True


_pools: dict[str, "Pool"] = {}
metrics.DATABASE_CALLS.read_by(lambda: {name: pool._waiting for name, pool in _pools.copy().items()})
metrics.DATABASE_THREADS.read_by(lambda: {name: pool._threads for name, pool in _pools.copy().items()})


class Pool:
    """A bounded executor whose threads own database connections."""

    hurries: ClassVar[bool] = False

    def __init__(self, name: str, threads: int, *, only_reads: bool = False, within_s: float = ANSWER_S) -> None:
        """`only_reads`: what failed because the database cut the connection can simply be done again, unnoticed."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"database-{name}")
        self._waiting: int = 0
        self._threads: int = threads
        self._within_s = within_s
        self._stuck: set[Future[Any]] = set()  # given up, and not back yet
        self._tidily = partial(_tidily, only_reads=only_reads)
        _pools[name] = self

    async def run(self, call: Callable[[], T]) -> T:
        """Do it in a thread. Raises `Unavailable` where too many wait, or (in a process that hurries) for too long.

        A thread cannot be ended: one that is given up works on, and what it does may still come true.
        """
        # With each thread stuck nobody can be served: who comes now need not wait to be told so.
        if self._waiting >= WAITING_MAX or len(self._stuck) >= self._threads:
            raise Unavailable("The database is too busy.")
        self._waiting += 1
        job = self._executor.submit(contextvars.copy_context().run, self._tidily, call)
        try:
            async with asyncio.timeout(self._within_s if self.hurries else None) as bound:
                return await asyncio.wrap_future(job)
        except TimeoutError:
            if not bound.expired():
                raise
            if job.running():  # else it was taken out of the queue, and is never begun
                self._stuck.add(job)
                job.add_done_callback(self._stuck.discard)
            raise Unavailable("The database does not answer.") from None
        finally:
            self._waiting -= 1


def _tidily(call: Callable[[], T], *, only_reads: bool) -> T:
    try:
        try:
            return call()
        except Error:
            if not (let_go() and only_reads):
                raise
        return call()
    finally:
        for one in connections.all(initialized_only=True):
            one.close_if_unusable_or_obsolete()  # with a pool: gives it back


def let_go() -> bool:
    """Drop this thread's connection after a failure: it may be broken. Returns whether the database had cut it.

    If so (it was restarted, say), the others in the pool are dead too, and each would fail somebody: so check them all.
    (The pool can check each as it hands it out, but waits longer after a dead one than anybody would for an answer.)
    """
    was_cut = connection.vendor == "postgresql" and connection.connection is not None and connection.connection.closed
    connection.close()
    if was_cut:
        connection.pool.check()  # type: ignore[attr-defined]  # Postgres' own
    return was_cut


@cache
def _readers() -> Pool:
    return Pool("read", THREADS, only_reads=True)


@cache
def _writers() -> Pool:
    return Pool("write", 1) if connection.vendor == "sqlite" else Pool("write", THREADS)


async def reading(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await _readers().run(partial(fn, *args, **kwargs))


async def writing(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await _writers().run(partial(fn, *args, **kwargs))


class Here:
    """The connection of a loop's own thread, to SQLite, and the line of those who want to write with it."""

    def __init__(self) -> None:
        with off_the_loop():
            self._connection: DatabaseWrapper = connections[DEFAULT_DB_ALIAS]  # type: ignore[assignment]
        self._line = asyncio.Lock()
        self._waiting = 0

    async def write(self, call: Callable[[], T]) -> T:
        """Wait for one's turn, and write. Raises `OperationalError` where more is to be waited for; `Unavailable`."""
        if self._waiting >= WAITING_MAX:
            raise Unavailable("The database is too busy.")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S if Pool.hurries else None) as bound, self._line:
                if not self._enters_soon():
                    while not self._connection.try_enter():  # noqa: ASYNC110 - other processes hold it
                        await asyncio.sleep(AGAIN_S)
                with off_the_loop(), self._connection.at_once():
                    return _tidily(call, only_reads=False)
        except TimeoutError:
            if not bound.expired():
                raise
            raise Unavailable("The database does not answer.") from None
        finally:
            self._waiting -= 1

    def _enters_soon(self) -> bool:
        """Block the loop for as long as another process's action takes: to yield and come back would take longer."""
        for _ in range(round(SOON_S / GLANCE_S)):
            if self._connection.try_enter():
                return True
            time.sleep(GLANCE_S)
        return False

    @property
    def is_free(self) -> bool:
        """Whether this thread is in no transaction of its own: that of a test, say."""
        return not self._connection.in_atomic_block


_here: "WeakKeyDictionary[asyncio.AbstractEventLoop, Here]" = WeakKeyDictionary()


def _loops_own() -> Here | None:
    """None where an action has to go to a thread: with a server, and where a test stops it in the middle."""
    if failpoints.armed or not _is_library():
        return None
    loop = asyncio.get_running_loop()
    here = _here.get(loop)
    if here is None:
        here = _here[loop] = Here()
        _acting.loop, _acting.thread = ref(loop), threading.get_ident()
    return here if here.is_free else None


class _Acting:
    """The loop whose own thread runs short actions, as the last one began to."""

    loop: "ref[asyncio.AbstractEventLoop] | None" = None
    thread: int = 0


_acting = _Acting()


def acting_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs the short actions of this process; None where threads do."""
    loop = _acting.loop() if _acting.loop is not None else None
    return loop if loop is not None and loop.is_running() else None


def acts_here() -> bool:
    """Whether this is that loop's own thread."""
    return _acting.thread == threading.get_ident() and acting_loop() is not None


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> bool:
    """Have a loop call something soon, whatever thread this is. False where the loop has ended."""
    try:
        if acts_here() and loop is acting_loop():  # it is awake, and to wake one takes longer than all the rest
            loop.call_soon(call)
        else:
            loop.call_soon_threadsafe(call)
    except RuntimeError:
        return False
    return True


@cache
def _is_library() -> bool:
    return str(connections.settings[DEFAULT_DB_ALIAS]["ENGINE"]) == "chat.sqlite"


@contextmanager
def off_the_loop() -> Iterator[None]:
    """Let what is called be as in a thread without a loop: Django keeps connections for those alone."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


async def writing_briefly(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An action of a millisecond or two, which may be begun anew: it holds no outside effect before its commit.

    Of one transaction alone: where a second one finds SQLite locked, the first would be done twice.
    """
    call = partial(fn, *args, **kwargs)
    here = _loops_own()
    if here is not None:
        try:
            return await here.write(call)
        except (OperationalError, IntegrityError):
            pass  # locked by somebody who passes the line by, say: in a thread one can wait, and try again
    return await _writers().run(call)


@contextmanager
def read_snapshot() -> Iterator[None]:
    """Several queries that see one state.

    On SQLite not `atomic()`: its BEGIN IMMEDIATE would make every reader wait for the writer. On Postgres the default
    isolation would give each query a state of its own.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
