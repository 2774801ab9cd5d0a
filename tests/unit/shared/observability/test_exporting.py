"""Spans by the real library, kept in memory: their parents, their times, and what is said of a failure."""

import threading

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.observability import exporting
from shared.observability.exporting import OpenTelemetry
from shared.observability.spans import NONE

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Kept:
    """A tracer whose spans stay here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        monkeypatch.setattr(exporting, "OTLPSpanExporter", lambda **_: self.exporter)
        self.tracer = OpenTelemetry("vultus-test")

    def spans(self) -> list[ReadableSpan]:
        self.tracer.close()
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(monkeypatch)


def test_a_span_goes_on_from_its_parent_and_says_where_it_is(kept: Kept) -> None:
    with kept.tracer.span("work", parent=CLIENT, kind="consumer", attributes={"a": 1, "b": None}) as span:
        span.name("better")
        span.note({"c": "d", "e": None})
        place = span.traceparent
    (found,) = kept.spans()
    assert found.parent is not None
    assert f"{found.parent.span_id:016x}" == "b7ad6b7169203331"
    assert place == f"00-0af7651916cd43dd8448eb211c80319c-{found.context.span_id:016x}-01"
    assert (found.name, dict(found.attributes or {})) == ("better", {"a": 1, "c": "d"})
    assert found.resource.attributes["service.name"] == "vultus-test"


def test_without_a_parent_a_trace_begins_whatever_runs_around_it(kept: Kept) -> None:
    with kept.tracer.span("outer", parent=CLIENT, kind="server", attributes=NONE):  # noqa: SIM117 - one in the other
        with kept.tracer.span("inner", parent=None, kind="internal", attributes=NONE):
            pass
    inner, outer = kept.spans()
    assert inner.parent is None
    assert inner.context.trace_id != outer.context.trace_id


def test_a_failure_is_told_by_its_class_and_not_by_its_words(kept: Kept) -> None:
    with (
        pytest.raises(ValueError, match="secret"),
        kept.tracer.span("work", parent=None, kind="internal", attributes=NONE),
    ):
        raise ValueError("secret")  # noqa: EM101
    (found,) = kept.spans()
    assert (found.status.description, found.events) == ("ValueError", ())


def test_what_is_over_has_its_own_times_and_never_ends_before_it_begins(kept: Kept) -> None:
    kept.tracer.past("queue", parent=CLIENT, begin=100.5, end=101.0, attributes=NONE)
    kept.tracer.past("queue", parent=CLIENT, begin=100.5, end=100.0, attributes=NONE)
    assert [(span.start_time, span.end_time) for span in kept.spans()] == [
        (100_500_000_000, 101_000_000_000),
        (100_500_000_000, 100_500_000_000),
    ]


def test_a_collector_that_hangs_does_not_hold_the_end_of_the_process(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def hangs(_: object) -> SpanExportResult:
        gate.wait(20)
        return SpanExportResult.FAILURE

    monkeypatch.setattr(kept.exporter, "export", hangs)
    monkeypatch.setattr(exporting, "GRACE", 0.05)
    with kept.tracer.span("work", parent=None, kind="internal", attributes=NONE):
        pass
    kept.tracer.close()
    gate.set()
