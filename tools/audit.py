"""Ask a vulnerability service about every locked package; where none is reachable, say so and go on."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.setup import ROOT

UNREACHABLE: Final = re.compile(r"ConnectionError|Timeout|NameResolution|Max retries|ServiceError|ProxyError|SSLError")
LOCKS: Final = ("dev.txt", "worker-gpu.txt")
"""Together they hold every package of every set."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was heard; `passed` is None where nobody answered."""

    packages: int
    passed: bool | None
    told: str


def audit(lock: Path) -> Audit:
    """Ask about one locked set."""
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
        return Audit(packages, None, "the vulnerability service did not answer in time")
    told = (done.stdout + done.stderr).strip()
    if done.returncode and "Found" not in told and UNREACHABLE.search(told):
        return Audit(packages, None, "no vulnerability service is reachable from here: nothing was audited")
    return Audit(packages, done.returncode == 0, told)


def main() -> int:
    """Audit the sets; fails where a known hole was found, not where nobody could be asked."""
    failed = False
    for name in LOCKS:
        found = audit(ROOT / "requirements" / name)
        failed = failed or found.passed is False
        print(f"  {name}: {found.packages} packages: {found.told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
