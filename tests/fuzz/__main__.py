"""Fuzz every target, or the named ones: `python -m tests.fuzz [--seconds 60] [--seed 1] [headers pixels ...]`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runs import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz and print the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = 0
    for name in options.targets:
        with tempfile.TemporaryDirectory() as folder:
            run = fuzz(
                name,
                limit=f"max_total_time={options.seconds}",
                seed=options.seed,
                folder=Path(folder),
                patience=options.seconds + 120,
            )
            print(f"{name}: {run.inputs:,} inputs, {'nothing found' if run.clean else 'FOUND'}")  # noqa: T201 - a report
            if not run.clean:
                failed += 1
                print(run.output)  # noqa: T201
                print(*(f"input: {data!r}" for data in run.found), sep="\n")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
