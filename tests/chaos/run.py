"""Storms from the command line: `python -m tests.chaos.run --seeds 1 2`; exits with 1 if a promise was broken."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.chaos.faults import LONG
from tests.chaos.ground import SETTINGS
from tests.chaos.report import Report, summary, table, together
from tests.chaos.storm import Plan, storm
from tools.setup import ROOT

JOBS: Final = 50_000
FAULTS: Final = 1_000
"""The least that a full run must have."""
MOST: Final = 50
"""Number of findings that are shown."""
LOGS: Final = ROOT / ".data" / "chaos"
"""Where the log of a storm with findings is kept."""
SHARDS: Final = (1, 3)
"""Alternating: odd seeds have one shard, even seeds three."""


def main() -> int:
    """Run the storms, print a table and keep it; return 1 if anything was found."""
    arguments = _parser().parse_args()
    reports = _kept(arguments.into) if arguments.into else {}
    for seed in arguments.seeds:
        report = reports[seed] = _one(seed, only=arguments.only, seconds=0.0 if arguments.only else arguments.seconds)
        if arguments.into:
            (arguments.into / f"storm-{seed}.json").write_text(report.written() + "\n", encoding="utf-8")
        _say([f"seed {seed}: {report.faults} faults, {report.accepted} jobs, {len(report.findings)} broken promises"])
        _say([f"  {finding}" for finding in report.findings[:MOST]])
        _say([f"  its log: {LOGS.relative_to(ROOT)}/storm-{seed}.log"] if report.findings else [])
    if not reports:
        _say(["there was no storm"])
        return 1
    whole = together([reports[seed] for seed in sorted(reports)])
    lines = [*table(whole), "", *summary(whole), *(f"- found: {finding}" for finding in whole.findings[:MOST])]
    _say(["", *lines])
    if arguments.keep:
        _keep(arguments.keep, whole, lines)
    if arguments.enough and (whole.accepted < JOBS or whole.faults < FAULTS):
        _say([f"not enough: {whole.accepted} jobs, {whole.faults} faults"])
        return 1
    return 1 if whole.findings else 0


def _kept(folder: Path) -> dict[int, Report]:
    folder.mkdir(parents=True, exist_ok=True)
    reports = [Report.read(path.read_text(encoding="utf-8")) for path in folder.glob("storm-*.json")]
    return {report.seeds[0]: report for report in reports}


def _one(seed: int, *, only: list[str] | None, seconds: float) -> Report:
    with tempfile.TemporaryDirectory(prefix="vultus-chaos-") as folder:
        plan = Plan(seed=seed, shards=SHARDS[(seed - 1) % len(SHARDS)], singles=only, seconds=seconds)
        report = storm(Path(folder), plan)
        if report.findings:
            LOGS.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder) / "log.txt", LOGS / f"storm-{seed}.log")
        return report


def _keep(folder: Path, whole: Report, lines: list[str]) -> None:
    """Keep a dated result: the table with how it was produced, and all figures."""
    today = datetime.now(tz=UTC).strftime("%Y-%m-%d")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    head = [
        f"# Chaos, {today}",
        "",
        (
            f"`make chaos` at {commit or 'no commit'}, on {platform.system()} {platform.machine()}, "
            f"{len(_processors())} cores, Python {platform.python_version()}."
        ),
        (
            f"Settings: {', '.join(f'{name}={value}' for name, value in SETTINGS.items() if len(value) < LONG)}; "
            "the others by default."
        ),
        "",
    ]
    (folder / f"chaos-{today}.md").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    (folder / f"chaos-{today}.json").write_text(whole.written() + "\n", encoding="utf-8")


def _processors() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Storms over a real stack, then an oracle.")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="one storm for each; none: only the table")
    parser.add_argument("--seconds", type=float, default=30.0, help="of many faults at once, after the single ones")
    parser.add_argument("--only", nargs="+", metavar="FAULT", help="these faults, one by one, and nothing else")
    parser.add_argument("--into", type=Path, help="folder where each storm is kept, to be combined with earlier ones")
    parser.add_argument("--enough", action="store_true", help=f"fail with less than {JOBS} jobs or {FAULTS} faults")
    parser.add_argument("--keep", type=Path, help="folder for a dated result of all storms that are kept")
    return parser


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
