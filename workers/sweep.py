"""The sweep: finds what died or was forgotten, in every worker process; any number may run and none must."""

import logging
import random
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from chat import metrics, stream
from chat.actions import attempts, audit, claims, interrupts, logins, tickets, workers
from chat.actions.usage import Spending
from chat.database import let_go
from chat.models import Run
from chat.outbox import outbox
from workers.bill import llms_of, price, saved, seconds_of
from workers.llm.base import Spent, estimate_tokens
from workers.tidy import Tidying

if TYPE_CHECKING:
    from workers.runtime import Runtime

log = logging.getLogger(__name__)

HOLD_OFF_S = 4.0  # after a database error: its restart must not look like the death of every worker
STUCK_S = 120.0  # more than the time that a run has: it should have ended itself
OVERDUE_S = 0.3  # a doorbell takes milliseconds


def sweep_forever(runtime: "Runtime") -> None:
    _forever(runtime, "sweep", lambda: sweep(runtime))


def tidy_forever(runtime: "Runtime") -> None:
    """In a thread of its own: to delete a long session takes time, in which a dead worker's answers would wait."""
    _forever(runtime, "tidying", Tidying().look)


def _forever(runtime: "Runtime", name: str, look: Callable[[], None]) -> None:
    while not runtime.draining:
        time.sleep(settings.CHAT_SWEEP_S * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
        try:
            look()
            metrics.SWEEPS.labels(name, "done").inc()
        except Error as problem:
            metrics.SWEEPS.labels(name, "failed").inc()
            log.warning("the %s failed: %s", name, type(problem).__name__)
            let_go()
            time.sleep(HOLD_OFF_S)
        except Exception:
            metrics.SWEEPS.labels(name, "failed").inc()
            log.exception("the %s failed", name)
        finally:
            connection.close_if_unusable_or_obsolete()


def sweep(runtime: "Runtime") -> None:
    """Put back runs whose worker is gone, settle what nobody answered, and look at sessions that nobody came for.

    While Redis is away every doorbell is lost, and this look at the table is how runs start.
    """
    if not runtime.holds_lease:
        return  # whoever slept itself, or could not reach the database, cannot judge who is dead
    for run in attempts.lost_runs():
        if _put_back(run):
            metrics.SWEPT.labels("lost").inc()
            log.warning("run %s lost its worker in attempt %s", run.pk, run.attempt)
    for run in attempts.stuck_runs(STUCK_S, lambda run_limit: seconds_of(run_limit) or inf):
        if _put_back(run, stuck=True):
            metrics.SWEPT.labels("stuck").inc()
            log.error("run %s hung in attempt %s", run.pk, run.attempt)
    interrupts.expire_interrupts()
    for session_id in claims.claimable_sessions(0 if outbox.is_broken else OVERDUE_S):
        metrics.SWEPT.labels("waiting").inc()
        runtime.spawn(runtime.look_at(session_id))


def _put_back(run: Run, *, stuck: bool = False) -> bool:
    """Put a run back. One that cannot be must keep no sweep from the others, from what expires and from who waits."""
    try:
        return attempts.put_back(run, "worker_lost", *cost_of_shown(run), stuck=stuck) is not None
    except (OperationalError, InterfaceError):
        raise  # the database is away, for all of them
    except Exception as problem:  # not its words: they may be people's
        log.error("run %s cannot be put back: %s", run.pk, type(problem).__name__)
        return False


def cost_of_shown(run: Run) -> list[Spending]:
    """What a lost attempt cost as far as anybody can know: what it had shown. What it had read died with it."""
    texts = stream.take(run.session_id, run.pk, run.drafts, hold_ms=0) if run.drafts else {}
    shown = "".join((texts or {}).values()) or run.checkpoint
    spent = saved(run)
    if not shown:
        return spent
    llm = spent[-1].llm if spent else llms_of(run)[0]  # a fallback, where one was asked
    tokens = estimate_tokens(shown)
    cost = price(llm, Spent(0, tokens))
    known = next((one for one in spent if one.llm == llm), None)
    if known is None:
        return [*spent, Spending(llm, 0, tokens, cost)]
    known.output_tokens += tokens
    known.cost_usd = None if known.cost_usd is None or cost is None else known.cost_usd + cost
    return spent


def prune() -> None:
    """Forget what ran out: cosmetics."""
    from chat.actions import tokens  # loads what makes tokens, which no worker needs otherwise

    tickets.prune_tickets()
    tokens.prune_tokens()
    logins.prune_logins()
    audit.prune_audit()
    workers.prune_workers()
