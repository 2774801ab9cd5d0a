"""Prometheus accepts the alert rules, and each alert waits, fires, and resolves on series made for it."""

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from tests.watching.binaries import binary
from tests.watching.deployed import DEPLOY, RULES, alerts
from tests.watching.faults import FAULTS

CASES: Final = Path(__file__).with_name("alert_cases.yml")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([binary("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def checks(alert: str) -> list[list[Any]]:
    """The alerts that are expected at each time of the case of an alert, in its order."""
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    return [check["exp_alerts"] for case in cases if case["name"] == alert for check in case["alert_rule_test"]]


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_every_alert_has_a_case_that_waits_fires_and_resolves(alert: str) -> None:
    assert [len(expected) for expected in checks(alert)] == [0, 1, 0]


def test_every_alert_has_a_fault_that_fires_it() -> None:
    fired = sorted(alert for fault in FAULTS.values() for alert in fault.alerts)
    assert fired == sorted(rule["alert"] for rule in alerts())


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES)


def test_prometheus_accepts_its_configuration() -> None:
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


def test_every_alert_fires_and_resolves() -> None:
    promtool("test", "rules", CASES)
