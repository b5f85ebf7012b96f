"""Changes of large tables: old processes work on meanwhile, and one that was broken off is done again."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from chat.migrations._beside import AddIndex
from chat.models import Message, Run
from tests.inside import Talk
from tests.threads import Threads, wait_until_blocked


def apply(name: str) -> None:
    """Apply a migration of `chat` to the database as it is."""
    loader = MigrationExecutor(connection).loader
    migration = loader.get_migration("chat", name)
    before = loader.project_state(migration.dependencies, at_end=True)
    with connection.schema_editor(atomic=migration.atomic) as editor:
        migration.apply(before, editor)


def indexes_of(model: Any) -> dict[str, list[str]]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table)
    return {name: one["columns"] for name, one in found.items() if one["index"]}


@pytest.mark.usefixtures("db")
def test_a_migration_that_was_broken_off_goes_on_where_it_was() -> None:
    whole = indexes_of(Run), indexes_of(Message)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX runs_that_wait")
        cursor.execute("DROP INDEX messages_of_the_talk")
        cursor.execute("CREATE INDEX not_dropped_yet ON chat_run (worker_id)")
    apply("0012_what_is_looked_for")
    apply("0013_positions")
    assert (indexes_of(Run), indexes_of(Message)) == whole


@pytest.mark.postgres
def test_who_writes_does_not_wait_for_an_index_that_waits_for_others(talk: Talk, threads: Threads) -> None:
    talk.post("Before")
    index = next(one for one in Message._meta.indexes if one.name == "messages_of_the_talk")
    state = MigrationExecutor(connection).loader.project_state()
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX messages_of_the_talk")

    def build() -> None:
        with connection.schema_editor(atomic=False) as editor:
            AddIndex("message", index).database_forwards("chat", editor, state, state)

    with transaction.atomic():
        Message.objects.update(content="Before")
        building = threads.start(build)
        wait_until_blocked()
        threads.start(talk.post, "Meanwhile").result(5)
        assert not building.done()
    building.result(10)
    assert "messages_of_the_talk" in indexes_of(Message)
