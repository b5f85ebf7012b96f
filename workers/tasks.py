"""What Celery may call, one line each, and what a worker does when it starts and ends."""

from contextlib import suppress

import django
from django.conf import settings

django.setup()

from celery import shared_task
from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from chat import loaded
from workers import jobs, sweep, watch
from workers.doorbells import Doorbell
from workers.llm.base import LLMError
from workers.runner import llm_named
from workers.runtime import runtime
from workers.tools import load_tools


@shared_task(name="run_agent", base=Doorbell)
def run_agent(run_id: str, session_id: str | None = None) -> None:
    runtime.ring(run_id, session_id)


@shared_task(name="summarise_session", base=Doorbell)
def summarise_session(session_id: str, run_id: str | None = None) -> None:
    runtime.spawn(jobs.summarise_session(session_id, run_id))


@shared_task(name="title_session", base=Doorbell)
def title_session(run_id: str) -> None:
    runtime.spawn(jobs.title_session(run_id))


@shared_task(name="prune")
def prune() -> None:
    sweep.prune()


@worker_init.connect
def start(**_: object) -> None:
    """Begin here and not at worker_ready: that never comes without a broker."""
    # Their packages take seconds to load: on the loop that would cost the lease.
    try:
        llm_named(settings.CHAT_LLM)
    except LLMError as problem:
        raise SystemExit(f"CHAT_LLM cannot be used. {problem.__cause__}") from None
    for name in settings.CHAT_LLMS:
        with suppress(LLMError):  # told in the log, and to whoever asks for it: the others are well
            llm_named(name)
    load_tools()  # what is broken of them is told in the log, too
    loaded.settle()
    runtime.measure()
    watch.serve_metrics()
    runtime.start()


@worker_shutting_down.connect
def drain(**_: object) -> None:
    runtime.drain()


@worker_shutdown.connect
def end(**_: object) -> None:
    runtime.wait_drained()
