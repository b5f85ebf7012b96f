"""What the tests of the work share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chat import shards, stream
from chat.database import writing
from chat.layers import Listener
from chat.protocol import Delta
from tests.inside import Talk, db, redis, talk, told, worker_id
from tests.llm_process import LLMProcess
from tests.threads import threads
from tests.workers.acting import deeds
from tests.workers.process import LedLLM, forget_publishers, process_of
from tests.workers.watching import Watching
from workers import publish, runner, surely
from workers.publish import Publisher
from workers.runtime import Runtime

__all__ = ["db", "deeds", "redis", "talk", "threads", "worker_id"]


@pytest.fixture(scope="session")
def llm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLMProcess]:
    """Run one OpenAI-compatible server for all tests; each test knows its own requests by their text."""
    with LLMProcess(tmp_path_factory.mktemp("llm")) as server:
        yield server


@pytest.fixture
async def llm(monkeypatch: pytest.MonkeyPatch) -> LedLLM:
    """The model of every run."""
    led = LedLLM()
    monkeypatch.setattr(runner, "llm_named", lambda name: led)
    return led


@pytest.fixture
async def runtime(talk: Talk, llm: LedLLM, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    """A worker process on the test's loop; whatever it still holds at the end is let go."""
    settings.CHAT_DELTA_WINDOW_MS = 5
    monkeypatch.setattr(surely, "DATABASE_RETRY_S", 0.01)
    made = process_of(talk.worker_id)
    yield made
    await made._drain()
    forget_publishers()


@pytest.fixture
async def watching(talk: Talk, redis: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    settings.CHAT_DELTA_WINDOW_MS = 5
    monkeypatch.setattr(shards, "BREAK_S", 0.1)
    monkeypatch.setattr(publish, "SEND_S", 0.15)
    run = await writing(talk.start)
    await asyncio.to_thread(told)
    watching = Watching(run, Publisher())

    def on_message(message: dict[str, Any]) -> None:
        if message["type"] == "delta":
            watching.deltas.append(Delta.unpack(message["delta"]))

    listener = Listener(on_message, lambda: None)
    group = stream.session_group(talk.pk)
    assert await shards.layer().listen(group, listener)
    yield watching
    await shards.layer().unlisten(group, listener)
    if watching.publisher._task is not None:
        watching.publisher._task.cancel()
