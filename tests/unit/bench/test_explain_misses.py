"""Every missed target is explained by figures of the same run."""

import pytest

from bench import targets
from bench.explain_misses import SAYS, explain_misses
from bench.report import Report


def test_every_target_has_something_to_say() -> None:
    assert SAYS.keys() == targets.ROWS.keys()


def test_a_met_target_is_not_explained() -> None:
    report = Report(about={})
    report.put(targets.RAW_LIMIT, "t1", 0.95)
    assert explain_misses(report) == []


def test_an_engine_below_its_limit_shows_what_its_models_take_and_what_is_around_them() -> None:
    report = Report(about={})
    report.put(targets.RAW_LIMIT, "one", 0.8)
    spent = {"engine": 60.0, "models alone": 48.0, "detect": 52.0, "detector alone": 43.0, "align": 2.0, "embed": 6.0}
    for piece, value in {**spent, "recogniser alone": 5.0}.items():
        report.note(f"{piece}, one thread", "one", [value], unit="CPU ms")
    [said] = explain_misses(report)
    assert said.startswith(f"{targets.RAW_LIMIT}, one: of 60.0 CPU ms the models alone take 48.0 (80%); ")
    assert said.endswith("around the detector 9.0, align 2.0, around the recogniser 1.0.")


def test_a_service_below_its_limit_shows_which_process_spends_what() -> None:
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
    assert "in the synchronous service 180.0: x2.00 in processor time" in rival


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.row)
def test_a_run_that_lost_its_figures_still_gives_a_report(target: targets.Target) -> None:
    report = Report(about={})
    for column, limit in target.limits.items():
        report.put(target.row, column, limit / 2 if target.sense == ">=" else limit * 2)
    if target.row == targets.ACCEPTED:
        report.note("202 while workers are saturated", "one", [100.0], unit="ms")
    assert len(explain_misses(report)) == len(target.limits)
