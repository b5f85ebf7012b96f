"""What the tests of the work share."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.inside import Talk, db, redis, talk, threads, worker_id
from tests.llm_process import LLMProcess
from tests.workers.process import LedLLM, forget_publishers, process_of
from workers import runner
from workers.runtime import Runtime

__all__ = ["db", "redis", "talk", "threads", "worker_id"]


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
    monkeypatch.setattr(runner, "DATABASE_RETRY_S", 0.01)
    made = process_of(talk.worker_id)
    yield made
    await made._drain()
    forget_publishers()
