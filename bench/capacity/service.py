"""Model the service as stations: gateways, ledger, broker, workers and couriers, and a job's path through them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from bench.capacity.simulation import Draw, Journey, Leg, Resize, Seen, Station, constant, exponential, simulate

HANGS: Final = 15.0
"""Seconds of an attempt if the receiver never responds (`VULTUS_WEBHOOK_TIMEOUT`)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of each part per job. The defaults are for `compact` on a CPU (docs/capacity.md)."""

    gateway: float = 1 / 309
    """One gateway process, which accepts 309 jobs/s and does little else (`bench.accepts`)."""
    ledger: float = 0.0018
    """CPU time of one primary over the lifetime of a job; it has one thread."""
    broker: float = 0.00018
    """CPU time of the broker per job; there is one broker, and it has one thread."""
    worker: float = 0.0805
    """One job thread with its own core: `embed` of a picture with one face (`bench.capacity.check`)."""
    doorbell: float = 0.003
    """From acceptance to claim if a thread is free."""
    delivery: float = 0.1
    """One attempt at a receiver that responds: an assumption about receivers, not a measurement."""


@dataclass(frozen=True, slots=True)
class Plant:
    """The number of running parts."""

    gateways: int
    shards: int
    threads: int
    """Job threads of all workers."""
    couriers: int = 1
    attempts: int = 512
    """Concurrent attempts of one courier (`VULTUS_WEBHOOK_PARALLEL`)."""


@dataclass(frozen=True, slots=True)
class Load:
    """The arrivals."""

    times: Sequence[float]
    """Arrival times in seconds, ascending."""
    fan_out: int = 0
    """Callbacks per completed job."""
    hanging: float = 0.0
    """Share of the callbacks whose receiver never responds."""
    seed: int = 1


def stations(plant: Plant, costs: Costs, *, work: Draw | None = None, hanging: float = 0.0) -> list[Station]:
    """Return the parts that a job visits; half of the ledger's cost is for accepting, half for finishing."""

    def attempt(rng: Random) -> float:
        return HANGS if rng.random() < hanging else rng.expovariate(1 / costs.delivery)

    return [
        Station("gateway", plant.gateways, constant(costs.gateway)),
        *(Station(f"ledger {number}", 1, constant(costs.ledger / 2)) for number in range(plant.shards)),
        Station("broker", 1, constant(costs.broker)),
        Station("workers", plant.threads, work or exponential(costs.worker)),
        Station("couriers", plant.couriers * plant.attempts, attempt),
    ]


def journeys(load: Load, plant: Plant, costs: Costs) -> Iterator[tuple[float, Journey]]:
    """Yield the journey of each job; the load's seed determines its shard."""
    rng = Random(f"shards {load.seed}")  # noqa: S311 - a simulation
    calls = tuple((Leg("couriers"),) for _ in range(load.fan_out))
    for time in load.times:
        ledger = f"ledger {rng.randrange(plant.shards)}"
        yield (
            time,
            (
                Leg("gateway"),
                Leg(ledger),
                Leg("broker"),
                Leg("workers", delay=costs.doorbell),
                Leg(ledger, then=calls),
            ),
        )


def run(
    plant: Plant,
    load: Load,
    costs: Costs,
    *,
    work: Draw | None = None,
    changes: Sequence[Resize] = (),
    until: float = math.inf,
) -> Mapping[str, Seen]:
    """Simulate the service under a load. `work` replaces the workers' service times."""
    return simulate(
        stations(plant, costs, work=work, hanging=load.hanging),
        journeys(load, plant, costs),
        seed=load.seed,
        changes=changes,
        until=until,
    )


def utilization(seen: Mapping[str, Seen], plant: Plant, *, seconds: float) -> dict[str, float]:
    """Return the utilization of each part over `seconds`; for the ledger, that of the busiest primary."""
    servers = {"gateway": plant.gateways, "workers": plant.threads, "couriers": plant.couriers * plant.attempts}
    shares = {name: part.busy / seconds / servers.get(name, 1) for name, part in seen.items()}
    ledgers = [share for name, share in shares.items() if name.startswith("ledger ")]
    rest = {name: share for name, share in shares.items() if not name.startswith("ledger ")}
    return {**rest, "ledger": max(ledgers)}
