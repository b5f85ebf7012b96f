"""What this process counts and measures, for Prometheus, and what the database says of the whole server."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Min
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from prometheus_client.exposition import choose_encoder

from chat import metrics
from chat.actions import claims
from chat.api.answers import Text, raises
from chat.api.doors import Door
from chat.api.health import readiness
from chat.database import Pool
from chat.errors import NotFound, Unavailable
from chat.models import Interrupt, Run, Worker

log = logging.getLogger(__name__)

FRESH_S = 5.0  # how long an answer of the database serves
LIMIT_S = 2.0
LOOPBACK = ("127.0.0.1", "::1")
FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


class Metrics(Door):
    signed_in = False

    @raises(NotFound)
    async def get(self) -> Text:
        """Give this process's numbers, in Prometheus' format, to the operator alone."""
        if not may_read(self.request):
            raise NotFound
        await table.look()
        encode, content_type = choose_encoder(self.request.headers.get("Accept", ""))
        # Not in the thread that asks the table: that one may hang, and these numbers are wanted just then.
        text = await asyncio.get_running_loop().run_in_executor(_encoder(), encode, metrics.registry)
        return Text(text, content_type=content_type)


def may_read(request: HttpRequest) -> bool:
    """Whoever has the operator's token; on somebody's own machine also any program there."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if settings.CHAT_METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.CHAT_METRICS_TOKEN)
    # Behind a proxy everybody comes from there.
    is_near = request.META.get("REMOTE_ADDR") in LOOPBACK and not any(name in request.headers for name in FORWARDED)
    return settings.LOCAL and is_near


class Table:
    """The numbers of the whole server as they were read last. Without a database they are missing, not old."""

    def __init__(self) -> None:
        self._found: dict[str, float] = {}
        self._found_at = -FRESH_S
        self._ready: dict[str, float] = {}

    async def look(self) -> None:
        checks = (await readiness.read())["checks"]
        self._ready = {name: float(check["status"] == "ok") for name, check in checks.items()}
        if time.monotonic() - self._found_at < FRESH_S:
            return
        try:
            async with asyncio.timeout(LIMIT_S):
                found = await _pool().run(_ask_table)
        except (DatabaseError, Unavailable, TimeoutError) as problem:
            log.warning("the table cannot be read: %s", type(problem).__name__)
            self._found = {}
        else:
            self._found, self._found_at = found, time.monotonic()

    def ready(self) -> dict[str, float]:
        return self._ready

    def reader(self, name: str) -> Any:
        return lambda: self._found.get(name)


def _ask_table() -> dict[str, float]:
    open_runs = Run.objects.filter(status__in=(Run.Status.QUEUED, Run.Status.RUNNING))
    counts = dict(open_runs.values_list("status").annotate(Count("pk")))
    since = claims.claimable_runs().aggregate(since=Min("queued_at"))["since"]
    asked = Interrupt.objects.open().aggregate(count=Count("pk"), since=Min("created_at"))
    return {
        "queued": counts.get(Run.Status.QUEUED, 0),
        "running": counts.get(Run.Status.RUNNING, 0),
        "oldest": _age_s(since) if since else 0,
        "asked": asked["count"],
        "oldest_asked": _age_s(asked["since"]) if asked["since"] else 0,
        "workers": Worker.objects.alive().count(),
    }


def _age_s(since: datetime) -> float:
    return max(0.0, (timezone.now() - since).total_seconds())


@cache
def _pool() -> Pool:
    return Pool("metrics", 1)


@cache
def _encoder() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="metrics")


table = Table()
metrics.READY.read_by(table.ready)
metrics.RUNS_QUEUED.read_by(table.reader("queued"))
metrics.RUNS_RUNNING.read_by(table.reader("running"))
metrics.OLDEST_QUEUED.read_by(table.reader("oldest"))
metrics.INTERRUPTS_OPEN.read_by(table.reader("asked"))
metrics.OLDEST_INTERRUPT.read_by(table.reader("oldest_asked"))
metrics.WORKERS.read_by(table.reader("workers"))
for code in ("4408", "4429"):  # alerts watch these: Prometheus sees no rise in one that first appears at 12
    metrics.SOCKETS_CLOSED.labels(code)
