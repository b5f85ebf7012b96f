"""The steps of tidying up are taken when they are due, and at once again while there is more to do."""

from itertools import pairwise
from typing import Any

import pytest
from django.db import connection

from chat.actions.retention import Step
from chat.models import Message
from chat.sqlite.base import DatabaseWrapper
from tests.inside import Talk
from workers import tidy
from workers.tidy import Tidying


def test_a_step_is_taken_when_it_is_due_and_again_while_there_is_more(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_TIDY_S = 60
    now, taken = 1000.0, []
    outcomes = iter([Step(20, True), Step(20, True), Step(3)])

    def step() -> Step:
        taken.append(now)
        return next(outcomes, Step())

    monkeypatch.setattr(tidy, "STEPS", {"idle": step})
    monkeypatch.setattr(tidy.time, "monotonic", lambda: now)
    tidying = Tidying()
    for _ in range(250):
        tidying.look()
        now += 1
    assert taken[:3] == [1000, 1001, 1002]
    waits = [later - earlier for earlier, later in pairwise(taken[2:])]
    assert len(waits) >= 2 and all(42 <= wait <= 79 for wait in waits)


def test_what_an_older_version_writes_is_placed_at_the_next_look(talk: Talk) -> None:
    tidying = Tidying()
    tidying.look()
    for _ in range(2):
        talk.post()
        Message.objects.update(position=None)  # as one writes it that knows no positions
        tidying.look()
        assert not Message.objects.filter(position=None).exists()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a server does it itself")
def test_what_a_crowd_has_written_is_put_into_its_place_at_each_look(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(DatabaseWrapper, "put_log_in_place", lambda self: asked.append(1))
    tidying = Tidying()
    tidying.look()
    tidying.look()
    assert asked == [1, 1]
