"""Runs a module of the service with a clock that a file shifts: `python -m tests.chaos.odd_clock api.app`.

With `CHAOS_MINES` it is killed at the steps that files in that folder name (`mines.py`). With `CHAOS_NEWER` it writes
records as a newer version might.
"""

import importlib
import os
import runpy
import sys
from pathlib import Path

from tests.chaos import skew

if __name__ == "__main__":
    skew.install()
    skew.follow(Path(os.environ["CHAOS_CLOCK"]))
    if "CHAOS_NEWER" in os.environ:
        importlib.import_module("tests.chaos.newer").write()
    if "CHAOS_MINES" in os.environ:
        importlib.import_module("tests.chaos.mines").lay(Path(os.environ["CHAOS_MINES"]))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
