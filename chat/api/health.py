"""Whether the server lives, and whether it can work. For machines: nobody signs in."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache

import redis
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat.api.answers import Answer, Down
from chat.api.doors import Door
from chat.database import Pool
from chat.models import Worker
from chat.protocol.shapes import AliveData, CheckData, ReadyData

LIMIT_S = 2.0  # of each check
FRESH_S = 1.0  # how long an answer serves all who ask


class Alive(Door):
    signed_in = False

    async def get(self) -> Answer[AliveData]:
        """Answer while the process lives."""
        return Answer({"status": "ok"})


class Ready(Door):
    signed_in = False

    async def get(self) -> Answer[ReadyData] | Down[ReadyData]:
        """Tell whether it can work: degraded without Redis or a worker, down without the database."""
        found = await readiness.read()
        return Down(found) if found["status"] == "down" else Answer(found)


class Readiness:
    """What was found last, and the check under way: however many ask, one looks."""

    def __init__(self) -> None:
        self._found: ReadyData = {"status": "down", "checks": {}}
        self._found_at = -FRESH_S
        self._looking: asyncio.Task[ReadyData] | None = None

    async def read(self) -> ReadyData:
        if time.monotonic() - self._found_at < FRESH_S:
            return self._found
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not loop:
            self._looking = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._looking)  # one who hangs up must not end it for the others

    async def _look(self) -> ReadyData:
        names = {"database": _ask_database, "redis": _ask_redis, "workers": _count_workers}
        checks = dict(zip(names, await asyncio.gather(*map(_timed, names.values())), strict=True))
        status = "ok"
        if any(check["status"] != "ok" for check in checks.values()):
            status = "degraded" if checks["database"]["status"] == "ok" else "down"
        self._found, self._found_at = {"status": status, "checks": checks}, time.monotonic()
        return self._found


readiness = Readiness()


async def _timed(check: Callable[[], str]) -> CheckData:
    # Threads of their own: what they ask may hang, and neither they nor the others should wait for each other.
    asked = time.monotonic()
    try:
        answer: Awaitable[str] = _pool(check.__name__).run(check)
        detail, status = await asyncio.wait_for(answer, LIMIT_S), "ok"
    except TimeoutError:
        detail, status = f"no answer within {LIMIT_S:g} s", "down"
    except Exception as problem:  # whatever it is, it is the finding; its words may hold an address
        detail, status = type(problem).__name__, "down"
    if not detail:
        detail, status = "none is alive", "down"
    return {"status": status, "latency_ms": round((time.monotonic() - asked) * 1000, 1), "detail": detail}


@cache
def _pool(name: str) -> Pool:
    return Pool(f"health{name}", 1)


def _ask_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "it answers"


def _ask_redis() -> str:
    for url in dict.fromkeys([settings.REDIS_URL, *settings.CHAT_REDIS_SHARDS]):
        # Written, since one that is full, a replica, or without one, answers a PING and takes nothing.
        _redis(url).set("chat:ready", "", px=1000)
    return "it answers"


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 1),
    )


def _count_workers() -> str:
    count = Worker.objects.alive().count()
    return f"{count} alive" if count else ""
