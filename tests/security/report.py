"""Runs every security check and prints one table: `python -m tests.security.report [--seconds N] [--only TEXT]`."""

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.runs import fuzz
from tests.fuzz.targets import TARGETS
from tools.audit import LOCKS, audit
from tools.setup import ROOT

SECURITY: Final = "tests/security"
PRODUCT: Final = ("api", "worker", "shared", "tools")
TESTS: Final = {
    "hostile images, read and decoded": (f"{SECURITY}/test_images.py",),
    "hostile images and requests, whole service": (f"{SECURITY}/test_service.py",),
    "slow, endless and crowding clients": (f"{SECURITY}/test_lines.py", f"{SECURITY}/test_edge_memory.py"),
    "a picture that takes all memory": (f"{SECURITY}/test_memory.py",),
    "inputs that kill or hang a worker": ("tests/integration/test_poison.py",),
    "tenants, keys, tokens, quotas": (
        *("tests/unit/api/test_auth*.py", "tests/unit/api/auth/test_jwt.py", "tests/unit/api/auth/test_rate_limits.py"),
        *("tests/unit/api/test_audit*.py", "tests/unit/shared/test_audit*.py", "tests/unit/shared/test_access*.py"),
        *(
            "tests/*/test_tenant*.py",
            "tests/*/test_api_keys.py",
            "tests/*/test_erase*.py",
            "tests/*/api/test_tenant*.py",
        ),
    ),
    "addresses of images and webhooks": (
        "tests/unit/shared/net/test_addresses.py",
        "tests/unit/api/settings/test_image_urls.py",
        "tests/integration/test_image_url_hosts.py",
        "tests/integration/test_courier_addresses.py",
    ),
    "browsers, hosts, origins": ("tests/unit/api/http/test_security_headers.py",),
    "containers, TLS, secrets in files": ("tests/architecture", f"{SECURITY}/test_supply.py"),
}
"""Each row and the tests that prove it: at least one test per row, and at least one file for each selection."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; `passed` is None if it could not be run."""

    check: str
    cases: int
    passed: int | None
    seconds: float
    output: str = ""

    @property
    def good(self) -> bool:
        """True if nothing is wrong: it passed, or could not be run."""
        return self.passed is None or self.passed == self.cases


def files(selection: tuple[str, ...]) -> list[str]:
    """The files of a selection; a pattern may match none."""
    return [str(path.relative_to(ROOT)) for pattern in selection for path in sorted(ROOT.glob(pattern))]


def tried(check: str, selection: tuple[str, ...]) -> Row:
    """Run tests; a test that runs a whole corpus reports the number of cases."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        how = ["-q", "--no-header", "--tb=short", "--timeout", "300", "-o", "junit_family=xunit1"]  # it reports counts
        command = [sys.executable, "-m", "pytest", *how, f"--junitxml={report}"]
        done = subprocess.run([*command, *files(selection)], cwd=ROOT, capture_output=True, text=True, check=False)
        cases = list(_cases(report)) if report.exists() else []
    output = "" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]
    total, passed = sum(count for count, _ in cases), sum(count for count, good in cases if good)
    if done.returncode not in {0, 1} or not total:
        return Row(check, max(total, 1), 0, time.monotonic() - began, output or "no test was found")
    return Row(check, total, passed, time.monotonic() - began, output)


def _cases(report: Path) -> Iterator[tuple[int, bool]]:
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - we have just written it
        if case.find("skipped") is None:
            counted = [int(item.get("value", "1")) for item in case.iter("property") if item.get("name") == "cases"]
            yield (counted or [1])[0], case.find("failure") is None and case.find("error") is None


def fuzzed(name: str, *, seconds: int) -> Row:
    """Fuzz one target; its cases are the inputs."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        limit = f"max_total_time={seconds}"
        run = fuzz(name, limit=limit, seed=int(time.time()), folder=Path(folder), patience=seconds + 120)
    bad = 0 if run.clean else max(1, len(run.found))
    output = "" if run.clean else f"{run.output}\n{run.found}"
    return Row(f"fuzzing: {name}", max(run.inputs, bad), max(run.inputs, bad) - bad, time.monotonic() - began, output)


def audited() -> Iterator[Row]:
    """Check the dependencies for known vulnerabilities."""
    for name in LOCKS:
        began = time.monotonic()
        found = audit(ROOT / "requirements" / name)
        passed = None if found.passed is None else found.packages if found.passed else 0
        yield Row(f"known holes: {name}", found.packages, passed, time.monotonic() - began, found.report)


def linted() -> Row:
    """Ruff's security rules, on all production code."""
    began = time.monotonic()
    command = [
        str(Path(sys.executable).parent / "ruff"),
        "check",
        "--select",
        "S",
        "-q",
        "api",
        "worker",
        "shared",
        "tools",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    files = sum(1 for folder in PRODUCT for _ in (ROOT / folder).rglob("*.py"))
    return Row(
        "ruff's security rules (files)",
        files,
        files if done.returncode == 0 else 0,
        time.monotonic() - began,
        done.stdout,
    )


def rows(*, seconds: int, only: str = "") -> Iterator[Row]:
    """Yield every row whose name contains `only` as soon as it is known."""
    for check, selection in TESTS.items():
        if only in check:
            yield tried(check, selection)
    for name in sorted(TARGETS):
        if only in f"fuzzing: {name}":
            yield fuzzed(name, seconds=seconds)
    if only in "ruff's security rules":
        yield linted()
    if only in "known holes":
        yield from audited()


def line(row: Row) -> str:
    """A row in its printed form."""
    passed = "not tried" if row.passed is None else f"{row.passed:,}"
    mark = "" if row.good else "  FAILED"
    return f"{row.check:<44} {row.cases:>10,} {passed:>10} {row.seconds:>8.1f}{mark}"


def main(say: Callable[[str], None] = print) -> int:
    """Print the table, then the output of rows that failed or could not be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of fuzzing for each target")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    options = parser.parse_args()
    say(f"{'check':<44} {'cases':>10} {'passed':>10} {'seconds':>8}")
    done = []
    for row in rows(seconds=options.seconds, only=options.only):
        say(line(row))
        done.append(row)
    for row in done:
        if not row.good or row.passed is None:
            say(f"\n{row.check}: {row.output}")
    return 0 if all(row.good for row in done) else 1


if __name__ == "__main__":
    sys.exit(main())
