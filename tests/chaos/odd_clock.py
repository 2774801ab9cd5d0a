"""Runs a module of the service with a clock that a file shifts: `python -m tests.chaos.odd_clock api.app`.

With `CHAOS_MINES` it is killed at the steps that files in that folder name (`mines.py`). With `CHAOS_NEWER` it writes
records as a newer version might.
"""

import importlib
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Final

LOOK: Final = 0.05
"""Seconds between two reads of the file."""


def follow(file: Path) -> None:
    """From now on, this process's clock is off by the number of seconds in the file."""
    true, true_ns = time.time, time.time_ns
    wrong = [0.0]

    def look() -> None:
        while True:
            try:
                wrong[0] = float(file.read_text(encoding="ascii") or 0)
            except (OSError, ValueError):
                wrong[0] = 0.0
            time.sleep(LOOK)

    time.time = lambda: true() + wrong[0]
    time.time_ns = lambda: true_ns() + round(wrong[0] * 1e9)
    threading.Thread(target=look, name="clock", daemon=True).start()


if __name__ == "__main__":
    follow(Path(os.environ["CHAOS_CLOCK"]))
    if "CHAOS_NEWER" in os.environ:
        importlib.import_module("tests.chaos.newer").write()
    if "CHAOS_MINES" in os.environ:
        importlib.import_module("tests.chaos.mines").lay(Path(os.environ["CHAOS_MINES"]))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
