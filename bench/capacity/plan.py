"""What 10, 100 and 10,000 jobs a second need, and what the loss of a region does: `python -m bench.capacity.plan`.

Rates come in, counts go out: from the costs of one job (`--worker-ms` and the like; the defaults are measured, see
`Costs`) the fewest of each part are taken that stay below `FULL`, and the simulator says how long jobs then wait.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bench.capacity.formulas import offered, servers_for
from bench.capacity.service import Costs, Load, Plant, run, utilisation
from bench.capacity.simulation import Resize, poisson
from bench.statistic import percentile

FULL: Final = 0.7
"""Share of a part's time beyond which it is not planned: above it waits grow faster than load."""
LATE: Final = 0.2
"""Seconds that 99 % of the jobs wait for a worker at most, in a plan."""
RATES: Final = (10, 100, 10_000)
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Bytes:
    """What one job weighs."""

    image: int = 200_000
    """While it waits, in the ledger's memory and once through its append-only file."""
    kept: int = 9_200
    """After its end, until `VULTUS_RESULT_TTL`: one embedding as JSON and the job's record (`bench.capacity.check`)."""


def needed(rate: float, costs: Costs) -> Plant:
    """The fewest parts that carry a rate: none above `FULL`, and workers enough for waits below `LATE`."""

    def count(seconds: float) -> int:
        return max(1, math.ceil(offered(rate, seconds) / FULL - 1e-9))

    by_wait = servers_for(offered(rate, costs.worker), costs.worker, wait=LATE)
    return Plant(
        gateways=count(costs.gateway),
        shards=count(costs.ledger),
        threads=max(by_wait, count(costs.worker)),
        couriers=max(1, math.ceil(offered(rate, costs.delivery) / FULL / 512)),
    )


def ends(costs: Costs, weight: Bytes, *, ledger_memory: float) -> Iterator[tuple[str, float]]:
    """What one of each part carries, as jobs a second, the first to break first.

    `ledger_memory` is in bytes; new jobs are refused above 70 % of it.
    """
    yield from sorted(
        {
            "one gateway process": 1 / costs.gateway,
            "one ledger primary, its thread": 1 / costs.ledger,
            "one ledger primary, results kept for a day": 0.7 * ledger_memory / DAY / weight.kept,
            "the broker": 1 / costs.broker,
            "one job thread": 1 / costs.worker,
            "one courier, receivers that answer": 512 / costs.delivery,
        }.items(),
        key=lambda part: part[1],
    )


def plan(rate: float, costs: Costs, weight: Bytes, *, jobs: int = 30_000) -> Iterator[str]:
    """One rate: parts, how busy they are, waits by simulation, and bytes."""
    plant, seconds = needed(rate, costs), jobs / rate
    load = Load(poisson(rate, seconds=seconds, seed=7), fan_out=1)
    seen = run(plant, load, costs)
    busy = utilisation(seen, plant, seconds=seconds)
    waits = seen["workers"].waits
    yield f"{rate:,} jobs/s, {len(load.times):,} jobs simulated"
    counts = {
        "gateway": f"{plant.gateways} gateway processes",
        "ledger": f"{plant.shards} ledger primaries",
        "broker": "1 broker",
        "workers": f"{plant.threads} job threads",
        "couriers": f"{plant.couriers} couriers",
    }
    for part, words in counts.items():
        note = "  BREAKS: it cannot be doubled; split into cells" if busy[part] > FULL and part == "broker" else ""
        yield f"  {words:<24} {busy[part]:>6.1%} busy{note}"
    yield f"  wait for a worker: p50 {percentile(waits, 0.5):.3f} s, p99 {percentile(waits, 0.99):.3f} s"
    yield (
        f"  images in: {rate * weight.image / 1e6:,.0f} MB/s through the gateways, and to the disks of the ledger; "
        f"results kept for a day: {rate * DAY * weight.kept / 1e9:,.0f} GB of memory, for 10 minutes: "
        f"{rate * 600 * weight.kept / 1e9:,.1f} GB"
    )


def region_lost(
    rate: float, costs: Costs, *, spare: float, more_after: float | None, seconds: float = 600.0
) -> tuple[float, float, float]:
    """Of two regions with half the jobs each, one goes: the other gets all jobs from then on.

    Args:
        rate: jobs a second over both.
        costs: of a job.
        spare: how busy the workers of each region were.
        more_after: seconds after which the region has twice the job threads; None = never.
        seconds: simulated after the loss.

    Returns:
        The longest wait, the wait of the last job that began, and the seconds after which waits are below a second
        for good (infinite where they are not by the end).
    """
    threads = max(1, math.ceil(offered(rate / 2, costs.worker) / spare))
    quiet = 60.0
    before = poisson(rate / 2, seconds=quiet, seed=3)
    after = [quiet + time for time in poisson(rate, seconds=seconds, seed=4)]
    plant = replace(needed(rate, costs), threads=threads)
    changes = [] if more_after is None else [Resize(quiet + more_after, "workers", 2 * threads)]
    seen = run(plant, Load([*before, *after]), costs, changes=changes, until=quiet + seconds)["workers"]
    late = [began for began, wait in zip(seen.begun, seen.waits, strict=True) if wait > 1]
    over = (max(late) - quiet) if late else 0.0
    return max(seen.waits), seen.waits[-1], over if seen.waits[-1] <= 1 else math.inf


def lines(costs: Costs, weight: Bytes, *, ledger_memory: float) -> Iterator[str]:
    """The whole plan."""
    yield "What one of each carries:"
    for name, rate in ends(costs, weight, ledger_memory=ledger_memory):
        yield f"  {name:<46} {rate:>8,.1f} jobs/s"
    for rate in RATES:
        yield ""
        yield from plan(rate, costs, weight)
    yield ""
    yield "One of two regions lost at 100 jobs/s (10 minutes after it, simulated):"
    for spare, more in ((0.45, None), (0.7, 120.0), (0.7, None)):
        longest, last, over = region_lost(100, costs, spare=spare, more_after=more)
        added = "twice the threads after 2 minutes" if more else "nothing added"
        end = (
            f"waits are below a second again after {over:.0f} s" if math.isfinite(over) else f"{last:.0f} s at the end"
        )
        yield f"  workers {spare:.0%} busy before, {added}: longest wait {longest:.1f} s, {end}"


def main() -> None:
    """Print it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"gateway", "ledger", "broker", "worker", "delivery"}
    for name in sorted(parts):
        options.add_argument(
            f"--{name}-ms", type=float, help=f"milliseconds of a job ({getattr(Costs(), name) * 1e3:g})"
        )
    options.add_argument("--ledger-gb", type=float, default=2.0, help="most memory of one ledger primary (2)")
    given = options.parse_args()
    asked = {name: getattr(given, f"{name}_ms") for name in parts}
    costs = replace(Costs(), **{name: value / 1e3 for name, value in asked.items() if value is not None})
    for line in lines(costs, Bytes(), ledger_memory=given.ledger_gb * 1e9):
        print(line)


if __name__ == "__main__":
    main()
