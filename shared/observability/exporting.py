"""Creates spans with the OpenTelemetry SDK and sends them as OTLP over HTTP. Imported only if tracing is on."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import requests
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.observability.spans import Attributes, Kind, Span

KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
GRACE: Final = 3.0
"""Seconds that a stopping process waits for its collector: a quick restart matters more than the last spans."""


class OpenTelemetry:
    """A tracer whose spans a thread sends every few seconds. If the collector stays unavailable, spans are dropped."""

    def __init__(self, process: str) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", process)})
        # No shutdown at exit: `close` limits how long it may take.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=_direct())))
        self._tracer = self._provider.get_tracer("vultus")

    @contextmanager
    def span(self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes) -> Iterator[Span]:
        """Record the block as a span. An exception fails the span with the name of its class, without its message."""
        started = self._tracer.start_span(
            name, context=_context(parent), kind=KINDS[kind], attributes=_without_none(attributes)
        )
        span = _Span(started)
        try:
            yield span
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            started.end()

    def past(self, name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes) -> None:
        """Record a span that has already ended."""
        span = self._tracer.start_span(
            name, context=_context(parent), attributes=_without_none(attributes), start_time=_nanoseconds(begin)
        )
        span.end(_nanoseconds(max(begin, end)))

    def close(self) -> None:
        """Send the remaining spans, waiting a short time at most for the collector."""
        last = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(GRACE)


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(_without_none(attributes))

    def fail(self, word: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, word))


def _direct() -> requests.Session:
    """Return an HTTP session that ignores the proxy variables of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def _context(parent: str | None) -> Context:
    """Return the parent's context, or an empty one, so that the current span of the thread is never inherited."""
    carrier = {} if parent is None else {"traceparent": parent}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _without_none(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
