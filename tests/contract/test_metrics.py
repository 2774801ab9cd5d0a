"""Metrics follow Prometheus' conventions, are bounded, and are all documented."""

import re

from tests.contract.metrics import BEGIN, DOCUMENT, families, written

FAMILIES = families()
BOUNDED = {
    "method", "route", "status", "shard", "queue", "server", "operation", "code", "engine", "pack", "contract",
    "provider", "outcome", "priority", "stage", "result", "model", "answer", "reason",
}  # fmt: skip
"""Labels whose values the code or the operator bounds: never a job, a tenant, a client address or a message."""
UNITS = ("_seconds", "_bytes", "_total", "_info", "_jobs", "_rows", "_threads", "_workers", "_destinations", "_resting",
         "_deliveries", "_in_flight", "_in_progress", "_up", "_only", "_ok")  # fmt: skip


def test_the_document_holds_the_current_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert BEGIN in text
    assert text == written(), "run: python -m tests.contract.metrics"


def test_every_name_follows_the_conventions() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"vultus_[a-z]+(_[a-z]+)*", family.name)
        assert family.name.endswith(UNITS), family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name


def test_no_label_is_unbounded() -> None:
    assert {label for family in FAMILIES for label in family.labels} <= BOUNDED


def test_metrics_read_from_the_ledger_are_recognizable_by_name() -> None:
    for family in FAMILIES:
        assert family.name.startswith("vultus_ledger_") == (family.process == "gateway (ledger)"), family.name


def test_no_name_has_two_meanings() -> None:
    series = [name for family in FAMILIES for name in family.series]
    assert len(series) == len(set(series))
