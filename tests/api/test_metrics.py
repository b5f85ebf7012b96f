"""The operator's numbers, as the door gives them while things go wrong."""

import asyncio
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.actions.questions import Question
from chat.api import metrics
from chat.models import Run
from tests.api.conftest import Caller, WorkerOfATest
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


async def test_what_waits_for_people_or_for_another_run_does_not_make_the_queue_look_old(
    ada: Caller, nobody: Caller, worker: WorkerOfATest, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    settings.CHAT_RUNS_PER_USER = 1

    async def oldest() -> int:
        text = (await nobody.ask("GET", "/metrics")).content.decode()
        [found] = re.findall(r"^chat_oldest_queued_seconds (\S+)$", text, re.M)
        return int(float(found))

    async def queue(session_id: str, hours: int) -> None:
        run_id = (await ada.say(session_id))["run_id"]
        queued_at = timezone.now() - timedelta(hours=hours)
        await Run.objects.filter(pk=run_id).aupdate(queued_at=queued_at)

    asking, other = await ada.new_session(), await ada.new_session()
    await ada.say(asking)
    await worker.ask(await worker.start(asking), Question("question", "Which order?"))
    await queue(asking, hours=9)
    assert await oldest() == 0, "a person has not answered yet"
    await ada.say(other)
    running = await worker.start(other)
    await queue(other, hours=8)
    await queue(await ada.new_session(), hours=7)
    assert await oldest() == 0, "one runs, and Ada may have one"
    await worker.finish(running, "done")
    assert await oldest() // 3600 == 8
