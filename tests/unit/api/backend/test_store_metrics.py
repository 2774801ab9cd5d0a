"""Metrics of the ledger, and scrapes that do not hang with it."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from api.backend.store_metrics import COUNTED, COUNTERS, GAUGES, StoreCollector
from shared.errors import ErrorCode, UnavailableError
from shared.ledger.measures import Measured, Server, Shard

QUEUES = ("high", "normal", "low", "fetch")


def shard(**counts: int) -> Shard:
    return Shard(
        jobs=dict.fromkeys(QUEUES, 2),
        oldest=dict.fromkeys(QUEUES, 1.5),
        running=3,
        outbox=4,
        destinations=5,
        deliveries=6,
        resting=1,
        counts={name.replace("__", " "): times for name, times in counts.items()},
    )


MEASURED = Measured(
    shards=(
        shard(ended__embed__failed__worker_lost=2, accepted__embed=7, requeued=1, from_a_newer_version=9),
        shard(ended__embed__failed__worker_lost=1, ended__embed__succeeded__=4, started__embed=8),
    ),
    servers={"": Server(memory=10, memory_limit=20, append_only=True, writes_well=False, delayed_syncs=3)},
)


def registry(collector: StoreCollector) -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(collector)
    return found


@pytest.fixture
def found() -> CollectorRegistry:
    return registry(StoreCollector(lambda: MEASURED, lambda: 2))


def test_every_shard_and_queue_has_its_depth_and_age(found: CollectorRegistry) -> None:
    assert found.get_sample_value("vultus_ledger_queue_jobs", {"shard": "1", "queue": "low"}) == 2
    assert found.get_sample_value("vultus_ledger_queue_oldest_seconds", {"shard": "0", "queue": "fetch"}) == 1.5
    assert found.get_sample_value("vultus_ledger_outbox_rows", {"shard": "0"}) == 4
    assert found.get_sample_value("vultus_ledger_workers") == 2


def test_counts_of_all_shards_are_summed(found: CollectorRegistry) -> None:
    lost = {"operation": "embed", "status": "failed", "code": "worker_lost"}
    assert found.get_sample_value("vultus_ledger_jobs_ended_total", lost) == 3
    well = {"operation": "embed", "status": "succeeded", "code": ""}
    assert found.get_sample_value("vultus_ledger_jobs_ended_total", well) == 4
    assert found.get_sample_value("vultus_ledger_jobs_requeued_total") == 1


def test_what_never_happened_is_counted_as_zero(found: CollectorRegistry) -> None:
    assert found.get_sample_value("vultus_ledger_jobs_accepted_total", {"operation": "register"}) == 0
    assert found.get_sample_value("vultus_ledger_jobs_released_total") == 0
    crash = {"operation": "embed", "status": "failed", "code": "internal_error"}
    assert found.get_sample_value("vultus_ledger_jobs_ended_total", crash) == 0


def test_a_failed_append_only_write_is_reported(found: CollectorRegistry) -> None:
    assert found.get_sample_value("vultus_ledger_append_only_ok", {"server": ""}) == 0


def test_every_counter_of_the_ledger_has_a_metric() -> None:
    assert set(COUNTED.values()) | {"vultus_ledger_delayed_syncs_total"} == set(COUNTERS)


def test_registration_does_not_read_the_ledger() -> None:
    def never() -> Measured:
        raise AssertionError

    assert {family.name for family in StoreCollector(never, lambda: 0).describe()} == {
        name.removesuffix("_total") for name in {**GAUGES, **COUNTERS}
    }


def test_an_unavailable_ledger_is_reported_as_down_only() -> None:
    def away() -> Measured:
        raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "Away.")

    samples = [sample for family in registry(StoreCollector(away, lambda: 0)).collect() for sample in family.samples]
    assert [(sample.name, sample.value) for sample in samples] == [("vultus_ledger_up", 0)]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_hanging_ledger_is_down_and_not_read_twice(gate: threading.Event) -> None:
    asked = []

    def hangs() -> Measured:
        asked.append(1)
        gate.wait(60)
        return MEASURED

    collector = StoreCollector(hangs, lambda: 1, patience=timedelta(seconds=0.05))
    found = registry(collector)
    assert [found.get_sample_value("vultus_ledger_up") for _ in range(2)] == [0, 0]
    assert len(asked) == 1
    gate.set()
    collector._patience = timedelta(seconds=5)
    assert found.get_sample_value("vultus_ledger_up") == 1
    collector.close()
