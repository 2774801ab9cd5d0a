"""Number of jobs that one worker runs concurrently (docs/decisions/0003)."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

GPU_PROVIDERS: Final = frozenset({"cuda", "tensorrt"})
GPU_THREADS: Final = 8
"""Enough to decode images for a GPU and to fill its batches; the GPU, not the cores, is the shared resource."""


def job_threads(requested: int, *, provider: str, cores: Callable[[], int] | None = None) -> int:
    """Return the number of concurrent jobs: `requested` unless 0, 8 for a GPU provider, otherwise the usable cores.

    This is determined before any model is loaded, so `auto` counts as a CPU.
    """
    if requested:
        return requested
    return GPU_THREADS if provider in GPU_PROVIDERS else (cores or usable_cores)()


def usable_cores(*, root: Path = Path("/")) -> int:
    """Return the number of usable cores: the CPU affinity, capped by the quota of the control groups.

    A container with `cpus: 2` on a 64-core host has an affinity of 64; only its quota is 2. Fractions are rounded up:
    an extra thread is throttled, but a missing thread leaves capacity unused.
    """
    quota = min(_quotas(root), default=math.inf)
    bound = len(os.sched_getaffinity(0))
    return max(1, min(bound, math.ceil(quota))) if math.isfinite(quota) else bound


def _quotas(root: Path) -> list[float]:
    """Return all CPU limits above this process: cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us` over its period."""
    quotas = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("" if not controllers else "cpu")
        inside = Path(path.lstrip("/"))
        # In a container, the mount is its own group and the path may be the host's; then only the mount itself exists.
        for group in [mount / inside, *(mount / parent for parent in inside.parents)]:
            quotas += _v1(group) if controllers else _v2(group)
    return quotas


def _v2(group: Path) -> list[float]:
    words = _text(group / "cpu.max").split()
    return [int(words[0]) / int(words[1])] if words and words[0] != "max" else []


def _v1(group: Path) -> list[float]:
    quota, period = _text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()
    return [int(quota) / int(period)] if quota and period and int(quota) > 0 else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
