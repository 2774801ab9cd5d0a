"""Storms: which ones, and their figures at the end of the run."""

import os
from typing import Final

import pytest

from tests.chaos.storm import Report

SEEDS: Final = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1 2 3").split()]
SECONDS: Final = float(os.environ.get("CHAOS_SECONDS", "35"))
REPORTS: Final[list[Report]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder kills processes for minutes: it runs only where it is asked for."""
    for item in items:
        if "tests/chaos/" in str(item.path):
            item.add_marker(pytest.mark.chaos)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of every storm."""
    for report in REPORTS:
        for line in report.lines():
            terminalreporter.write_line(line)
