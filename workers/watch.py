"""What an operator sees of a worker: metrics at a port of its own, and each run's ids in its lines and spans."""

import logging
import time
from collections.abc import Coroutine
from typing import Any

from django.conf import settings
from prometheus_client import start_http_server
from structlog.contextvars import bind_contextvars, clear_contextvars

from chat import metrics, tracing
from chat.models import Run

log = logging.getLogger(__name__)


def serve_metrics() -> None:
    """Answer whoever asks for this process's metrics, from a thread. A taken port costs the metrics and no more."""
    if not settings.CHAT_METRICS_PORT:
        return
    try:
        start_http_server(settings.CHAT_METRICS_PORT, settings.CHAT_METRICS_HOST, metrics.registry)
    except OSError as problem:
        log.error(
            "no metrics: %s:%d cannot be opened (%s)",
            settings.CHAT_METRICS_HOST,
            settings.CHAT_METRICS_PORT,
            problem.strerror,
        )


async def followed(run: Run, work: Coroutine[Any, Any, None]) -> None:
    """Do a run's work with its ids in every line, as a part of the trace in which it was asked for."""
    clear_contextvars()
    bind_contextvars(session_id=str(run.session_id), run_id=str(run.pk), user_id=str(run.user_id))
    with tracing.begin("run", run.traceparent, session_id=str(run.session_id), run_id=str(run.pk), attempt=run.attempt):
        if run.attempt == 1 and run.started_at is not None:
            tracing.past("queued", run.queued_at, run.started_at)
        log.log(logging.INFO if run.attempt > 1 else logging.DEBUG, "begins attempt %d", run.attempt)
        begun = time.monotonic()
        await work
        log.info("is done with attempt %d after %.3f s", run.attempt, time.monotonic() - begun)
