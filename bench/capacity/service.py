"""The service as stations: gateways, ledger, workers, couriers, and the way of a job through them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from bench.capacity.simulation import Draw, Journey, Leg, Resize, Seen, Station, constant, exponential, simulate

HANGS: Final = 15.0
"""Seconds that an attempt at a receiver which never answers takes (`VULTUS_WEBHOOK_TIMEOUT`)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that one job takes of each part. The defaults are of `compact` on a CPU (docs/capacity.md)."""

    gateway: float = 1 / 309
    """One gateway process: it accepts 309 jobs a second and does little else (`bench.accepts`)."""
    ledger: float = 0.0018
    """One primary: its processor time over the whole life of a job; it has one thread."""
    broker: float = 0.00018
    """The broker: its processor time for a job; it has one thread, and there is one of it."""
    worker: float = 0.0805
    """One job thread with a core of its own: a picture with one face, embedded (`bench.capacity.check`)."""
    doorbell: float = 0.003
    """From accepted to claimed where a thread is free."""
    delivery: float = 0.1
    """One attempt at a receiver that answers: an assumption about partners, not a measurement."""


@dataclass(frozen=True, slots=True)
class Plant:
    """What is running."""

    gateways: int
    shards: int
    threads: int
    """Job threads over all workers."""
    couriers: int = 1
    attempts: int = 512
    """Attempts of one courier at once (`VULTUS_WEBHOOK_PARALLEL`)."""


@dataclass(frozen=True, slots=True)
class Load:
    """The arrivals."""

    times: Sequence[float]
    """When jobs arrive, in seconds, rising."""
    fan_out: int = 0
    """Callbacks for each job's end."""
    hanging: float = 0.0
    """Share of the callbacks whose receiver never answers."""
    seed: int = 1


def stations(plant: Plant, costs: Costs, *, work: Draw | None = None, hanging: float = 0.0) -> list[Station]:
    """The parts that a job passes; the ledger's cost is halved between accepting and finishing."""

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
    """Each job with its shard, drawn by the load's seed."""
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


def utilisation(seen: Mapping[str, Seen], plant: Plant, *, seconds: float) -> dict[str, float]:
    """Busy share of each part over a time; of the ledger's primaries the busiest."""
    servers = {"gateway": plant.gateways, "workers": plant.threads, "couriers": plant.couriers * plant.attempts}
    shares = {name: part.busy / seconds / servers.get(name, 1) for name, part in seen.items()}
    ledgers = [share for name, share in shares.items() if name.startswith("ledger ")]
    rest = {name: share for name, share in shares.items() if not name.startswith("ledger ")}
    return {**rest, "ledger": max(ledgers)}
