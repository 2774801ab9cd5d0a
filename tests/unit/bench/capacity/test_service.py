"""Each part's utilization is rate times cost, and hanging receivers occupy slots."""

import pytest

from bench.capacity.service import HANGS, Costs, Load, Plant, run, utilization
from bench.capacity.simulation import constant, poisson

COSTS = Costs()


@pytest.mark.parametrize(
    ("rate", "plant", "seconds"), [(5, Plant(1, 1, 1), 600.0), (100, Plant(2, 2, 13, couriers=2), 60.0)]
)
def test_utilization_of_every_part_is_rate_times_cost(rate: float, plant: Plant, seconds: float) -> None:
    times = poisson(rate, seconds=seconds, seed=2)
    seen = run(plant, Load(times, fan_out=2), COSTS, work=constant(COSTS.worker))
    busy, arrival_rate = utilization(seen, plant, seconds=seconds), len(times) / seconds
    assert busy["gateway"] == pytest.approx(arrival_rate * COSTS.gateway / plant.gateways)
    assert busy["broker"] == pytest.approx(arrival_rate * COSTS.broker)
    assert busy["workers"] == pytest.approx(arrival_rate * COSTS.worker / plant.threads)
    assert busy["couriers"] == pytest.approx(2 * arrival_rate * COSTS.delivery / plant.couriers / 512, rel=0.05)
    assert busy["ledger"] == pytest.approx(arrival_rate * COSTS.ledger / plant.shards, rel=0.05)


def test_every_job_visits_its_shard_twice_and_calls_each_receiver() -> None:
    times = poisson(20, seconds=50, seed=3)
    seen = run(Plant(1, 4, 4), Load(times, fan_out=3), COSTS)
    assert sum(len(part.waits) for name, part in seen.items() if name.startswith("ledger")) == 2 * len(times)
    assert len(seen["workers"].waits) == len(times)
    assert len(seen["couriers"].waits) == 3 * len(times)


def test_hanging_receivers_occupy_the_slots_of_others() -> None:
    load = Load(poisson(20, seconds=60, seed=4), fan_out=1, hanging=0.1)
    few, many = (run(Plant(1, 1, 4, attempts=attempts), load, COSTS)["couriers"] for attempts in (16, 512))
    assert 20 * load.hanging * HANGS > 16, "too few hanging attempts to fill the slots"
    assert max(few.waits) > 5
    assert max(many.waits) < 0.1
