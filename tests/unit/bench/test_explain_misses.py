"""Every missed target is explained with figures of the same run."""

import pytest

from bench import targets
from bench.explain_misses import SAYS, explain_misses
from bench.report import Report


def test_every_target_has_an_explanation() -> None:
    assert SAYS.keys() == targets.ROWS.keys()


def test_a_met_target_is_not_explained() -> None:
    report = Report(about={})
    report.put(targets.RAW_LIMIT, "t1", 0.95)
    assert explain_misses(report) == []


def test_engine_explanation_separates_models_from_overhead() -> None:
    report = Report(about={})
    report.put(targets.RAW_LIMIT, "one", 0.8)
    spent = {"engine": 60.0, "models alone": 48.0, "detect": 52.0, "detector alone": 43.0, "align": 2.0, "embed": 6.0}
    for piece, value in {**spent, "recogniser alone": 5.0}.items():
        report.note(f"{piece}, one thread", "one", [value], unit="CPU ms")
    [line] = explain_misses(report)
    prefix = f"{targets.RAW_LIMIT}, one: the engine uses 60.0 CPU ms, of which the models alone use 48.0 (80%), "
    assert line == prefix + "detector overhead 9.0, align 2.0, recognizer overhead 1.0."


def test_service_explanation_shows_the_cpu_time_of_each_process() -> None:
    report = Report(about={})
    report.put(targets.SERVICE_RAW, "t1", 0.5)
    report.put(targets.SERVICE_SYNC, "t1", 1.0)
    report.note("raw limit, threads, between the services, of a picture", "t1", [45.0], unit="CPU ms")
    for part, value in {"gateway": 4.0, "worker-1": 84.0, "clients": 2.0}.items():
        report.note(f"service, saturated, {part}, of a job", "t1", [value], unit="CPU ms")
    report.note("synchronous service, saturated, service, of a job", "t1", [180.0], unit="CPU ms")
    raw, rival = explain_misses(report)
    assert "a job costs 90.0 CPU ms (worker-1 84.0, gateway 4.0, clients 2.0)" in raw
    assert "the bare models cost 45.0 (50%)" in raw
    assert "180.0 in the synchronous service: a factor of 2.00 in CPU time" in rival


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.row)
def test_run_without_figures_still_has_explanations(target: targets.Target) -> None:
    report = Report(about={})
    for column, limit in target.limits.items():
        report.put(target.row, column, limit / 2 if target.sense == ">=" else limit * 2)
    if target.row == targets.ACCEPTED:
        report.note("202 while workers are saturated", "one", [100.0], unit="ms")
    assert len(explain_misses(report)) == len(target.limits)
