"""Tracing is off unless the environment names a collector; off, a span is nothing, and costs nothing to ask for."""

import pytest

from shared.observability import exporting, tracing
from shared.observability.spans import NOTHING


class Remembering:
    """As much of a tracer as turning it on and off needs."""

    made: list["Remembering"]

    def __init__(self, process: str) -> None:
        self.process = process
        self.closed = False
        self.made.append(self)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Remembering]:
    Remembering.made = []
    monkeypatch.setattr(exporting, "OpenTelemetry", Remembering)
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    return Remembering.made


@pytest.mark.parametrize("empty", [None, ""])
def test_without_a_collector_nothing_is_made(
    made: list[Remembering], monkeypatch: pytest.MonkeyPatch, empty: str | None
) -> None:
    if empty is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", empty)
    tracing.start("test")
    assert made == []
    with tracing.span("work", attributes={"a": 1}) as span:
        span.name("other")
        span.note({"b": 2})
        span.fail("why")
    assert (span is NOTHING, span.traceparent) == (True, None)
    tracing.past("over", parent=None, begin=0, end=1)
    tracing.stop()


@pytest.mark.parametrize("name", tracing.ENDPOINTS)
def test_either_variable_turns_it_on_and_a_stop_sends_what_is_left(
    made: list[Remembering], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:4318")
    tracing.start("test")
    tracing.stop()
    assert [(tracer.process, tracer.closed) for tracer in made] == [("vultus-test", True)]
    assert tracing.span("work").__enter__() is NOTHING
