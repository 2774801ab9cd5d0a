"""Plan capacity for 10, 100 and 10,000 jobs/s and simulate the loss of a region: `python -m bench.capacity.plan`.

For each rate, the plan uses the cost of one job (`--worker-ms` and similar; for the measured defaults see `Costs`) to
choose the smallest number of each part that stays below `FULL`. The simulator then predicts how long jobs wait.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bench.capacity.formulas import offered, servers_for
from bench.capacity.service import Costs, Load, Plant, run, utilization
from bench.capacity.simulation import Resize, poisson
from bench.statistic import percentile

FULL: Final = 0.7
"""Maximum planned utilization of a part; above it, waits grow faster than the load."""
LATE: Final = 0.2
"""Maximum planned p99 of the wait for a worker, in seconds."""
RATES: Final = (10, 100, 10_000)
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Bytes:
    """Memory of one job."""

    image: int = 200_000
    """While the job is queued: in the ledger's memory, and written once to its append-only file."""
    kept: int = 9_200
    """After completion, for `VULTUS_RESULT_TTL`: an embedding as JSON and the job's record (`bench.capacity.check`)."""


def needed(rate: float, costs: Costs) -> Plant:
    """Return the smallest plant for a rate: no part above `FULL`, and enough workers for waits below `LATE`."""

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
    """Yield the maximum jobs per second of one of each part, lowest first.

    `ledger_memory` is in bytes; new jobs are rejected above 70 % of it.
    """
    yield from sorted(
        {
            "one gateway process": 1 / costs.gateway,
            "one ledger primary, CPU": 1 / costs.ledger,
            "one ledger primary, results kept for a day": 0.7 * ledger_memory / DAY / weight.kept,
            "the broker": 1 / costs.broker,
            "one job thread": 1 / costs.worker,
            "one courier, if receivers respond": 512 / costs.delivery,
        }.items(),
        key=lambda part: part[1],
    )


def plan(rate: float, costs: Costs, weight: Bytes, *, jobs: int = 30_000) -> Iterator[str]:
    """Yield the lines for one rate: number of parts, utilization, simulated waits, and bytes."""
    plant, seconds = needed(rate, costs), jobs / rate
    load = Load(poisson(rate, seconds=seconds, seed=7), fan_out=1)
    seen = run(plant, load, costs)
    busy = utilization(seen, plant, seconds=seconds)
    waits = seen["workers"].waits
    yield f"{rate:,} jobs/s, {len(load.times):,} jobs simulated"
    counts = {
        "gateway": f"{plant.gateways} gateway processes",
        "ledger": f"{plant.shards} ledger primaries",
        "broker": "1 broker",
        "workers": f"{plant.threads} job threads",
        "couriers": f"{plant.couriers} couriers",
    }
    for part, text in counts.items():
        note = "  OVERLOADED: cannot be replicated; split into cells" if busy[part] > FULL and part == "broker" else ""
        yield f"  {text:<24} {busy[part]:>6.1%} busy{note}"
    yield f"  wait for a worker: p50 {percentile(waits, 0.5):.3f} s, p99 {percentile(waits, 0.99):.3f} s"
    yield (
        f"  incoming images: {rate * weight.image / 1e6:,.0f} MB/s through the gateways and to the ledger's disks; "
        f"results kept for a day: {rate * DAY * weight.kept / 1e9:,.0f} GB of memory; for 10 minutes: "
        f"{rate * 600 * weight.kept / 1e9:,.1f} GB"
    )


def region_lost(
    rate: float, costs: Costs, *, spare: float, more_after: float | None, seconds: float = 600.0
) -> tuple[float, float, float]:
    """Simulate the loss of one of two regions with half the jobs each; the other receives all jobs afterwards.

    Args:
        rate: Jobs per second over both regions.
        costs: Costs of one job.
        spare: Utilization of each region's workers before the loss.
        more_after: Seconds after which the region has twice the job threads; None = never.
        seconds: Simulated seconds after the loss.

    Returns:
        The longest wait, the wait of the last started job, and the seconds until waits stay below one second (infinite
        if they do not by the end of the simulation).
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
    """Yield every line of the plan."""
    yield "Capacity of one of each part:"
    for name, rate in ends(costs, weight, ledger_memory=ledger_memory):
        yield f"  {name:<46} {rate:>8,.1f} jobs/s"
    for rate in RATES:
        yield ""
        yield from plan(rate, costs, weight)
    yield ""
    yield "Loss of one of two regions at 100 jobs/s (the next 10 minutes, simulated):"
    for spare, more in ((0.45, None), (0.7, 120.0), (0.7, None)):
        longest, last, over = region_lost(100, costs, spare=spare, more_after=more)
        added = "twice the threads after 2 minutes" if more else "no threads added"
        end = f"below one second again after {over:.0f} s" if math.isfinite(over) else f"still {last:.0f} s at the end"
        yield f"  workers {spare:.0%} busy before the loss, {added}: longest wait {longest:.1f} s, {end}"


def main() -> None:
    """Print the plan."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"gateway", "ledger", "broker", "worker", "delivery"}
    for name in sorted(parts):
        options.add_argument(
            f"--{name}-ms", type=float, help=f"milliseconds per job ({getattr(Costs(), name) * 1e3:g})"
        )
    options.add_argument("--ledger-gb", type=float, default=2.0, help="memory limit of one ledger primary (2)")
    arguments = options.parse_args()
    custom = {name: getattr(arguments, f"{name}_ms") for name in parts}
    costs = replace(Costs(), **{name: value / 1e3 for name, value in custom.items() if value is not None})
    for line in lines(costs, Bytes(), ledger_memory=arguments.ledger_gb * 1e9):
        print(line)


if __name__ == "__main__":
    main()
