"""What every gateway reads from the ledger when it is asked for metrics: the same at each, so take one of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.errors import UnavailableError
from shared.ledger.measures import Measured, Shard

PATIENCE: Final = timedelta(seconds=3)
"""How long the ledger may take; whoever scrapes waits for ten seconds at most."""

GAUGES: Final = {
    "vultus_ledger_up": ("1 where the ledger answers, else 0, and nothing else is known.", ()),
    "vultus_ledger_workers": ("Workers that are alive with their models warmed.", ()),
    "vultus_ledger_queue_jobs": ("Jobs that wait; in `fetch` for their image, else for a worker.", ("shard", "queue")),
    "vultus_ledger_queue_oldest_seconds": ("Since when the first in line has waited.", ("shard", "queue")),
    "vultus_ledger_running_jobs": ("Jobs in work.", ("shard",)),
    "vultus_ledger_outbox_rows": ("Ends that no courier has taken up yet.", ("shard",)),
    "vultus_ledger_deliveries": ("Callbacks that wait or are in hand; of 500 destinations at most.", ("shard",)),
    "vultus_ledger_destinations": ("Destinations that a callback waits for.", ("shard",)),
    "vultus_ledger_destinations_resting": ("Of those, the ones left alone because they failed.", ("shard",)),
    "vultus_ledger_memory_bytes": ("Memory in use.", ("server",)),
    "vultus_ledger_memory_limit_bytes": ("The most it may use; 0: no limit.", ("server",)),
    "vultus_ledger_append_only": ("1 where it keeps an append-only file.", ("server",)),
    "vultus_ledger_append_only_ok": ("0 where its last write to that file failed.", ("server",)),
}
COUNTERS: Final = {
    "vultus_ledger_jobs_accepted_total": ("Jobs put on record.", ("operation",)),
    "vultus_ledger_jobs_started_total": ("Claims by workers: every start of a job.", ("operation",)),
    "vultus_ledger_jobs_ended_total": ("Ends of jobs; `code` says why one failed.", ("operation", "status", "code")),
    "vultus_ledger_jobs_requeued_total": ("Jobs put back in line because their worker fell silent.", ()),
    "vultus_ledger_jobs_released_total": ("Jobs put back in line by a worker that had to go.", ()),
    "vultus_ledger_delayed_syncs_total": ("Writes that waited for a sync in the background.", ("server",)),
}
COUNTED: Final = {
    "accepted": "vultus_ledger_jobs_accepted_total",
    "started": "vultus_ledger_jobs_started_total",
    "ended": "vultus_ledger_jobs_ended_total",
    "requeued": "vultus_ledger_jobs_requeued_total",
    "released": "vultus_ledger_jobs_released_total",
}
"""The ledger's own words for what it counts."""

Samples = Iterator[tuple[str, tuple[str, ...], float]]


class StoreCollector(Collector):
    """Measures the ledger for each scrape; one that does not answer in time is down, and asked again the next time.

    Args:
        measure: the ledger's measures; may raise `UnavailableError`, and may hang.
        workers: how many workers are alive; the same.
        patience: how long to wait for both.
    """

    def __init__(
        self, measure: Callable[[], Measured], workers: Callable[[], int], *, patience: timedelta = PATIENCE
    ) -> None:
        self._measure, self._workers, self._patience = measure, workers, patience
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="store-metrics")
        self._asked: Future[tuple[Measured, int]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Every family, without asking the ledger."""
        return _families().values()

    def collect(self) -> Iterable[Metric]:
        """Every family, measured now."""
        families = _families()
        found = self._found()
        families["vultus_ledger_up"].add_metric([], float(found is not None))
        if found is not None:
            for name, labels, value in _samples(*found):
                families[name].add_metric(labels, value)
        return families.values()

    def close(self) -> None:
        """Ask no more."""
        self._asker.shutdown(wait=False, cancel_futures=True)

    def _found(self) -> tuple[Measured, int] | None:
        if self._asked is None or self._asked.done():  # one that hangs is not asked twice
            self._asked = self._asker.submit(lambda: (self._measure(), self._workers()))
        try:
            return self._asked.result(self._patience.total_seconds())
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
    for words, times in _summed(shard.counts for shard in measured.shards).items():
        kind, *labels = words.split(" ")
        if kind in COUNTED:
            yield COUNTED[kind], tuple(labels), times


def _of_shard(number: str, shard: Shard) -> Samples:
    for queue, jobs in shard.jobs.items():
        yield "vultus_ledger_queue_jobs", (number, queue), jobs
        yield "vultus_ledger_queue_oldest_seconds", (number, queue), shard.oldest[queue]
    yield "vultus_ledger_running_jobs", (number,), shard.running
    yield "vultus_ledger_outbox_rows", (number,), shard.outbox
    yield "vultus_ledger_deliveries", (number,), shard.deliveries
    yield "vultus_ledger_destinations", (number,), shard.destinations
    yield "vultus_ledger_destinations_resting", (number,), shard.resting


def _summed(every: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in every:
        for words, times in counts.items():
            total[words] = total.get(words, 0) + times
    return total
