"""Metrics read from the ledger at each scrape. They are the same at every gateway, so use those of one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.errors import UnavailableError
from shared.jobs import FAILURE_CODES, Status
from shared.ledger.measures import Measured, Shard
from shared.operations import Operation

PATIENCE: Final = timedelta(seconds=3)
"""How long the ledger may take. Prometheus gives up after ten seconds by default."""

GAUGES: Final = {
    "vultus_ledger_up": ("1 if the ledger responds, otherwise 0; then its other metrics are missing.", ()),
    "vultus_ledger_workers": ("Workers that are alive with their models warmed up.", ()),
    "vultus_ledger_queue_jobs": ("Queued jobs; those in `fetch` wait for their image.", ("shard", "queue")),
    "vultus_ledger_queue_oldest_seconds": ("Time that the oldest queued job has waited.", ("shard", "queue")),
    "vultus_ledger_running_jobs": ("Running jobs.", ("shard",)),
    "vultus_ledger_outbox_rows": ("Completions that no courier has picked up yet.", ("shard",)),
    "vultus_ledger_deliveries": ("Pending callbacks and those in progress; of 500 destinations at most.", ("shard",)),
    "vultus_ledger_destinations": ("Destinations with a pending callback.", ("shard",)),
    "vultus_ledger_destinations_resting": ("Of those, the ones paused because they failed.", ("shard",)),
    "vultus_ledger_memory_bytes": ("Memory in use.", ("server",)),
    "vultus_ledger_memory_limit_bytes": ("Maximum memory; 0 = no limit.", ("server",)),
    "vultus_ledger_append_only": ("1 if the server keeps an append-only file.", ("server",)),
    "vultus_ledger_append_only_ok": ("0 if the last write to that file failed.", ("server",)),
}
COUNTERS: Final = {
    "vultus_ledger_jobs_accepted_total": ("Accepted jobs.", ("operation",)),
    "vultus_ledger_jobs_started_total": ("Starts of jobs by workers, including retries.", ("operation",)),
    "vultus_ledger_jobs_ended_total": (
        "Completed jobs; `code` is the error of a failed job.",
        ("operation", "status", "code"),
    ),
    "vultus_ledger_jobs_requeued_total": ("Jobs requeued because their worker stopped responding.", ()),
    "vultus_ledger_jobs_released_total": ("Jobs requeued by a worker that was shutting down.", ()),
    "vultus_ledger_delayed_syncs_total": ("Writes delayed by a background sync.", ("server",)),
}
COUNTED: Final = {
    "accepted": "vultus_ledger_jobs_accepted_total",
    "started": "vultus_ledger_jobs_started_total",
    "ended": "vultus_ledger_jobs_ended_total",
    "requeued": "vultus_ledger_jobs_requeued_total",
    "released": "vultus_ledger_jobs_released_total",
}
"""The ledger's names for its counters."""

ENDS: Final = (
    (Status.SUCCEEDED, ""),
    (Status.CANCELED, ""),
    (Status.EXPIRED, ""),
    *((Status.FAILED, code.value) for code in sorted(FAILURE_CODES)),
)
"""How a job can end: its status and the code of its failure."""
ZEROS: Final = {
    **{f"{kind} {operation}": 0 for kind in ("accepted", "started") for operation in Operation},
    **{f"ended {operation} {status} {code}": 0 for operation in Operation for status, code in ENDS},
    "requeued": 0,
    "released": 0,
}
"""The counters of a ledger in which nothing has happened. They are served, because `rate` does not see the first
increment of a series that did not exist."""

Samples = Iterator[tuple[str, tuple[str, ...], float]]


class StoreCollector(Collector):
    """Measures the ledger at each scrape. A ledger that does not respond in time is reported as down.

    Args:
        measure: returns the ledger's measures; may raise `UnavailableError`, and may hang.
        workers: returns the number of live workers; may fail in the same ways.
        patience: how long to wait for both.
    """

    def __init__(
        self, measure: Callable[[], Measured], workers: Callable[[], int], *, patience: timedelta = PATIENCE
    ) -> None:
        self._measure, self._workers, self._patience = measure, workers, patience
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-metrics")
        self._measurement: Future[tuple[Measured, int]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Return every family without reading the ledger."""
        return _families().values()

    def collect(self) -> Iterable[Metric]:
        """Return every family with current values."""
        families = _families()
        measurement = self._read()
        families["vultus_ledger_up"].add_metric([], float(measurement is not None))
        if measurement is not None:
            for name, labels, value in _samples(*measurement):
                families[name].add_metric(labels, value)
        return families.values()

    def close(self) -> None:
        """Stop measuring."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> tuple[Measured, int] | None:
        if self._measurement is None or self._measurement.done():  # do not start a second one while one hangs
            self._measurement = self._executor.submit(lambda: (self._measure(), self._workers()))
        try:
            return self._measurement.result(self._patience.total_seconds())
        except (UnavailableError, TimeoutError):
            return None


def _families() -> dict[str, Any]:
    gauges = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()}
    counters = {name: CounterMetricFamily(name, text, labels=labels) for name, (text, labels) in COUNTERS.items()}
    return {**gauges, **counters}


def _samples(measured: Measured, workers: int) -> Samples:
    yield "vultus_ledger_workers", (), workers
    for number, shard in enumerate(measured.shards):
        yield from _of_shard(str(number), shard)
    for name, server in measured.servers.items():
        yield "vultus_ledger_memory_bytes", (name,), server.memory
        yield "vultus_ledger_memory_limit_bytes", (name,), server.memory_limit
        yield "vultus_ledger_append_only", (name,), server.append_only
        yield "vultus_ledger_append_only_ok", (name,), server.writes_well
        yield "vultus_ledger_delayed_syncs_total", (name,), server.delayed_syncs
    for key, count in _summed(shard.counts for shard in measured.shards).items():
        kind, *labels = key.split(" ")
        if kind in COUNTED:
            yield COUNTED[kind], tuple(labels), count


def _of_shard(number: str, shard: Shard) -> Samples:
    for queue, jobs in shard.jobs.items():
        yield "vultus_ledger_queue_jobs", (number, queue), jobs
        yield "vultus_ledger_queue_oldest_seconds", (number, queue), shard.oldest[queue]
    yield "vultus_ledger_running_jobs", (number,), shard.running
    yield "vultus_ledger_outbox_rows", (number,), shard.outbox
    yield "vultus_ledger_deliveries", (number,), shard.deliveries
    yield "vultus_ledger_destinations", (number,), shard.destinations
    yield "vultus_ledger_destinations_resting", (number,), shard.resting


def _summed(shards: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter(ZEROS)
    for counts in shards:
        total.update(counts)
    return total
