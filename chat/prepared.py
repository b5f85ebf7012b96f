"""Queries that are built once and run often, and rows that are written without being asked for again.

Django builds a query anew each time, which costs five times as much as to run it, and an answer takes thirty. The hot
ones are still written in Django's words, with `Given` where a value belongs, but their SQL is made once a process.
`together` runs several: on Postgres they travel in one go, and each still sees what was committed when its turn came.
The models' fields and constraints hold as ever; what is passed by are signals, and what `save()` looks up.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.sqlite3.base import FORMAT_QMARK_REGEX
from django.db.models import Field, Model, QuerySet, UUIDField, Value
from django.db.models.constants import OnConflict
from django.db.models.query import FlatValuesListIterable, ModelIterable, get_related_populators
from django.db.models.sql import UpdateQuery

T = TypeVar("T")

Fields = Sequence["Field[Any, Any]"]


class Given(Value):
    """A place in a query that is filled in each time it runs, by its name."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]


@dataclass(slots=True)
class Asked(Generic[T]):
    """One statement with its values: what it found, and how many rows it changed, once it was run."""

    sql: str
    values: list[Any]
    read: Callable[[list[Any]], list[T]] | None = None
    _rows: list[T] | None = None
    _count: int | None = None

    @property
    def rows(self) -> list[T]:
        assert self._rows is not None, "not run yet"
        return self._rows

    @property
    def first(self) -> T | None:
        return self.rows[0] if self.rows else None

    @property
    def count(self) -> int:
        assert self._count is not None, "not run yet"
        return self._count

    def take(self, rows: list[Any], count: int) -> None:
        if self.read is not None:
            self._rows = self.read(rows)
        self._count = count


@dataclass(slots=True)
class Prepared(Generic[T]):
    """A query whose SQL is made once.

    `build` gives the query set, with `Given("name")` for what differs from call to call; `name=value` fills it in.
    """

    build: Callable[[], "QuerySet[Any, T]"]
    _select: "tuple[str, Sequence[Any], Callable[[list[Any]], list[T]]] | None" = None
    _updates: dict[tuple[str, ...], tuple[str, Sequence[Any], Fields]] = field(default_factory=dict)

    def ask(self, **given: Any) -> Asked[T]:
        if self._select is None:
            self._select = _compiled(self.build())
        sql, places, read = self._select
        return Asked(sql, _filled(places, given), read)

    def rows(self, **given: Any) -> list[T]:
        asked = self.ask(**given)
        together(asked)
        return asked.rows

    def first(self, **given: Any) -> T | None:
        rows = self.rows(**given)
        return rows[0] if rows else None

    def change(self, columns: Mapping[str, Any], **given: Any) -> Asked[T]:
        """Set columns of the rows that are found: a conditional UPDATE."""
        names = tuple(sorted(columns))
        made = self._updates.get(names)
        if made is None:
            made = self._updates[names] = _compiled_update(self.build(), names)
        sql, places, fields = made
        here = _here()
        values = [one.get_db_prep_save(columns[name], here) for one, name in zip(fields, names, strict=True)]
        return Asked(sql, values + _filled(places, given))


def insert(*rows: Model, ignore_conflicts: bool = False) -> Asked[Any]:
    """Insert rows of one model, as they are: their keys are known before, or are nobody's business."""
    here = _here()
    sql, fields = _insertion(type(rows[0]), len(rows), ignore_conflicts, here.vendor)
    values = [one.get_db_prep_save(getattr(row, one.attname), here) for row in rows for one in fields]
    for row in rows:
        row._state.adding, row._state.db = False, here.alias
    return Asked(sql, values)


@cache
def _insertion(model: type[Model], rows: int, ignore_conflicts: bool, vendor: str) -> tuple[str, Fields]:
    fields = [one for one in model._meta.local_concrete_fields if not one.db_returning]
    on_conflict = OnConflict.IGNORE if ignore_conflicts else None
    operations = _here().ops
    quote = operations.quote_name
    places = f"({', '.join(['%s'] * len(fields))})"
    parts = (
        operations.insert_statement(on_conflict=on_conflict),
        quote(model._meta.db_table),
        f"({', '.join(quote(str(one.column)) for one in fields)}) VALUES",
        ", ".join([places] * rows),
        operations.on_conflict_suffix_sql(fields, on_conflict, [], []),
    )
    return " ".join(parts), fields


def together(*asked: Asked[Any]) -> None:
    """Run statements, in their order. Raises what the first that fails raises; none after it is run.

    As Django's cursors do, without their layers, in which half of the time goes.
    """
    here = _here()
    if here.execute_wrappers or here.queries_logged:
        with here.cursor() as cursor:
            for one in asked:
                cursor.execute(one.sql, one.values)
                one.take(cursor.fetchall() if one.read else [], cursor.rowcount)
        return
    here.close_if_health_check_failed()
    here.ensure_connection()
    here.validate_no_broken_transaction()
    with here.wrap_database_errors:
        if here.vendor == "postgresql":
            for one, found in zip(asked, _pipelined(here.connection, asked), strict=True):
                one.take(*found)
        else:
            for one in asked:
                cursor = here.connection.execute(_with_question_marks(one.sql), one.values)
                one.take(cursor.fetchall() if one.read else [], cursor.rowcount)


def _pipelined(connection: Any, asked: Sequence[Asked[Any]]) -> Any:
    from chat import pipelined  # psycopg, which SQLite does not need

    return pipelined.run(connection, [(one.sql, one.values) for one in asked])


@cache
def _with_question_marks(sql: str) -> str:
    """SQL with SQLite's placeholders. Only SQL that is made once a process comes here."""
    return str(FORMAT_QMARK_REGEX.sub("?", sql).replace("%%", "%"))


_threads = threading.local()


def _here() -> Any:
    """This thread's connection. Django looks it up anew each time, and an answer asks for it a hundred times."""
    try:
        return _threads.connection
    except AttributeError:
        _threads.connection = connections[DEFAULT_DB_ALIAS]
        return _threads.connection


def _compiled(found: "QuerySet[Any, T]") -> "tuple[str, Sequence[Any], Callable[[list[Any]], list[T]]]":
    alias = DEFAULT_DB_ALIAS
    compiler = found.query.get_compiler(connection=_here())
    sql, places = _with_constants(*compiler.as_sql())
    converters = compiler.get_converters([one for one, _, _ in compiler.select])
    shape = found._iterable_class
    if shape is ModelIterable:
        info = compiler.klass_info
        start, end = info["select_fields"][0], info["select_fields"][-1] + 1
        names = [one.target.attname for one, _, _ in compiler.select[start:end]]
        populators = get_related_populators(info, compiler.select, alias)  # type: ignore[call-arg]

    def read(rows: list[Any]) -> list[Any]:
        lines: Any = compiler.apply_converters(rows, converters) if converters else rows
        if shape is FlatValuesListIterable:
            return [line[0] for line in lines]
        if shape is not ModelIterable:
            return [tuple(line) for line in lines]
        made = []
        for line in lines:
            row = found.model.from_db(alias, names, line[start:end])
            for populator in populators:
                populator.populate(line, row)
            made.append(row)
        return made

    return sql, places, read


def _compiled_update(found: "QuerySet[Any, Any]", names: Sequence[str]) -> tuple[str, Sequence[Any], Fields]:
    query = cast(UpdateQuery, found.query.chain(UpdateQuery))
    query.add_update_values({name: Given(name) for name in names})
    sql, places = query.get_compiler(connection=_here()).as_sql()
    return sql, places[len(names) :], [found.model._meta.get_field(name) for name in names]


def _with_constants(sql: str, places: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Write what never changes into the SQL: a partial index is used only for a constant, never for a parameter.

    Not where rows are changed: these are to be found by their key, not by an index that was short when it was planned.
    """
    values, left = iter(places), []

    def write(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%%"
        value = next(values)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(int(value))  # of psycopg's own kinds, too
        if isinstance(value, str):
            return "'" + value.replace("'", "''").replace("%", "%%") + "'"
        left.append(value)
        return "%s"

    return re.sub("%[%s]", write, sql), left


def _filled(places: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
    here = _here()
    return [_adapted(given[place.value], here) if isinstance(place, Given) else place for place in places]


def _adapted(value: Any, here: Any) -> Any:
    """A value of a condition: text, a number or an id."""
    return _ID.get_db_prep_value(value, here) if isinstance(value, UUID) else value


_ID: "UUIDField[UUID, UUID]" = UUIDField()
