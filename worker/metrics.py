"""Prometheus metrics of a worker."""

from collections.abc import Mapping
from itertools import product
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from shared.job_content import METRICS
from shared.jobs import Priority
from shared.operations import Operation

SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, for stages: a few milliseconds on a GPU, a second for a large photo on a CPU."""
LONG: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
"""Seconds, for waiting times and whole jobs."""

OUTCOMES: Final = ("succeeded", "failed", "taken", "fenced", "unwritten")
STAGES: Final = tuple(name.removesuffix("_ms") for name in METRICS if name not in {"queue_ms", "total_ms"})

INFO: Final = Gauge(
    "vultus_worker_info",
    "Always 1; the labels describe what this worker runs.",
    ["engine", "pack", "contract", "provider"],
)
THREADS: Final = Gauge("vultus_worker_threads", "Maximum number of jobs that this worker runs concurrently.")
BUSY: Final = Gauge("vultus_worker_busy_threads", "Jobs that this worker is currently running.")
JOBS: Final = Counter(
    "vultus_worker_jobs",
    "Jobs that this worker has finished by outcome: `succeeded`, `failed`, `taken` (canceled or erased in the "
    "meantime), `fenced` (claimed by another worker), `unwritten` (the store was unreachable).",
    ["operation", "outcome"],
)
QUEUE: Final = Histogram(
    "vultus_job_queue_duration_seconds", "Time from acceptance to claim.", ["priority"], buckets=LONG
)
RUN: Final = Histogram("vultus_job_run_duration_seconds", "Time from claim to completion.", ["operation"], buckets=LONG)
STAGE: Final = Histogram(
    "vultus_job_stage_duration_seconds", "Time that a job spent in one stage.", ["stage"], buckets=SHORT
)
LOOKUPS: Final = Counter("vultus_result_cache_lookups", "Result cache lookups: `hit` or `miss`.", ["result"])
BATCH_RUNS: Final = Counter("vultus_batch_runs", "Batched model runs.", ["model"])
BATCH_ROWS: Final = Counter("vultus_batch_rows", "Pictures in batched model runs.", ["model"])
BATCH_SLOTS: Final = Counter(
    "vultus_batch_slots", "Slots in batched model runs; rows divided by slots is the fill level.", ["model"]
)

# Every series exists from the start: `rate` does not see the first increment of one that did not.
for _operation, _outcome in product(Operation, OUTCOMES):
    JOBS.labels(_operation.value, _outcome)
for _operation in Operation:
    RUN.labels(_operation.value)
for _priority in Priority:
    QUEUE.labels(_priority.value)
for _stage in STAGES:
    STAGE.labels(_stage)
for _result in ("hit", "miss"):
    LOOKUPS.labels(_result)


def note_stages(spent: Mapping[str, float]) -> None:
    """Record the stage times of a job, in milliseconds, by the names of its metrics (`detect_ms`)."""
    for name, milliseconds in spent.items():
        STAGE.labels(name.removesuffix("_ms")).observe(milliseconds / 1000)


def expect_batches(model: str) -> None:
    """Start the counters of a model at 0."""
    for counter in (BATCH_RUNS, BATCH_ROWS, BATCH_SLOTS):
        counter.labels(model)


def note_batch(model: str, *, rows: int, slots: int) -> None:
    """Record one batched model run."""
    BATCH_RUNS.labels(model).inc()
    BATCH_ROWS.labels(model).inc(rows)
    BATCH_SLOTS.labels(model).inc(slots)
