"""Which trace a piece of work belongs to: an id in every log line and run, and spans where a collector is named.

Spans are made by OpenTelemetry, through the tracer that the wiring hands over; without one nothing of it is loaded, and
the ids still lead from a request to the worker's lines. What crosses processes is a W3C traceparent, in the run's row:
the doorbell may be lost, and the row is found all the same. Attributes are ids and names, never what anybody wrote.
"""

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ParamSpec, Protocol, TypeVar

from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars

P = ParamSpec("P")
T = TypeVar("T")

LENGTH = 55  # of a traceparent
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_tracer: Any = None  # OpenTelemetry's


def use(tracer: Any) -> None:
    """Make spans from now on (None: no more)."""
    global _tracer  # noqa: PLW0603 - one a process
    _tracer = tracer


class Span(Protocol):
    def end(self) -> None: ...


class _NoSpan:
    def end(self) -> None:
        pass


NO_SPAN = _NoSpan()


def traceparent() -> str | None:
    """Where we are, for who goes on elsewhere; None outside of any trace."""
    if _tracer is not None:
        from opentelemetry import trace

        at = trace.get_current_span().get_span_context()
        if at.is_valid:
            return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"
    trace_id = get_contextvars().get("trace_id")
    return f"00-{trace_id}-{trace_id[:16]}-00" if trace_id else None


@contextmanager
def begin(name: str, parent: str | None = None, **attributes: str | int) -> Iterator[None]:
    """A piece of work that a request, a command or a claimed run starts: one span, and a trace id for its log lines.

    `parent` is a traceparent from elsewhere, and may be nonsense.
    """
    found = _TRACEPARENT.fullmatch(parent or "")
    if _tracer is None:
        with bound_contextvars(trace_id=found[1] if found else os.urandom(16).hex()):
            yield
        return
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    here = context.Context()
    if found:
        here = TraceContextTextMapPropagator().extract({"traceparent": found[0]}, here)
    kind = trace.SpanKind.CONSUMER if parent else trace.SpanKind.SERVER
    with (
        _tracer.start_as_current_span(
            name, here, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span,
        bound_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}"),
    ):
        yield


def adopt(parent: str | None) -> None:
    """Name in the log lines a request's trace: of the span that the web server's middleware began, or its parent's."""
    here = _TRACEPARENT.fullmatch(traceparent() or parent or "")
    bind_contextvars(trace_id=here[1] if here else os.urandom(16).hex())


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A part of the work."""
    if _tracer is None:
        yield
        return
    # An exception's words stay out: they may be a provider's, or a row.
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield
        except Exception as problem:
            _fail(made, type(problem).__name__)
            raise


def _fail(made: Any, what: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    made.set_attribute("error.type", what)
    made.set_status(Status(StatusCode.ERROR))


def spanned(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make each call of a function a span."""

    def decorate(fn: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(fn)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if _tracer is None:
                return fn(*args, **kwargs)
            with span(name):
                return fn(*args, **kwargs)

        return run

    return decorate


def loose(name: str, **attributes: str | int) -> Span:
    """A part of the work that is not entered: of an async generator, which may be closed from elsewhere. End it."""
    made: Span = NO_SPAN if _tracer is None else _tracer.start_span(name, attributes=attributes)
    return made


def failed(made: Span, code: str) -> None:
    """Say that a loose span's work failed, by the code that people are told."""
    if made is not NO_SPAN:
        _fail(made, code)


def past(name: str, begun: datetime, ended: datetime) -> None:
    """A span for what is over: a wait that no process held."""
    if _tracer is not None:
        made = _tracer.start_span(name, start_time=int(begun.timestamp() * 1e9))
        made.end(end_time=int(max(begun, ended).timestamp() * 1e9))
