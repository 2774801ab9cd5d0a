"""The simulator agrees with the queueing formulas, and follows its rules where no formula exists."""

import statistics
from collections.abc import Iterator, Sequence

import pytest

from bench.capacity.formulas import erlang_c, mean_wait, mean_wait_general, wait_quantile
from bench.capacity.simulation import (
    Draw,
    Journey,
    Leg,
    Resize,
    Seen,
    Station,
    constant,
    exponential,
    one_of,
    poisson,
    simulate,
)
from bench.statistic import percentile


def to(times: Sequence[float], *legs: Leg) -> Iterator[tuple[float, Journey]]:
    return ((time, legs) for time in times)


def one(draw: Draw, *, servers: int, rate: float, jobs: int = 60_000, seed: int = 11) -> Seen:
    times = poisson(rate, seconds=jobs / rate, seed=seed)
    return simulate([Station("s", servers, draw)], to(times, Leg("s")), seed=seed)["s"]


@pytest.mark.parametrize(("servers", "utilization"), [(1, 0.5), (1, 0.8), (2, 0.5), (2, 0.8), (13, 0.7)])
def test_exponential_service_matches_erlang_c(servers: int, utilization: float) -> None:
    load = servers * utilization
    seen = one(exponential(1.0), servers=servers, rate=load)
    waited = [wait for wait in seen.waits if wait > 0]
    assert len(waited) / len(seen.waits) == pytest.approx(erlang_c(servers, load), rel=0.05)
    assert statistics.fmean(seen.waits) == pytest.approx(mean_wait(servers, load, 1.0), rel=0.1)
    assert percentile(seen.waits, 0.99) == pytest.approx(wait_quantile(servers, load, 1.0, share=0.99), rel=0.15)


@pytest.mark.parametrize("servers", [1, 2])
def test_constant_service_halves_the_wait(servers: int) -> None:
    load = servers * 0.8
    expected = mean_wait_general(servers, load, 1.0, variation=0)
    assert statistics.fmean(one(constant(1.0), servers=servers, rate=load).waits) == pytest.approx(expected, rel=0.1)


def test_runs_differ_only_by_seed() -> None:
    runs = [one(exponential(1.0), servers=2, rate=1.5, jobs=500, seed=seed).waits for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_jobs_are_served_in_order_by_free_servers() -> None:
    seen = simulate([Station("s", 2, constant(10.0))], to([0.0, 1.0, 2.0, 3.0], Leg("s")), seed=1)["s"]
    assert seen.waits == [0.0, 0.0, 8.0, 8.0]
    assert (seen.busy, seen.left) == (40.0, 0)


def test_journey_continues_after_transit_and_starts_others() -> None:
    legs = (Leg("a"), Leg("b", delay=0.5, then=((Leg("c"),), (Leg("c"),))))
    stations = [Station("a", 1, constant(1.0)), Station("b", 1, constant(1.0)), Station("c", 1, constant(1.0))]
    seen = simulate(stations, to([0.0], *legs), seed=1)
    assert seen["b"].begun == [1.5]
    assert seen["c"].begun == [2.5, 3.5]


def test_removed_servers_finish_and_added_servers_start_at_once() -> None:
    changes = [Resize(0.5, "s", 1), Resize(2.5, "s", 3)]
    seen = simulate([Station("s", 2, constant(2.0))], to([0.0] * 5, Leg("s")), seed=1, changes=changes)["s"]
    assert seen.begun == [0.0, 0.0, 2.0, 2.5, 2.5]


def test_jobs_still_queued_at_the_end_are_counted() -> None:
    seen = simulate([Station("s", 1, constant(1.0))], to([0.0] * 5, Leg("s")), seed=1, until=2.5)["s"]
    assert (len(seen.waits), seen.left) == (3, 2)


def test_measured_times_are_drawn_with_equal_probability() -> None:
    seen = one(one_of([1.0, 1.0, 4.0]), servers=1_000, rate=10, jobs=3_000)
    assert seen.busy / len(seen.waits) == pytest.approx(2.0, rel=0.05)
