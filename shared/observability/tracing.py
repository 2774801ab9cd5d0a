"""Records spans if a collector is configured. Otherwise it does nothing, and the SDK is not even imported."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from shared.observability.spans import NONE, NOTHING, Attributes, Kind, Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's variables that turn tracing on. The SDK reads the others (headers, sampler, service name)."""

_off: Final = nullcontext(NOTHING)
_tracers: list[Tracer] = []


def start(process: str) -> None:
    """Turn tracing on for this process if the environment names a collector."""
    if any(os.environ.get(name) for name in ENDPOINTS):
        from shared.observability.exporting import OpenTelemetry  # noqa: PLC0415 - costs nothing without a collector

        _tracers.append(OpenTelemetry(f"vultus-{process}"))


def stop() -> None:
    """Send the remaining spans and turn tracing off."""
    while _tracers:
        _tracers.pop().close()


def span(
    name: str, *, parent: str | None = None, kind: Kind = "internal", attributes: Attributes = NONE
) -> AbstractContextManager[Span]:
    """Record the block as a span."""
    if not _tracers:
        return _off
    return _tracers[0].span(name, parent=parent, kind=kind, attributes=attributes)


def past(name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes = NONE) -> None:
    """Record a span that has already ended."""
    if _tracers:
        _tracers[0].past(name, parent=parent, begin=begin, end=end, attributes=attributes)
