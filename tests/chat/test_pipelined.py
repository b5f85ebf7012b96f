"""Several statements to Postgres in one go: as with cursors, but for the time."""

import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from psycopg import errors, pq
from psycopg.types.json import Jsonb

from chat import pipelined
from chat.models import Message
from tests.inside import Talk

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("db")]


@pytest.fixture
def raw(db: None) -> Iterator[Any]:
    """A connection of its own, with a table of its own."""
    connection.ensure_connection()
    asked = connection.connection.info
    with psycopg.connect(asked.dsn, password=asked.password, autocommit=True) as made:
        made.execute("CREATE TEMPORARY TABLE said (id int PRIMARY KEY, word text, data jsonb, at timestamptz)")
        yield made


def words(raw: Any) -> list[str]:
    return [word for (word,) in raw.execute("SELECT word FROM said ORDER BY id")]


INSERT = "INSERT INTO said (id, word) VALUES (%s, %s)"


def test_each_sees_what_those_before_it_did_and_tells_how_much_it_found_or_changed(raw: Any) -> None:
    found = pipelined.run(
        raw,
        [
            (INSERT, [1, "one"]),
            ("INSERT INTO said (id, word) VALUES (%s, %s), (%s, %s)", [2, "two", 3, "three"]),
            ("SELECT id, word FROM said WHERE id >= %s ORDER BY id", [2]),
            ("UPDATE said SET word = %s WHERE id = %s", ["none", 9]),
            ("DELETE FROM said", []),
        ],
    )
    assert found == [([], 1), ([], 2), ([(2, "two"), (3, "three")], 2), ([], 0), ([], 3)]


@pytest.mark.parametrize(
    "value",
    [
        7, 2**40, "a text", "100 % of 'it'", "", None, True, Decimal("1.250"), uuid4(),
        datetime(2026, 11, 21, 4, 5, 6, 789012, tzinfo=UTC),
    ],
)  # fmt: skip
def test_a_value_comes_back_as_it_was_and_none_may_stand_in_its_place_the_next_time(raw: Any, value: object) -> None:
    kinds = {int: "bigint", str: "text", type(None): "text", bool: "boolean", Decimal: "numeric", UUID: "uuid"}
    kind = kinds.get(type(value), "timestamptz")
    for given in (value, None, value):
        [(rows, _)] = pipelined.run(raw, [(f"SELECT %s::{kind}", [given])])
        assert rows == [(given,)]


def test_json_and_a_percent_sign_in_the_sql_arrive(raw: Any) -> None:
    statements: list[tuple[str, list[Any]]] = [
        ("INSERT INTO said (id, data) VALUES (%s, %s)", [1, Jsonb({"a": [1, None]})]),
        ("SELECT data, 7 %% 4, '%%s' FROM said WHERE id = %s", [1]),
    ]
    assert pipelined.run(raw, statements)[1][0] == [({"a": [1, None]}, 3, "%s")]


def test_the_first_that_fails_is_raised_none_after_it_is_run_and_the_connection_works_on(raw: Any) -> None:
    twice: list[tuple[str, list[Any]]] = [(INSERT, [1, "one"]), (INSERT, [1, "again"]), (INSERT, [2, "two"])]
    for _ in range(3):  # what was planned before a failure is not planned again, under a name that is taken
        with pytest.raises(errors.UniqueViolation):
            pipelined.run(raw, twice)
        assert raw.pgconn.pipeline_status == pq.PipelineStatus.OFF
        assert words(raw) == [], "it was one transaction"
    pipelined.run(raw, twice[::2])
    assert words(raw) == ["one", "two"]


def test_nonsense_is_an_error_each_time_and_what_follows_it_is_planned_later(raw: Any) -> None:
    for _ in range(2):
        with pytest.raises(errors.UndefinedTable):
            pipelined.run(raw, [("SELECT 1 FROM nowhere", []), (INSERT, [1, "one"])])
    pipelined.run(raw, [(INSERT, [1, "one"])])
    assert words(raw) == ["one"]


def test_it_begins_a_transaction_where_one_is_wanted_and_only_then(raw: Any) -> None:
    raw.autocommit = False
    pipelined.run(raw, [(INSERT, [1, "one"])])
    assert raw.info.transaction_status == pq.TransactionStatus.INTRANS
    pipelined.run(raw, [(INSERT, [2, "two"])])
    raw.rollback()
    raw.autocommit = True
    assert words(raw) == []


def test_what_fails_in_a_transaction_leaves_it_to_be_rolled_back(raw: Any) -> None:
    raw.autocommit = False
    pipelined.run(raw, [(INSERT, [1, "one"])])
    with pytest.raises(errors.UniqueViolation):
        pipelined.run(raw, [(INSERT, [1, "again"])])
    assert raw.info.transaction_status == pq.TransactionStatus.INERROR
    with pytest.raises(errors.InFailedSqlTransaction):
        pipelined.run(raw, [("SELECT 1", [])])
    raw.rollback()
    assert pipelined.run(raw, [("SELECT 1", [])]) == [([(1,)], 1)]


def test_a_plan_is_made_once_and_of_so_many_statements_no_more_are_kept(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelined, "PLANS_MAX", 3)
    for number in range(6):
        for _ in range(3):
            assert pipelined.run(raw, [(f"SELECT %s::int + {number}", [1])]) == [([(1 + number,)], 1)]
    [kept] = raw.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'chat%'").fetchone()
    assert kept == 3


def test_no_other_process_has_our_names_for_its_plans() -> None:
    """Behind a pooler it would be given our statements for its own."""
    another = runpy.run_path(pipelined.__file__)
    assert another["_PROCESS"] != pipelined._PROCESS


def test_plans_that_somebody_threw_away_are_made_again(raw: Any) -> None:
    for _ in range(3):
        assert pipelined.run(raw, [(INSERT, [1, "one"]), ("DELETE FROM said", [])]) == [([], 1), ([], 1)]
        raw.execute("DEALLOCATE ALL")


def test_in_a_transaction_that_is_a_failure_once(raw: Any) -> None:
    pipelined.run(raw, [(INSERT, [1, "one"])])
    raw.execute("DEALLOCATE ALL")
    raw.autocommit = False
    with pytest.raises(errors.InvalidSqlStatementName):
        pipelined.run(raw, [("DELETE FROM said", []), (INSERT, [2, "two"])])
    raw.rollback()
    pipelined.run(raw, [(INSERT, [2, "two"])])
    assert words(raw) == ["one", "two"], "what was before it is undone"


def test_an_action_that_meets_lost_plans_is_done_all_the_same(talk: Talk) -> None:
    talk.post()
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    talk.post("And another")
    assert Message.objects.count() == 2


def test_a_connection_that_is_cut_is_an_error_and_known_as_closed(raw: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [raw.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        pipelined.run(raw, [("SELECT 1", [])])
    assert raw.closed


def test_answers_that_nobody_waits_for_any_more_are_read_by_nobody_else(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(raw, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipelined.run(raw, [("SELECT 'somebody else''s'", [])])
    assert raw.closed


@pytest.mark.parametrize("times", [1, 3])
def test_large_values_go_both_ways_at_once(raw: Any, times: int) -> None:
    # Far more than the sockets between us hold, and for a moment nobody reads: neither side may wait for the other.
    large = "x" * 8_000_000
    statements: list[tuple[str, list[Any]]] = [("SELECT pg_sleep(0.1)", []), *[("SELECT %s::text", [large])] * times]
    _, *found = within(20, raw, lambda: pipelined.run(raw, statements))
    assert [rows[0][0] == large for rows, _ in found] == [True] * times


def within(seconds: float, raw: Any, call: Callable[[], Any]) -> Any:
    """What a call returns, or a failure where it hangs: then the connection is cut, or nothing would ever end."""
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(call)
        try:
            return called.result(seconds)
        except TimeoutError:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [raw.info.backend_pid])
            raise


def test_what_only_the_end_of_a_transaction_refuses_is_told_and_the_connection_serves_the_next(raw: Any) -> None:
    raw.execute("CREATE TEMPORARY TABLE heard (said int REFERENCES said (id) DEFERRABLE INITIALLY DEFERRED)")
    for _ in range(2):
        with pytest.raises(errors.ForeignKeyViolation):
            pipelined.run(raw, [(INSERT, [1, "one"]), ("INSERT INTO heard (said) VALUES (%s)", [99])])
    assert words(raw) == []


def test_plans_are_made_again_when_a_column_is_of_another_type(raw: Any) -> None:
    statements: list[tuple[str, list[Any]]] = [("SELECT id FROM said", [])]
    for kind in ("bigint", "text", "int USING id::int"):
        assert pipelined.run(raw, statements) == [([], 0)]
        raw.execute(f"ALTER TABLE said ALTER id TYPE {kind}")
    raw.autocommit = False
    with pytest.raises(errors.FeatureNotSupported):
        pipelined.run(raw, statements)
    raw.rollback()
    assert pipelined.run(raw, statements) == [([], 0)]


def test_what_postgres_cannot_do_at_all_is_said_once(raw: Any) -> None:
    for _ in range(2):
        with pytest.raises(errors.FeatureNotSupported):
            pipelined.run(raw, [("SELECT 1", []), ("SELECT count(*) FROM said FOR UPDATE", [])])
