"""What a worker does with a doorbell: hear it in the thread that reads, and live on whatever it brings."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app

from workers import tasks
from workers.doorbells import at_once
from workers.runtime import Runtime


def heard(task: Any, payload: object, acks: list[object] | None = None) -> None:
    consumer = SimpleNamespace(connection_errors=())
    hear = at_once(task, current_app, consumer)
    message = SimpleNamespace(payload=payload)
    hear(message, None, lambda *args: acks.append(args) if acks is not None else None, None, [])


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    rings: list[tuple[str, ...]] = []
    monkeypatch.setattr(Runtime, "ring", lambda _, *args: rings.append(args))
    return rings


def test_a_doorbell_is_acknowledged_and_heard_with_what_it_says(rung: list[tuple[str, ...]]) -> None:
    acks: list[object] = []
    heard(tasks.run_agent, (["run", "session"], {}, {"chord": None}), acks)
    heard(tasks.run_agent, (["run"], {}, {}), acks)
    assert rung == [("run", "session"), ("run", None)]
    assert len(acks) == 2


@pytest.mark.parametrize("payload", [None, "text", ([], {}, {}), ([], {}), (["a", "b", "c", "d"], {}, {}), (1, 2, 3)])
def test_a_doorbell_that_is_none_is_logged_without_what_it_brings_and_ends_nothing(
    payload: object, rung: list[tuple[str, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    acks: list[object] = []
    with caplog.at_level(logging.ERROR):
        heard(tasks.run_agent, payload, acks)
    assert not rung
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert acks, "or it would come again"


def test_all_that_only_ring_are_doorbells_and_what_works_in_celerys_thread_is_not() -> None:
    doorbells = {"run_agent", "summarise_session", "title_session"}
    ours = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}
    assert {name for name, task in ours.items() if isinstance(task, tasks.Doorbell)} == doorbells
    assert set(ours) - doorbells == {"prune"}
