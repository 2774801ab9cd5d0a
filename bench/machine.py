"""Describe the machine of a run and how much of it other processes used."""

import os
import platform
import resource
import subprocess
from pathlib import Path
from typing import Any, Final

from tools.setup import ROOT
from worker.execution.threads import usable_cores
from worker.packs.runtimes import PROCESSORS, processor, versions

TICKS: Final = os.sysconf("SC_CLK_TCK")
LIBRARIES: Final = ("onnxruntime", "openvino", "insightface", "opencv-python-headless", "numpy", "celery", "fastapi")


def about() -> dict[str, Any]:
    """Return the machine, library versions and commit."""
    return {
        "commit": _commit(),
        "cores": usable_cores(),
        "processor": processor() + _features(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions(LIBRARIES).items()),
    }


class Others:
    """Share of all cores that other processes use from now on; a high share makes the figures less reliable."""

    def __init__(self) -> None:
        self._begin = _clock()

    def share(self) -> float | None:
        """Return the share so far (0 to 1), excluding this process and its exited children; None if unknown."""
        now = _clock()
        if now is None or self._begin is None or now[0] <= self._begin[0]:
            return None
        every, busy, own = (after - before for before, after in zip(self._begin, now, strict=True))
        return min(1.0, max(0.0, (busy - own) / every))


def _clock() -> tuple[float, float, float] | None:
    """Return the total, busy and own CPU seconds of all cores since boot."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(value) / TICKS for value in first]
    idle = ticks[3] + ticks[4]
    own = sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
    return sum(ticks), sum(ticks) - idle, own


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.strip() + (" with changes" if changed else "")


def _features() -> str:
    """Return the vector extensions, which determine the speed of the models."""
    listed = PROCESSORS.read_text(encoding="utf-8") if PROCESSORS.exists() else ""
    flags = next((line.split() for line in listed.splitlines() if line.startswith("flags")), [])
    extensions = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags]
    return f" ({', '.join(extensions)})" if extensions else ""
