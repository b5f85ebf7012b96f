"""Whether the server lives and can work, as it says itself."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from chat.api import health
from chat.models import Worker
from tests.api.conftest import Caller
from tests.servers import Redis


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "readiness", health.Readiness())
    monkeypatch.setattr(health, "FRESH_S", 0.0)


async def _alive(seconds: float = 60) -> None:
    await Worker.objects.acreate(name="one", lease_until=timezone.now() + timedelta(seconds=seconds))


def _statuses(found: Any) -> list[str]:
    assert set(found) == {"status", "checks"}
    for check in found["checks"].values():
        assert set(check) == {"status", "latency_ms", "detail"}
        assert check["latency_ms"] >= 0
    return [found["status"], *(found["checks"][name]["status"] for name in ("database", "redis", "workers"))]


async def test_it_lives_and_is_ready_for_everybody_to_see(nobody: Caller) -> None:
    await _alive()
    for slash in ("", "/"):
        assert await nobody.get(f"/healthz{slash}") == {"status": "ok"}
        assert _statuses(await nobody.get(f"/readyz{slash}")) == ["ok", "ok", "ok", "ok"]


async def test_without_a_living_worker_it_is_degraded(nobody: Caller) -> None:
    await _alive(seconds=-60)
    assert _statuses(await nobody.get("/readyz")) == ["degraded", "ok", "ok", "down"]


async def test_without_redis_it_is_degraded(nobody: Caller, redis_server: Redis) -> None:
    await _alive()
    redis_server.kill()
    assert _statuses(await nobody.get("/readyz")) == ["degraded", "ok", "down", "ok"]
    redis_server.start()
    assert _statuses(await nobody.get("/readyz")) == ["ok", "ok", "ok", "ok"]


async def test_with_a_frozen_redis_the_answer_still_comes(nobody: Caller, redis_server: Redis) -> None:
    await _alive()
    redis_server.freeze()
    begun = time.monotonic()
    assert _statuses(await nobody.get("/readyz")) == ["degraded", "ok", "down", "ok"]
    assert time.monotonic() - begun < health.LIMIT_S + 1


async def test_with_a_redis_that_answers_and_takes_nothing_it_is_degraded(nobody: Caller, redis_server: Redis) -> None:
    await _alive()
    redis_server.client().config_set("min-replicas-to-write", "1")
    assert _statuses(await nobody.get("/readyz")) == ["degraded", "ok", "down", "ok"]
    redis_server.client().config_set("min-replicas-to-write", "0")
    assert _statuses(await nobody.get("/readyz")) == ["ok", "ok", "ok", "ok"]


async def test_without_a_database_it_is_down_and_tells_no_address(
    nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _ask_database() -> str:
        raise OperationalError("could not connect to db.internal:5432 as chat")

    monkeypatch.setattr(health, "_ask_database", _ask_database)
    found = await nobody.get("/readyz", 503)
    assert _statuses(found)[:2] == ["down", "down"]
    assert "internal" not in str(found)
    assert await nobody.get("/healthz") == {"status": "ok"}


async def test_a_check_that_hangs_is_given_up_and_holds_up_nobody(
    nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _ask_database() -> str:
        time.sleep(0.6)
        return "at last"

    monkeypatch.setattr(health, "_ask_database", _ask_database)
    monkeypatch.setattr(health, "LIMIT_S", 0.3)
    asked = asyncio.create_task(nobody.get("/readyz", 503))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await nobody.get("/healthz")
    assert time.monotonic() - begun < 0.2
    assert _statuses(await asked)[:2] == ["down", "down"]


async def test_many_who_ask_at_once_make_one_check(nobody: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def _ask_database() -> str:
        asked.append(1)
        return "it answers"

    monkeypatch.setattr(health, "_ask_database", _ask_database)
    monkeypatch.setattr(health, "FRESH_S", 1.0)
    await asyncio.gather(*(nobody.get("/readyz") for _ in range(10)))
    await nobody.get("/readyz")
    assert len(asked) == 1
