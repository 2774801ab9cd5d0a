"""The check of the capacity model in its shortest form: it drives the real stack and compares every figure."""

import re
import subprocess
import sys

from tools.setup import ROOT


def test_the_check_runs_the_stack_at_two_loads_and_compares_every_figure() -> None:
    command = [sys.executable, "-m", "bench.capacity.check", "--jobs", "40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    rows = re.findall(
        r"^(\d+%) +(\w+(?: \w+)?) +measured +([\d.]+) .*(as predicted|DIFFERS)$", done.stdout, re.MULTILINE
    )
    figures = ["utilization", "wait p50", "wait p99"]
    assert [(load, figure) for load, figure, _, _ in rows] == [(load, f) for load in ("50%", "80%") for f in figures]
    assert all(0 < float(value) < 1 for _, figure, value, _ in rows if figure == "utilization")
    # A p99 of forty jobs is unreliable, so either verdict is possible; it must match the exit status.
    assert done.returncode == int(any(verdict == "DIFFERS" for *_, verdict in rows)), done.stderr[-2000:]
