"""Queries that are built once: they find, change and insert what Django's own would."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from chat.actions import claims, joined
from chat.actions.endings import OPEN_RUNS
from chat.models import ChatSession, Event, Message, Run, Usage, Worker
from chat.prepared import Asked, Given, Prepared, insert, together
from tests.inside import WAIT_S, Talk
from tests.threads import Threads, wait_until_blocked
from workers import context

AT = datetime(2026, 11, 21, 4, 5, 6, 789012, tzinfo=UTC)

run_by_id = Prepared(lambda: Run.objects.select_related("agent", "message").filter(pk=Given("pk")))
session_by_id = Prepared(lambda: ChatSession.objects.filter(pk=Given("pk")))
worker_by_name = Prepared(lambda: Worker.objects.filter(name=Given("name")).order_by("lease_until"))


def columns(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_row_is_found_as_django_finds_it_with_what_belongs_to_it(talk: Talk) -> None:
    run = talk.start(context={"page": "home"})
    found = run_by_id.first(pk=run.pk)
    assert found is not None
    known = Run.objects.select_related("agent", "message").get(pk=run.pk)
    assert columns(found) == columns(known)
    assert columns(found.agent) == columns(known.agent)
    assert columns(found.message) == columns(known.message)
    assert found.message.data == {"context": {"page": "home"}}
    assert not found._state.adding, "it may be saved"


def test_what_is_not_there_is_not_found(talk: Talk) -> None:
    assert run_by_id.rows(pk=uuid4()) == []
    assert run_by_id.first(pk=uuid4()) is None


def test_values_come_as_tuples_and_flat_ones_bare(talk: Talk) -> None:
    runs = [talk.queue(), talk.queue()]
    pairs = Prepared(lambda: Run.objects.filter(session_id=Given("s")).order_by("position").values_list("pk", "status"))
    assert pairs.rows(s=talk.pk) == [(run.pk, "queued") for run in runs]
    ids = Prepared(
        lambda: Run.objects.filter(session_id=Given("s")).order_by("position").values_list("pk", flat=True)[:1]
    )
    assert ids.rows(s=talk.pk) == [runs[0].pk]


def test_a_query_is_built_once_and_used_by_every_thread(talk: Talk, threads: Threads) -> None:
    built: list[int] = []

    def build() -> QuerySet[ChatSession, ChatSession]:
        built.append(1)
        return ChatSession.objects.filter(pk=Given("pk"))

    query = Prepared(build)
    assert [query.first(pk=one) for one in (talk.pk, uuid4())] == [talk.session, None]
    assert threads.start(query.first, pk=talk.pk).result(WAIT_S) == talk.session
    assert built == [1]


def test_a_value_that_is_not_given_is_a_mistake(talk: Talk) -> None:
    with pytest.raises(KeyError):
        run_by_id.ask()
    with pytest.raises(AssertionError, match="not run yet"):
        assert run_by_id.ask(pk=talk.pk).rows


# --- changing ---------------------------------------------------------------------------------------------------------


def test_a_condition_decides_what_is_changed_and_the_count_tells(talk: Talk) -> None:
    run = talk.start()
    held = Prepared(lambda: Run.objects.held_by(Given("held_by"), Given("held_attempt")).filter(pk=Given("pk")))
    changes = {"drafts": ["one"], "error": {"code": "é"}, "cost_usd": Decimal("0.25"), "failed_at": AT, "slot": None}
    for attempt, count in ((2, 0), (1, 1)):
        asked = held.change(changes, pk=run.pk, held_by=run.worker_id, held_attempt=attempt)
        together(asked)
        assert asked.count == count
        stored = Run.objects.get(pk=run.pk)
        assert (stored.failed_at == AT) is bool(count)
    assert {name: getattr(stored, name) for name in changes} == changes
    Run.objects.filter(pk=run.pk).update(drafts=run.drafts, error=None, cost_usd=0, failed_at=None)


# --- inserting --------------------------------------------------------------------------------------------------------


def test_rows_are_inserted_as_they_are(talk: Talk) -> None:
    run = talk.start()
    usage = Usage(run_id=run.pk, attempt=1, llm="demo", input_tokens=2, cost_usd=Decimal("0.000125"), created_at=AT)
    lines = [Worker(name=name, lease_until=AT) for name in ("one", "two")]
    together(insert(usage), insert(*lines))
    stored = Usage.objects.get(run_id=run.pk)
    assert {**columns(stored), "id": None} == columns(usage)
    assert {columns(one)["name"]: columns(one) for one in Worker.objects.filter(lease_until=AT)} == {
        one.name: columns(one) for one in lines
    }
    lines[0].name = "three"
    lines[0].save()
    assert Worker.objects.filter(name="three").count() == 1, "a row that was inserted is updated from then on"


def test_a_row_that_is_there_already_is_an_error_or_is_ignored(talk: Talk) -> None:
    run = talk.start()
    together(insert(Usage(run_id=run.pk, attempt=1, llm="demo", input_tokens=2)))
    together(insert(Usage(run_id=run.pk, attempt=1, llm="demo", input_tokens=7), ignore_conflicts=True))
    assert Usage.objects.get(run_id=run.pk).input_tokens == 2
    with pytest.raises(IntegrityError):
        together(insert(Usage(run_id=run.pk, attempt=1, llm="demo", input_tokens=7)))


# --- together ---------------------------------------------------------------------------------------------------------


def test_each_sees_what_those_before_it_did(talk: Talk) -> None:
    before, after = worker_by_name.ask(name="new"), worker_by_name.ask(name="new")
    together(before, insert(Worker(name="new", lease_until=AT)), after)
    assert (len(before.rows), len(after.rows)) == (0, 1)


def test_the_first_that_fails_is_told_and_none_after_it_is_run(talk: Talk) -> None:
    event = talk.log()[0]
    twin = Event(session_id=talk.pk, seq=event.seq, type="session.created", at=AT)
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        together(insert(Worker(name="new", lease_until=AT)), insert(twin), insert(Worker(name="later", lease_until=AT)))
    if connection.vendor == "postgresql":
        assert getattr(caught.value.__cause__, "sqlstate", None) == "23505", "the cause, and not that a line was broken"
    assert not worker_by_name.rows(name="new"), "the transaction is undone"
    assert not worker_by_name.rows(name="later")


def test_nothing_more_is_run_in_a_transaction_that_is_broken(talk: Talk) -> None:
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic(savepoint=False):
            together(insert(Event(session_id=talk.pk, seq=1, type="again", at=AT)))
        with pytest.raises(transaction.TransactionManagementError):
            session_by_id.first(pk=talk.pk)
        transaction.set_rollback(True)
        # The block ends here, and takes its rollback with it.


@pytest.mark.postgres
def test_what_travels_with_a_lock_sees_what_was_committed_while_it_waited(talk: Talk, threads: Threads) -> None:
    """Each statement has a snapshot of its own: when it runs decides what it sees, and not when it was sent."""
    lock = Prepared(lambda: ChatSession.objects.select_for_update(no_key=True).filter(pk=Given("pk")))

    def look() -> list[str]:
        locked, seen = lock.ask(pk=talk.pk), worker_by_name.ask(name="meanwhile")
        with transaction.atomic():
            together(locked, seen)
        return [worker.name for worker in seen.rows]

    with transaction.atomic():
        lock.rows(pk=talk.pk)
        looking = threads.start(look)
        wait_until_blocked()
        Worker.objects.create(name="meanwhile", lease_until=AT)
    assert looking.result(WAIT_S) == ["meanwhile"]


# --- what never changes -----------------------------------------------------------------------------------------------


def test_what_never_changes_is_written_into_the_sql_whatever_it_holds(talk: Talk) -> None:
    odd = "It's 100 %s 'odd' %% \\"
    talk.post(odd)
    said = Prepared(
        lambda: Message.objects.filter(content=odd, session_id=Given("s"), seq__gt=1).values_list("content", flat=True)
    )
    asked = said.ask(s=talk.pk)
    assert len(asked.values) == 1
    assert said.rows(s=talk.pk) == [odd]


def _plan(asked: Asked[Any]) -> str:
    """How the database would look for it, were there very much of it."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # it looks at its own figures, which an autovacuum may have made real
            cursor.execute(
                "UPDATE pg_class SET reltuples = 10000000, relpages = 1 WHERE relname IN ('chat_run', 'chat_message')"
            )
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {asked.sql}", asked.values)
        plan = "\n".join(str(line[-1]) for line in cursor.fetchall())
        transaction.set_rollback(True)
    return plan


def test_the_open_runs_of_a_session_are_found_past_all_that_have_ended(talk: Talk) -> None:
    for asked in (claims._FIRST_OPEN.ask(session_id=talk.pk), OPEN_RUNS.ask(session_id=talk.pk)):
        assert "runs_open" in _plan(asked), "or each answer takes longer than the one before"


def test_what_joined_a_run_is_found_past_all_that_did_not(talk: Talk) -> None:
    assert "messages_joined" in _plan(context._JOINED.ask(run_id=uuid4()))
    assert "messages_unread" in _plan(joined.UNREAD.ask(session_id=talk.pk))
