"""Plans keep every part below its limit and waits short, sort bottlenecks, and cover the loss of a region."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity import plan
from bench.capacity.formulas import offered, wait_quantile
from bench.capacity.plan import FULL, LATE, RATES, Bytes, ends, needed, region_lost
from bench.capacity.service import Costs

COSTS = Costs()


@pytest.mark.parametrize("rate", [0.1, 10, 100, 10_000])
def test_planned_parts_and_waits_stay_below_their_limits(rate: float) -> None:
    plant = needed(rate, COSTS)
    for servers, cost in ((plant.gateways, COSTS.gateway), (plant.shards, COSTS.ledger), (plant.threads, COSTS.worker)):
        assert offered(rate, cost) / servers <= FULL + 1e-9
    assert wait_quantile(plant.threads, offered(rate, COSTS.worker), COSTS.worker, share=0.99) <= LATE


def test_bottlenecks_are_sorted_by_capacity() -> None:
    parts = list(ends(COSTS, Bytes(), ledger_memory=2e9))
    assert [rate for _, rate in parts] == sorted(rate for _, rate in parts)
    assert parts[0][0] == "one ledger primary, results kept for a day"


def test_region_with_spare_capacity_takes_over_without_a_queue() -> None:
    longest, _, over = region_lost(100, COSTS, spare=0.45, more_after=None, seconds=120)
    assert longest < 2
    assert over == pytest.approx(0, abs=60)


def test_region_without_spare_capacity_falls_behind() -> None:
    longest, last, over = region_lost(100, COSTS, spare=0.7, more_after=None, seconds=120)
    assert over == math.inf
    assert last == pytest.approx(longest, rel=0.05)
    threads = math.ceil(50 * COSTS.worker / 0.7)
    assert longest == pytest.approx(
        120 * (1 - threads / (100 * COSTS.worker)), rel=0.2
    )  # the excess load accumulates in the queue


def test_region_catches_up_with_twice_the_threads() -> None:
    _, last, over = region_lost(100, COSTS, spare=0.7, more_after=30, seconds=120)
    assert last < 1
    assert 30 < over < 60


def test_plan_reports_a_part_that_cannot_be_replicated() -> None:
    lines = "\n".join(plan.plan(10_000, COSTS, Bytes(), jobs=2_000))
    assert "OVERLOADED: cannot be replicated" in lines
    assert "OVERLOADED" not in "\n".join(plan.plan(100, replace(COSTS, worker=0.01), Bytes(), jobs=2_000))


def test_capacity_document_matches_the_plan() -> None:
    text = (Path(__file__).parents[4] / "docs" / "capacity.md").read_text(encoding="utf-8")
    plants = [needed(rate, COSTS) for rate in RATES]
    for label, part in (("gateway processes", "gateways"), ("ledger primaries", "shards")):
        assert f"| {label} | {' | '.join(f'{getattr(plant, part):,}' for plant in plants)} |" in text
    assert f"99 % of the waits below {LATE} s) | {' | '.join(f'{plant.threads:,}' for plant in plants)} |" in text
    rates = [rate for _, rate in ends(COSTS, Bytes(), ledger_memory=2e9)]
    assert f"| {rates[0]:.1f} jobs/s around the clock |" in text
    for rate in rates[2:]:
        assert f"| {rate:,.0f} " in text
