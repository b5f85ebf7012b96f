"""What is counted and measured, by name: the one list. `docs/operations/monitoring.md` explains each.

A process serves its own numbers: web at `/metrics`, a worker at a port of its own. Labels have few values: no ids, no
names of people. What happens for each delta is counted by a plain integer on the one event loop that sees it; the
library's counters take a lock, which is little for everything else and much there.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()
ProcessCollector(registry=registry)

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)
MANY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

NAMES_MAX = 50  # of language models told apart


class Tally(Collector):
    """A counter of one event loop: whoever counts adds to `n`."""

    __slots__ = ("n", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text, self.n = name, text, 0
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self.name, self.text, value=self.n)


class Reading(Collector):
    """A gauge that is asked when somebody looks: nothing until `read_by` says whom to ask, or where it raises."""

    def __init__(self, name: str, text: str, label: str = "") -> None:
        self.name, self.text, self.label = name, text, label
        self._ask: list[Callable[[], float | Mapping[str, float] | None]] = []
        registry.register(self)

    def read_by(self, ask: Callable[[], float | Mapping[str, float] | None]) -> None:
        """A labelled reading may be asked of several; of another one the last counts."""
        self._ask = [*self._ask, ask] if self.label else [ask]

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self.name, self.text)]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self.name, self.text, labels=[self.label] if self.label else [])
        for ask in self._ask:
            found = ask()
            for label, value in found.items() if isinstance(found, Mapping) else [("", found)]:
                if value is not None:
                    family.add_metric([label] if self.label else [], value)
        yield family


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)


# --- web: doors -------------------------------------------------------------------------------------------------------
API_RESPONSE = _histogram(
    "chat_api_response_seconds", "From an HTTP request to the start of its answer.", QUICK, "method", "door", "status"
)
COMMAND = _histogram("chat_command_seconds", "From a socket's frame to the ok or error that answers it.", QUICK, "type")
DISPLAY = _histogram("chat_message_display_seconds", "From a message's arrival to the first piece shown.", SLOW)
ERRORS = _counter("chat_errors_total", "Errors that clients were told.", "surface", "code")
SOCKETS = Reading("chat_sockets", "Open sockets.")
SOCKETS_OPENED = Tally("chat_sockets_opened_total", "Sockets that were let in.")
SOCKETS_CLOSED = _counter("chat_sockets_closed_total", "Sockets that ended, and streams, by close code.", "code")
SOCKETS_BEHIND = Tally("chat_sockets_behind_total", "Times that a socket or a stream read too slowly and began again.")

# --- web: the relay ---------------------------------------------------------------------------------------------------
HUBS = Reading("chat_hubs", "Sessions that somebody watches here.")
VIEWERS = Reading("chat_viewers", "Sockets' subscriptions and requests that wait.")
DELTAS_DELIVERED = Tally("chat_deltas_delivered_total", "Deltas handed to viewers, one for each.")
DELTAS_MERGED = Tally("chat_deltas_merged_total", "Deltas that left a socket's queue inside of an earlier one.")
DELTAS_DROPPED = Tally("chat_deltas_dropped_total", "Deltas that came twice or too late.")
HUB_RESYNCS = Tally("chat_hub_resyncs_total", "Times that a hub read the table because something was missing.")
LAYER_GAPS = Tally("chat_layer_gaps_total", "Groups that may have missed something while Redis was away.")

# --- the log ----------------------------------------------------------------------------------------------------------
EVENTS = _counter("chat_events_total", "Durable events, by type.", "type")
SESSIONS = _counter("chat_sessions_total", "Sessions that were begun.")
SESSION_MESSAGES = _histogram("chat_session_messages", "People's messages in a session when it ended.", MANY)
RUNS = _counter("chat_runs_total", "Runs that ended.", "outcome", "code")
RESTARTS = _counter("chat_run_restarts_total", "Runs that were put back.", "reason")
INTERRUPTS = _counter("chat_interrupts_total", "Questions to people that were settled, by how.", "status")
RUN_WAIT = _histogram("chat_run_wait_seconds", "From a run's place in the queue to its first claim.", SLOW)
ANSWER = _histogram("chat_answer_seconds", "From a run's claim to its end.", SLOW, "outcome")

# --- the work ---------------------------------------------------------------------------------------------------------
FIRST_TOKEN = _histogram("chat_first_token_seconds", "From a run's claim to its first piece.", SLOW)
LLM_CALLS = _counter("chat_llm_calls_total", "Calls of language models.", "llm")
LLM_FAILURES = _counter("chat_llm_failures_total", "Calls that gave no answer.", "llm", "code")
LLM_FIRST_BYTE = _histogram("chat_llm_first_byte_seconds", "From a call to its first piece.", SLOW, "llm")
LLM_CALL = _histogram("chat_llm_call_seconds", "From a call to its end.", SLOW, "llm")
LLM_TOKENS = _counter("chat_llm_tokens_total", "Tokens, as the language models count them.", "llm", "kind")
TOOL_CALLS = _counter("chat_tool_calls_total", "Calls of tools that are over.", "tool", "status")
TOOL_CALL = _histogram("chat_tool_call_seconds", "From a call of a tool to its return.", SLOW, "tool")
DELTAS_PUBLISHED = Tally("chat_deltas_published_total", "Deltas that Redis took, pieces joined.")
DELTAS_REFUSED = _counter("chat_deltas_refused_total", "Deltas that Redis did not take.", "reason")
RUNS_HELD = Reading("chat_runs_held", "Runs in this worker.")
LEASE_AGE = Reading("chat_lease_age_seconds", "Since this worker renewed its lease.")
SWEEPS = _counter("chat_sweeps_total", "Looks at the tables for what was forgotten, or is old.", "what", "result")
SWEPT = _counter("chat_swept_total", "What the sweep rescued or tidied up.", "what")

# --- both -------------------------------------------------------------------------------------------------------------
LOOP_LAG = Reading("chat_loop_lag_seconds", "The longest that the event loop did not turn, of the last half minute.")
OUTBOX = Reading("chat_outbox_length", "What waits to be published.")
OUTBOX_DROPPED = Tally("chat_outbox_dropped_total", "What was not published, since Redis was away.")
BREAKER = Reading("chat_redis_breaker_open", "Whether Redis is left alone for a moment, 1 or 0.", "of")
DATABASE_CALLS = Reading("chat_database_calls", "Database work that runs or waits for a thread.", "pool")
DATABASE_THREADS = Reading("chat_database_threads", "Database threads that a process may have.", "pool")

# --- of the whole server, as the database tells it: each web process tells the same -----------------------------------
READY = Reading("chat_ready", "Whether it answers, 1 or 0.", "check")
RUNS_QUEUED = Reading("chat_runs_queued", "Runs that wait.")
RUNS_RUNNING = Reading("chat_runs_running", "Runs in progress.")
OLDEST_QUEUED = Reading("chat_oldest_queued_seconds", "How long the oldest that could be taken has waited; 0 = none.")
INTERRUPTS_OPEN = Reading("chat_interrupts_open", "Questions that wait for people.")
OLDEST_INTERRUPT = Reading("chat_oldest_interrupt_seconds", "How long the oldest of them has waited; 0 = none.")
WORKERS = Reading("chat_workers", "Workers whose lease holds.")


# --- what needs more than a number ------------------------------------------------------------------------------------
_ENDS = {"run.succeeded": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled"}


def count_events(events: Iterable[Any]) -> None:
    """Count what a commit has told: rows of `Event`."""
    for event in events:
        kind, data = event.type, event.data
        EVENTS.labels(kind).inc()
        if kind == "session.created":
            SESSIONS.inc()
        elif kind == "run.restarted":
            RESTARTS.labels(data["reason"]).inc()
        elif kind == "interrupt.resolved":
            INTERRUPTS.labels(data["status"]).inc()
        elif kind == "run.started":
            if data["attempt"] == 1:
                RUN_WAIT.observe(_between(data["queued_at"], data["started_at"]))
        elif outcome := _ENDS.get(kind):
            RUNS.labels(outcome, (data["error"] or {}).get("code", "")).inc()
            if data["started_at"]:
                ANSWER.labels(outcome).observe(_between(data["started_at"], data[f"{outcome}_at"]))


def _between(begun: str, ended: str) -> float:
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds())


def first_token(claimed_at: datetime | None) -> None:
    if claimed_at is not None:
        FIRST_TOKEN.observe(max(0.0, time.time() - claimed_at.timestamp()))


class Stopwatches:
    """Times from here to there, by run. Bounded: what nobody stops is forgotten."""

    def __init__(self, histogram: Histogram, most: int = 10_000) -> None:
        self._histogram, self._most = histogram, most
        self._running: dict[str, float] = {}

    def start(self, run_id: object, at: float) -> None:
        self._running[str(run_id)] = at
        if len(self._running) > self._most:
            del self._running[next(iter(self._running))]

    def stop(self, run_id: str) -> None:
        if (at := self._running.pop(run_id, None)) is not None:
            self._histogram.observe(time.monotonic() - at)


display = Stopwatches(DISPLAY)

_llms: set[str] = set()


def llm_label(name: str) -> str:
    """A language model's name without its options, as long as there are few: an agent may be given any."""
    name = name.partition("?")[0]
    if name not in _llms:
        if len(_llms) >= NAMES_MAX:
            return "other"
        _llms.add(name)
    return name


class LoopLag:
    """Looks twice a second whether an event loop turns."""

    EVERY_S, KEPT = 0.5, 60

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=self.KEPT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = 0.0

    def watch(self) -> None:
        """Begin, on the loop. Again is fine."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._due = loop, time.monotonic() + self.EVERY_S
            loop.call_later(self.EVERY_S, self._look, loop)
            LOOP_LAG.read_by(self.longest)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        now = time.monotonic()
        self._lags.append(now - self._due)
        self._due = now + self.EVERY_S
        loop.call_later(self.EVERY_S, self._look, loop)

    def longest(self) -> float:
        """Also of a loop that stands still just now."""
        return max(0.0, time.monotonic() - self._due, *self._lags)


loop_lag = LoopLag()
