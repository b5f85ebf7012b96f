"""Several statements to Postgres in one go, by libpq's own pipeline.

psycopg's pipeline does the same for one cursor each, with two rounds of its machinery a statement: a fifth of what an
action takes of the processor. Here its statements are one list of messages, sent and awaited as a whole; psycopg still
makes and reads the values, knows the errors, and owns the connection.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import count
from secrets import token_hex
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, errors, pq
from psycopg.abc import PQGen
from psycopg.abc import Transformer as Values
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import fetch_many, pipeline_communicate, send
from psycopg.pq.abc import PGconn, PGresult

Statement = tuple[str, Sequence[Any]]  # with %s for each value
Found = tuple[list[tuple[Any, ...]], int]  # rows, and how many were found or changed
# SQL and the types of its values. A NULL has a type of its own, so it needs its own plan.
Plan = tuple[str, tuple[int, ...]]
Message = Callable[[], None]

PLANS_MAX = 500  # kept by a connection; what comes after them is planned each time

# psycopg threw them away with its own, or a pooler did; or a column has changed its type.
PLANS_LOST = (errors.InvalidSqlStatementName, errors.FeatureNotSupported)

# A pooler may share one Postgres connection among processes: the prefix keeps their plan names apart.
_PROCESS = token_hex(4).encode()
_plans: "WeakKeyDictionary[Connection[Any], dict[Plan, bytes]]" = WeakKeyDictionary()
_numbers = count()


def run(connection: "Connection[Any]", statements: Sequence[Statement]) -> list[Found]:
    """Run statements in their order, in one round trip. Raises what the first that fails raises; none after it is run.

    Like a cursor, it begins a transaction where the connection is to be in one.
    """
    values, server = Transformer(connection), connection.pgconn
    plans = _plans.setdefault(connection, {})
    messages: list[tuple[Message, Plan | int | None]] = []  # and what its answer is: of a plan, of a statement
    if not connection.autocommit and server.transaction_status == pq.TransactionStatus.IDLE:
        messages.append((partial(server.send_query_params, connection._get_tx_start_command(), None), None))
    made: dict[Plan, bytes] = {}
    has_kept = False  # a plan of before is used
    for index, (sql, given) in enumerate(statements):
        sent = values.dump_sequence(given, [PyFormat.AUTO] * len(given))
        types, formats = values.types or (), values.formats
        plan = (sql, types)
        kept = plans.get(plan)
        name, has_kept = kept or made.get(plan), has_kept or kept is not None
        if name is None and len(plans) + len(made) < PLANS_MAX:
            name = made[plan] = b"chat_%s_%d" % (_PROCESS, next(_numbers))
            messages.append((partial(server.send_prepare, name, _numbered(sql), types), plan))
        if name is None:
            messages.append((partial(server.send_query_params, _numbered(sql), sent, types, formats), index))
        else:
            messages.append((partial(server.send_query_prepared, name, sent, formats), index))
    messages.append((server.pipeline_sync, None))
    found: list[Found] = []
    for reply, (_, of) in zip(_exchange(connection, [message for message, _ in messages]), messages, strict=True):
        for result in reply:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                problem = errors.error_from_result(result, encoding=server._encoding)
                if has_kept and isinstance(problem, PLANS_LOST):
                    plans.clear()
                    if connection.autocommit:
                        return run(connection, statements)  # else who began the transaction begins it anew
                raise problem
        if isinstance(of, int):
            found.append(_read(values, reply[-1]))
        elif of is not None:
            plans[of] = made[of]
    return found


def _exchange(connection: "Connection[Any]", messages: Sequence[Message]) -> list[list[PGresult]]:
    server = connection.pgconn
    server.enter_pipeline_mode()
    try:
        replies: list[list[PGresult]] = connection.wait(_exchanging(server, messages))
        server.exit_pipeline_mode()
    except BaseException:
        server.finish()  # it is lost, or whoever used it next would read our answers
        raise
    return replies


def _exchanging(server: PGconn, messages: Sequence[Message]) -> PQGen[list[list[PGresult]]]:
    replies: list[list[PGresult]] = yield from pipeline_communicate(server, deque(messages))
    yield from send(server)  # what is left of the last ones: to fetch is only to read, and Postgres waits for the rest
    # Not as many as there are messages: what a COMMIT would refuse, the sync refuses with a reply of its own.
    while not replies or replies[-1][-1].status != pq.ExecStatus.PIPELINE_SYNC:
        replies.append((yield from fetch_many(server)))
    return replies


def _read(values: Values, result: PGresult) -> Found:
    if result.status != pq.ExecStatus.TUPLES_OK:
        return [], result.command_tuples or 0
    values.set_pgresult(result)
    return values.load_rows(0, result.ntuples, tuple), result.ntuples


@cache
def _numbered(sql: str) -> bytes:
    """SQL with Postgres's placeholders. Only SQL that is made once a process comes here."""
    places = count(1)
    return re.sub("%[%s]", lambda found: "%" if found[0] == "%%" else f"${next(places)}", sql).encode()
