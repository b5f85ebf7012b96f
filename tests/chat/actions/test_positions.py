"""A message's place in the talk is its run's, whoever moves that."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from chat.actions import attempts, positions, runs
from chat.actions.retention import Step
from chat.models import Message, Run
from tests.inside import Talk

placed = import_module("chat.migrations.0014_messages_in_place")


def out_of_place() -> int:
    return Message.objects.filter(run__isnull=False).exclude(position=F("run__position")).count()


def test_what_is_asked_and_answered_stands_where_its_run_does(talk: Talk) -> None:
    talk.answer("One?", "One!")
    talk.start("Two?")
    talk.post("Three?")
    assert Message.objects.filter(position=None).count() == 0
    assert out_of_place() == 0


def test_a_run_that_is_moved_takes_its_messages_along(talk: Talk) -> None:
    talk.start("First")
    waiting = [talk.queue(str(number)) for number in range(3)]
    runs.move_run(talk.ada, waiting[2].pk, waiting[0].pk)
    assert out_of_place() == 0
    in_order = Message.objects.filter(content__in="012").order_by("position").values_list("content", flat=True)
    assert list(in_order) == ["2", "0", "1"]


@pytest.mark.parametrize("way", ["join", "interrupt", "rollback"])
def test_what_joins_a_run_or_takes_its_place_stands_there(talk: Talk, way: str) -> None:
    running = talk.start("First")
    talk.post("Second", on_busy=way)
    assert out_of_place() == 0
    assert Message.objects.get(content="Second").position == running.position


def test_what_joined_too_late_stands_where_its_own_run_does(talk: Talk) -> None:
    run = talk.start("First")
    talk.post("Too late", on_busy="join")
    talk.post("And this", on_busy="join")
    attempts.finish_run(run, "An answer", attempts.Spending("demo", 3, 2))
    [late] = Run.objects.open()
    assert set(Message.objects.filter(run=late).values_list("position", flat=True)) == {late.position}
    assert out_of_place() == 0


@pytest.mark.parametrize("place", [positions.place_messages, lambda: placed.place_messages(apps, None)])
def test_what_an_older_version_wrote_is_placed(talk: Talk, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placed, "AT_ONCE", 2)
    talk.answer()
    talk.post("Another")
    Message.objects.update(position=None)
    place()
    assert out_of_place() == 0
    assert not Message.objects.filter(position=None).exists()


def test_that_is_done_some_at_a_time(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "AT_ONCE", 2)
    for number in range(3):
        talk.post(str(number))
    Message.objects.update(position=None)
    assert [positions.place_messages() for _ in range(3)] == [Step(2, more=True), Step(1), Step(0)]


def test_a_look_for_what_has_no_place_is_a_look_into_an_index_that_is_empty(talk: Talk) -> None:
    talk.post()
    found = Message.objects.filter(position=None, run__isnull=False).values_list("pk", flat=True)[:1000]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off")  # of so few rows it reads all
        plan = found.explain()
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan")
    assert "messages_without_position" in plan


def test_a_question_that_an_older_version_wrote_is_placed_by_its_claim(talk: Talk) -> None:
    talk.post("First")
    Message.objects.update(position=None)
    first = talk.claim()
    assert Message.objects.get(content="First").position == first.position


def test_a_run_that_an_older_version_moved_takes_its_messages_along_when_it_is_claimed(talk: Talk) -> None:
    running, one, two = talk.start("First"), talk.queue("One"), talk.queue("Two")
    moved_as_before(one, two)
    attempts.finish_run(running, "Done")
    attempts.finish_run(talk.claim(), "To two")
    talk.claim()
    assert out_of_place() == 0
    in_order = Message.objects.filter(role="user").order_by("position").values_list("content", flat=True)
    assert list(in_order) == ["First", "Two", "One"]


def moved_as_before(one: Run, two: Run) -> None:
    """Change the places of two runs, and not those of their messages."""
    Run.objects.filter(pk=one.pk).update(position=two.position)
    Run.objects.filter(pk=two.pk).update(position=one.position)


def test_a_claim_asks_nothing_more_for_what_is_in_its_place(talk: Talk) -> None:
    talk.post()
    with CaptureQueriesContext(connection) as asked:
        talk.claim()
    assert not [one for one in asked.captured_queries if 'UPDATE "chat_message"' in one["sql"]]


def test_the_newest_lines_are_found_without_a_look_at_all_others(talk: Talk) -> None:
    from workers.context import _page

    run = talk.start()
    asked = _page(run, 0, run.position, run.message.seq)
    with connection.cursor() as cursor:
        # To sort a handful of rows costs Postgres less: whether it can do without is what is asked.
        dear = ("enable_seqscan", "enable_sort") if connection.vendor == "postgresql" else ()
        for way in dear:
            cursor.execute(f"SET {way} = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {asked.sql}", asked.values)
        plan = "\n".join(str(line[-1]) for line in cursor.fetchall())
        for way in dear:
            cursor.execute(f"RESET {way}")
    assert "messages_of_the_talk" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
