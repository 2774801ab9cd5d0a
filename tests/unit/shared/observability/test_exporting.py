"""Spans of the real SDK, exported to memory: parents, times and failures."""

import threading

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.observability import exporting
from shared.observability.exporting import OpenTelemetry
from shared.observability.spans import NONE

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class InMemory:
    """A tracer that exports its spans to memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        monkeypatch.setattr(exporting, "OTLPSpanExporter", lambda **_: self.exporter)
        self.tracer = OpenTelemetry("vultus-test")

    def spans(self) -> list[ReadableSpan]:
        self.tracer.close()
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    return InMemory(monkeypatch)


def test_a_span_continues_its_parent_and_has_a_traceparent(exported: InMemory) -> None:
    with exported.tracer.span("work", parent=CLIENT, kind="consumer", attributes={"a": 1, "b": None}) as span:
        span.name("better")
        span.note({"c": "d", "e": None})
        traceparent = span.traceparent
    (finished,) = exported.spans()
    assert finished.parent is not None
    assert f"{finished.parent.span_id:016x}" == "b7ad6b7169203331"
    assert traceparent == f"00-0af7651916cd43dd8448eb211c80319c-{finished.context.span_id:016x}-01"
    assert (finished.name, dict(finished.attributes or {})) == ("better", {"a": 1, "c": "d"})
    assert finished.resource.attributes["service.name"] == "vultus-test"


def test_a_span_without_parent_starts_a_trace_even_inside_another_span(exported: InMemory) -> None:
    with exported.tracer.span("outer", parent=CLIENT, kind="server", attributes=NONE):  # noqa: SIM117 - nested on purpose
        with exported.tracer.span("inner", parent=None, kind="internal", attributes=NONE):
            pass
    inner, outer = exported.spans()
    assert inner.parent is None
    assert inner.context.trace_id != outer.context.trace_id


def test_a_failure_is_recorded_by_class_without_its_message(exported: InMemory) -> None:
    with (
        pytest.raises(ValueError, match="secret"),
        exported.tracer.span("work", parent=None, kind="internal", attributes=NONE),
    ):
        raise ValueError("secret")  # noqa: EM101
    (finished,) = exported.spans()
    assert (finished.status.description, finished.events) == ("ValueError", ())


def test_a_past_span_keeps_its_times_and_never_ends_before_its_start(exported: InMemory) -> None:
    exported.tracer.past("queue", parent=CLIENT, begin=100.5, end=101.0, attributes=NONE)
    exported.tracer.past("queue", parent=CLIENT, begin=100.5, end=100.0, attributes=NONE)
    assert [(span.start_time, span.end_time) for span in exported.spans()] == [
        (100_500_000_000, 101_000_000_000),
        (100_500_000_000, 100_500_000_000),
    ]


def test_a_hanging_collector_does_not_delay_the_shutdown(exported: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def hangs(_: object) -> SpanExportResult:
        gate.wait(20)
        return SpanExportResult.FAILURE

    monkeypatch.setattr(exported.exporter, "export", hangs)
    monkeypatch.setattr(exporting, "GRACE", 0.05)
    with exported.tracer.span("work", parent=None, kind="internal", attributes=NONE):
        pass
    exported.tracer.close()
    gate.set()
