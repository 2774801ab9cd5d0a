"""Spans by OpenTelemetry's library, sent as OTLP over HTTP; imported only where tracing is on."""

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
"""Seconds that a stopping process gives its collector: spans are worth less than a quick restart."""


class OpenTelemetry:
    """A tracer whose spans a thread sends every few seconds, and drops where the collector is away for long."""

    def __init__(self, process: str) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", process)})
        # Not at exit: how long that may take is ours to say, in `close`.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=_direct())))
        self._tracer = self._provider.get_tracer("vultus")

    @contextmanager
    def span(self, name: str, *, parent: str | None, kind: Kind, attributes: Attributes) -> Iterator[Span]:
        """The time of the block; an exception that leaves it fails the span, by the name of its class alone."""
        begun = self._tracer.start_span(name, context=_context(parent), kind=KINDS[kind], attributes=_known(attributes))
        span = _Span(begun)
        try:
            yield span
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            begun.end()

    def past(self, name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes) -> None:
        """Something that is over."""
        span = self._tracer.start_span(
            name, context=_context(parent), attributes=_known(attributes), start_time=_nanoseconds(begin)
        )
        span.end(_nanoseconds(max(begin, end)))

    def close(self) -> None:
        """Send what there is; a collector that hangs is not waited for."""
        last = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(GRACE)


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(_known(attributes))

    def fail(self, word: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, word))


def _direct() -> requests.Session:
    """A session that goes through no proxy of the environment; only OpenTelemetry's own variables count."""
    session = requests.Session()
    session.trust_env = False
    return session


def _context(parent: str | None) -> Context:
    """Where the parent is; explicitly nowhere without one, whatever else this thread does."""
    carrier = {} if parent is None else {"traceparent": parent}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
