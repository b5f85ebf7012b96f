"""OpenTelemetry's side of traces: loaded only where OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

All else is set by OpenTelemetry's own variables (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS …).
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from chat import tracing

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

# Its defaults would hold up the end of a process for ten seconds where the collector is away.
PATIENCE_S = "2"
PROBES = "/healthz,/readyz,/metrics,/static/"


def is_asked_for() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip())


def begin(part: str) -> None:
    """Send the spans of this process to the collector, if there is one."""
    if not is_asked_for():
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", f"chat-{part}")
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", PATIENCE_S)
    from opentelemetry import propagate, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    propagate.set_global_textmap(TraceContextTextMapPropagator())  # and no baggage: that is content
    tracing.use(trace.get_tracer("chat"))


def traced(application: Application) -> Application:
    """Make each HTTP request a span, if there is a collector. Its query string is kept from it."""
    if not is_asked_for():
        return application
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await application(scope["chat.asked"], receive, send)

    spans: Any = OpenTelemetryMiddleware(inner, excluded_urls=PROBES, exclude_spans=["receive", "send"])

    async def outer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await spans({**scope, "query_string": b"", "chat.asked": scope}, receive, send)

    return outer
