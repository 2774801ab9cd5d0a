"""How many jobs one worker runs at once: the documented rule (docs/decisions/0003)."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

GPU_PROVIDERS: Final = frozenset({"cuda", "tensorrt"})
GPU_THREADS: Final = 8
"""Enough to decode for a GPU and to fill its batches; the GPU, not the cores, is what they share."""


def job_threads(asked: int, *, provider: str, cores: Callable[[], int] | None = None) -> int:
    """Jobs at once: what was `asked` for; else 8 where `provider` names a GPU, else one for each core we may use.

    Known before any model is loaded, so `auto` counts as a CPU.
    """
    if asked:
        return asked
    return GPU_THREADS if provider in GPU_PROVIDERS else (cores or usable_cores)()


def usable_cores(*, root: Path = Path("/")) -> int:
    """Cores that this process may use: those it is bound to, and no more than its control groups' quota pays for.

    A container with `cpus: 2` on a host of 64 cores is bound to all 64; its quota is what says 2. Part of a core
    counts as one: a thread too many is slowed down, a thread too few leaves what was paid for unused.
    """
    quota = min(_quotas(root), default=math.inf)
    bound = len(os.sched_getaffinity(0))
    return max(1, min(bound, math.ceil(quota))) if math.isfinite(quota) else bound


def _quotas(root: Path) -> list[float]:
    """Cores of every limit above this process: cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us` over its period."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("" if not controllers else "cpu")
        inside = Path(path.lstrip("/"))
        # In a container the mount is its own group and the path may be the host's: then only the mount itself is there.
        for group in [mount / inside, *(mount / parent for parent in inside.parents)]:
            found += _v1(group) if controllers else _v2(group)
    return found


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
