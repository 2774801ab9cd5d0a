"""Tracing is off unless the environment names a collector. If it is off, spans do nothing."""

import pytest

from shared.observability import exporting, tracing
from shared.observability.spans import NOTHING


class RecordingTracer:
    """The part of a tracer that turning it on and off needs."""

    tracers: list["RecordingTracer"]

    def __init__(self, process: str) -> None:
        self.process = process
        self.closed = False
        self.tracers.append(self)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def tracers(monkeypatch: pytest.MonkeyPatch) -> list[RecordingTracer]:
    RecordingTracer.tracers = []
    monkeypatch.setattr(exporting, "OpenTelemetry", RecordingTracer)
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    return RecordingTracer.tracers


@pytest.mark.parametrize("empty", [None, ""])
def test_without_a_collector_no_tracer_is_created(
    tracers: list[RecordingTracer], monkeypatch: pytest.MonkeyPatch, empty: str | None
) -> None:
    if empty is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", empty)
    tracing.start("test")
    assert tracers == []
    with tracing.span("work", attributes={"a": 1}) as span:
        span.name("other")
        span.note({"b": 2})
        span.fail("why")
    assert (span is NOTHING, span.traceparent) == (True, None)
    tracing.past("over", parent=None, begin=0, end=1)
    tracing.stop()


@pytest.mark.parametrize("name", tracing.ENDPOINTS)
def test_either_variable_turns_tracing_on_and_stop_closes_it(
    tracers: list[RecordingTracer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:4318")
    tracing.start("test")
    tracing.stop()
    assert [(tracer.process, tracer.closed) for tracer in tracers] == [("vultus-test", True)]
    assert tracing.span("work").__enter__() is NOTHING
