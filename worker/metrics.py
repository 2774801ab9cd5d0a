"""What a worker counts."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds: a stage on a GPU takes a few milliseconds, a large photo on a CPU a second."""
LONG: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
"""Seconds: what waits or runs as a whole."""

INFO: Final = Gauge(
    "vultus_worker_info", "Always 1: what this worker runs.", ["engine", "pack", "contract", "provider"]
)
THREADS: Final = Gauge("vultus_worker_threads", "Jobs that this worker runs at once at most.")
BUSY: Final = Gauge("vultus_worker_busy_threads", "Jobs that it has in work.")
JOBS: Final = Counter(
    "vultus_worker_jobs",
    "Jobs that this worker is done with: `succeeded`, `failed`, `taken` (canceled or erased meanwhile), `fenced` "
    "(another worker's by then), `unwritten` (the store was away).",
    ["operation", "outcome"],
)
QUEUE: Final = Histogram("vultus_job_queue_duration_seconds", "From acceptance to claim.", ["priority"], buckets=LONG)
RUN: Final = Histogram("vultus_job_run_duration_seconds", "From claim to finish.", ["operation"], buckets=LONG)
STAGE: Final = Histogram(
    "vultus_job_stage_duration_seconds", "What a job spent in one stage.", ["stage"], buckets=SHORT
)
LOOKUPS: Final = Counter("vultus_result_cache_lookups", "Looks for a kept result: `hit` or `miss`.", ["result"])
BATCH_RUNS: Final = Counter("vultus_batch_runs", "Runs of a model for joined jobs.", ["model"])
BATCH_ROWS: Final = Counter("vultus_batch_rows", "Pictures in them.", ["model"])
BATCH_SLOTS: Final = Counter("vultus_batch_slots", "Places in them; rows by slots is how full they were.", ["model"])

LOOKUPS.labels("hit")
LOOKUPS.labels("miss")


def note_stages(spent: Mapping[str, float]) -> None:
    """Count what a job spent; the names are those of its metrics, in milliseconds (`detect_ms`)."""
    for name, milliseconds in spent.items():
        STAGE.labels(name.removesuffix("_ms")).observe(milliseconds / 1000)


def note_batch(model: str, *, rows: int, slots: int) -> None:
    """Count one run."""
    BATCH_RUNS.labels(model).inc()
    BATCH_ROWS.labels(model).inc(rows)
    BATCH_SLOTS.labels(model).inc(slots)
