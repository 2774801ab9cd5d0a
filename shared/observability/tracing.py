"""Spans of a trace, where a collector is named; elsewhere nothing, and what would make them is not even imported."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from shared.observability.spans import NONE, NOTHING, Attributes, Kind, Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables: either turns tracing on. The others (headers, sampler, name) its library reads."""

_off: Final = nullcontext(NOTHING)
_tracers: list[Tracer] = []


def start(process: str) -> None:
    """Turn tracing on for this process, where the environment names a collector."""
    if any(os.environ.get(name) for name in ENDPOINTS):
        from shared.observability.exporting import OpenTelemetry  # noqa: PLC0415 - a process without a collector does not pay for it

        _tracers.append(OpenTelemetry(f"vultus-{process}"))


def stop() -> None:
    """Send what is left, and turn it off."""
    while _tracers:
        _tracers.pop().close()


def span(
    name: str, *, parent: str | None = None, kind: Kind = "internal", attributes: Attributes = NONE
) -> AbstractContextManager[Span]:
    """The time of the block as a span."""
    if not _tracers:
        return _off
    return _tracers[0].span(name, parent=parent, kind=kind, attributes=attributes)


def past(name: str, *, parent: str | None, begin: float, end: float, attributes: Attributes = NONE) -> None:
    """A span of what is over."""
    if _tracers:
        _tracers[0].past(name, parent=parent, begin=begin, end=end, attributes=attributes)
