"""Audit every locked package for known vulnerabilities; report if the vulnerability service is unreachable."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.setup import ROOT

UNREACHABLE: Final = re.compile(r"ConnectionError|Timeout|NameResolution|Max retries|ServiceError|ProxyError|SSLError")
LOCKS: Final = ("dev.txt", "worker-gpu.txt")
"""Together they contain every package of every set."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The result for one lock file; `passed` is None if the service could not be reached."""

    packages: int
    passed: bool | None
    report: str


def audit(lock: Path) -> Audit:
    """Audit one lock file."""
    packages = len(re.findall(r"^[A-Za-z0-9].*==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))
    command = [
        str(Path(sys.executable).parent / "pip-audit"),
        "--vulnerability-service",
        "osv",
        "--progress-spinner",
        "off",
    ]
    command += ["--disable-pip", "--require-hashes", "--timeout", "10", "-r", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        return Audit(packages, None, "the vulnerability service did not respond in time")
    report = (done.stdout + done.stderr).strip()
    if done.returncode and "Found" not in report and UNREACHABLE.search(report):
        return Audit(packages, None, "the vulnerability service is unreachable: nothing was audited")
    return Audit(packages, done.returncode == 0, report)


def main() -> int:
    """Audit all lock files; fail for known vulnerabilities, but not if the service is unreachable."""
    failed = False
    for name in LOCKS:
        result = audit(ROOT / "requirements" / name)
        failed = failed or result.passed is False
        print(f"  {name}: {result.packages} packages: {result.report}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
