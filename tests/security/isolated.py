"""Reads and decodes the whole corpus as gateway and worker do, in a process with limited memory.

`python -m tests.security.isolated CHANGES SEED` prints a line of JSON for each case.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Final

from shared.errors import ImageError
from shared.image_header.inspection import inspect_image
from tests.corpus.cases import TAKEN, Case
from tests.corpus.images import corpus
from worker.images import decode

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
ADDRESS_SPACE: Final = 4 * 1024**3
"""Bytes; an allocation beyond it fails, and so does its case."""
SMALL: Final = 64 * 1024
"""A file up to this size is decoded even if the gateway refuses it: the worker must be safe on its own."""
PEAK: Final = "VmHWM:"


def peak() -> int:
    """Peak memory, in bytes, of this process since `forget`."""
    line = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if PEAK in line)
    return int(line.split()[1]) * 1024


def forget() -> int:
    """Restart the peak from the current memory, which is returned."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def outcome(data: bytes) -> str:
    """The outcome of a file: an error code or `taken`; any other exception is a defect and ends the run."""
    refused = ""
    try:
        header = inspect_image(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
    except ImageError as error:
        refused = error.code.value
        if len(data) > SMALL:
            return refused
    try:
        picture = decode(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return refused or error.code.value
    high, wide = picture.pixels.shape[:2]
    if high * wide > MAX_PIXELS or (not refused and {high, wide} != {header.height, header.width}):
        return f"decoded to {wide}x{high}"
    return refused or TAKEN


def measure(case: Case) -> dict[str, object]:
    """The outcome of a case, and its cost beyond its own bytes."""
    data = case.make()
    before, began = forget(), time.process_time()
    ended = outcome(data)
    spent, most = time.process_time() - began, peak() - before
    return {"name": case.name, "outcome": ended, "right": ended in case.outcomes, "seconds": spent, "bytes": most}


def main() -> None:
    """Measure every case."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for case in corpus(changes=int(sys.argv[1]), seed=int(sys.argv[2])):
        print(json.dumps({"begins": case.name}), flush=True)  # noqa: T201 - this is how it reports
        print(json.dumps(measure(case)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
