"""Runs the fuzzer on one target in its own process, which a crash in native code may kill."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.setup import ROOT


@dataclass(frozen=True, slots=True)
class Run:
    """The outcome of one run."""

    inputs: int
    clean: bool
    output: str
    """The end of the fuzzer's output."""
    found: tuple[bytes, ...]
    """Inputs that broke a promise."""


def fuzz(name: str, *, limit: str, seed: int, folder: Path, patience: int = 500) -> Run:
    """Fuzz one target up to the limit: `max_total_time=60` means seconds, `runs=1000` inputs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, limit, str(seed), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=patience,
    )
    count = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    found = tuple(path.read_bytes() for path in sorted(folder.glob("*-*")))
    clean = done.returncode == 0 and count is not None and not found
    return Run(int(count[1]) if count else 0, clean, done.stdout[-1000:] + done.stderr[-3000:], found)
