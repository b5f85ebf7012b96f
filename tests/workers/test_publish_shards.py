"""A Redis of several that is away: its sessions wait for it, and no other notices."""

import asyncio
import copy
import threading
import time
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from redis import exceptions

from chat import shards, stream
from chat.actions import attempts
from chat.models import Run
from tests.inside import WAIT_S
from tests.processes import PATIENCE
from tests.workers.watching import Watching
from workers import publish
from workers.publish import Draft


@pytest.fixture
def elsewhere(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> Draft:
    """A draft of a session whose shard is away."""
    run = copy.copy(watching.run)
    run.session_id = uuid4()
    there = stream.session_group(run.session_id)
    layer, shard_of = type(shards.layer()), shards.shard_of
    reach = layer.redis

    def redis(self: Any, group: str) -> Any:
        if group == there:
            raise exceptions.ConnectionError("refused")
        return reach(self, group)

    monkeypatch.setattr(layer, "redis", redis)
    monkeypatch.setattr(shards, "shard_of", lambda group: 1 if group == there else shard_of(group))
    monkeypatch.setattr(shards, "BREAK_S", 1.0)
    return Draft(watching.publisher, run, stream.MESSAGE, lambda: None)


async def away(elsewhere: Draft, watching: Watching) -> None:
    elsewhere.add("Hello")
    await watching.until(lambda: watching.publisher.is_broken, "it is noticed")


async def test_a_shard_that_is_away_holds_up_no_deltas_of_another(watching: Watching, elsewhere: Draft) -> None:
    here = watching.draft()
    told_at = []
    for number in range(100):
        here.add(f"w{number} ")
        elsewhere.add(f"w{number} ")
        before = len(watching.deltas)
        await asyncio.sleep(0.02)
        if len(watching.deltas) > before:
            told_at.append(time.monotonic())
    assert max(b - a for a, b in pairwise(told_at)) < 0.5 * PATIENCE


async def test_a_flush_asks_for_its_own_shard_alone(watching: Watching, elsewhere: Draft) -> None:
    here = watching.draft()
    await away(elsewhere, watching)
    here.add("Hello")
    await here.flush()
    assert not here.is_dirty and here.sent_chars == len("Hello")
    began = time.monotonic()
    await elsewhere.flush()
    assert time.monotonic() - began < 0.1 * PATIENCE
    assert elsewhere.is_dirty


async def test_a_database_that_stalls_over_a_checkpoint_holds_up_no_deltas(
    watching: Watching, elsewhere: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, go = threading.Event(), threading.Event()

    def stall(run: Run, answer_id: str, text: str) -> None:
        saving.set()
        go.wait(WAIT_S)

    monkeypatch.setattr(attempts, "keep_checkpoint", stall)
    try:
        await away(elsewhere, watching)
        await watching.until(saving.is_set, "it is being saved")
        here = watching.draft()
        here.add("Hello")
        await watching.until(lambda: watching.shown() == "Hello", "the other is told")
    finally:
        go.set()


async def test_only_what_a_shard_that_is_away_has_is_saved_in_the_row(
    watching: Watching, elsewhere: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(publish, "CHECKPOINT_S", 0.01)
    monkeypatch.setattr(attempts, "keep_checkpoint", lambda run, answer_id, text: saved.append(text))
    here = watching.draft()
    await away(elsewhere, watching)
    for piece in ("x", "y", "z"):
        here.add(piece)
        await here.flush()
        await asyncio.sleep(0.03)
    await watching.until(lambda: len(saved) > 2, "it is saved")
    assert set(saved) == {"Hello"}
