"""Write a CycloneDX bill of materials for each lock file: the packages of an image, with hashes."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.setup import ROOT

FOLDER: Final = ROOT / ".data" / "sbom"


def write(lock: Path, folder: Path) -> Path:
    """Write the bill of one lock file; no network is used."""
    bill = folder / f"{lock.stem}.cdx.json"
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", str(lock)]
    subprocess.run(
        [*command, "--output-reproducible", "--of", "JSON", "-o", str(bill)], check=True, capture_output=True
    )
    return bill


def main() -> int:
    """Write the bills of all lock files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        print(f"  {write(lock, FOLDER).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
