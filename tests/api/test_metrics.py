"""The operator's numbers, as the door gives them while things go wrong."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chat.api import metrics
from tests.api.conftest import Caller
from tests.inside import WAIT_S


async def test_while_the_database_hangs_a_processs_own_numbers_are_there_and_the_tables_are_not(
    nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read() -> str:
        response = await asyncio.wait_for(nobody.ask("GET", "/metrics"), WAIT_S)
        assert response.status_code == 200
        return response.content.decode()

    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    assert "chat_runs_queued 0" in await read()
    monkeypatch.setattr(metrics, "LIMIT_S", 0.1)
    thaw = threading.Event()
    monkeypatch.setattr(metrics, "_ask_table", thaw.wait)
    try:
        for _ in range(2):
            text = await read()
            assert 'chat_database_threads{pool="metrics"} 1.0' in text
            assert "chat_runs_queued 0" not in text, "that would be of before"
    finally:
        thaw.set()
