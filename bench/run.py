"""Run every measurement once and write one report: `make bench`.

All comparisons are interleaved (A B A B ...), so that changes in the machine's speed do not affect them.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bench import accepts, deliveries, host, lost_jobs, machine, pictures
from bench.engine_figures import PICTURES, EngineFigures
from bench.explain_misses import explain_misses
from bench.length import FULL, QUICK, Length
from bench.report import Report
from bench.service_figures import ServiceFigures
from tools.setup import ROOT
from worker.execution.threads import usable_cores

RESULTS: Final = ROOT / "bench" / "results"
BUSY: Final = 0.05
"""Share of the cores used by other processes above which the report warns."""


def main() -> int:
    """Measure, write the report and print its paths."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short test run; its figures are not meaningful")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--pack", default=os.environ.get("VULTUS_PACK", "compact"), help="an installed model pack")
    options = parser.parse_args()
    os.environ["VULTUS_PACK"] = options.pack
    now = datetime.now(tz=UTC)
    report = Report(
        about={
            "date": now.isoformat(timespec="seconds"),
            "command": "make bench"
            if not options.quick
            else "python -m bench.run --quick (figures are not meaningful)",
            "pack": options.pack,
            **machine.about(),
            **{name: pictures.named(name).text for name in PICTURES},
        }
    )
    measure(report, length=QUICK if options.quick else FULL)
    written = report.write(options.out, now.date().isoformat())
    print("\n" + report.markdown())
    print("written: " + ", ".join(str(path) for path in written))
    return 0


def measure(report: Report, *, length: Length) -> None:
    """Run every part and add its results to the report."""
    begin, others = time.monotonic(), machine.Others()
    with ExitStack() as running:
        engine = EngineFigures(report, length=length, cores=usable_cores(), running=running)
        service = ServiceFigures(report, length=length, engine=engine)
        parts: dict[str, Callable[[], None]] = {
            "engine and FaceAnalysis, one thread": engine.one_thread,
            "engine and raw limit, all cores": engine.all_cores,
            "12 megapixels and 1": engine.large_photo,
            "the whole service at saturation": service.saturation,
            "one job when idle": service.idle,
            "the host beside its models": partial(host.measure, report, length=length),
            "a killed worker": partial(lost_jobs.measure, report, length=length),
            "accepting": service.accepting,
            "accepting, on disk": partial(accepts.measure, report, length=length),
            "webhooks": partial(deliveries.measure, report, length=length),
            "memory": service.memory,
        }
        for name, part in parts.items():
            print(f"[{time.monotonic() - begin:5.0f} s] {name} ...", flush=True)
            part()
    report.about["took"] = f"{time.monotonic() - begin:.0f} s"
    share = others.share()
    if share is not None:
        report.about["used by other processes meanwhile"] = f"{share:.1%} of the cores" + (
            ": **too much; measure again on an idle machine**" if share > BUSY else ""
        )
    report.reasons = explain_misses(report)


if __name__ == "__main__":
    sys.exit(main())
