"""The service as stations: each part is as busy as rate times cost says, and receivers that hang take room."""

import pytest

from bench.capacity.service import HANGS, Costs, Load, Plant, run, utilisation
from bench.capacity.simulation import constant, poisson

COSTS = Costs()


@pytest.mark.parametrize(
    ("rate", "plant", "seconds"), [(5, Plant(1, 1, 1), 600.0), (100, Plant(2, 2, 13, couriers=2), 60.0)]
)
def test_every_part_is_as_busy_as_its_cost_says(rate: float, plant: Plant, seconds: float) -> None:
    times = poisson(rate, seconds=seconds, seed=2)
    seen = run(plant, Load(times, fan_out=2), COSTS, work=constant(COSTS.worker))
    busy, came = utilisation(seen, plant, seconds=seconds), len(times) / seconds
    assert busy["gateway"] == pytest.approx(came * COSTS.gateway / plant.gateways)
    assert busy["broker"] == pytest.approx(came * COSTS.broker)
    assert busy["workers"] == pytest.approx(came * COSTS.worker / plant.threads)
    assert busy["couriers"] == pytest.approx(2 * came * COSTS.delivery / plant.couriers / 512, rel=0.05)
    assert busy["ledger"] == pytest.approx(came * COSTS.ledger / plant.shards, rel=0.05)


def test_every_job_passes_its_shard_twice_and_calls_each_receiver() -> None:
    times = poisson(20, seconds=50, seed=3)
    seen = run(Plant(1, 4, 4), Load(times, fan_out=3), COSTS)
    assert sum(len(part.waits) for name, part in seen.items() if name.startswith("ledger")) == 2 * len(times)
    assert len(seen["workers"].waits) == len(times)
    assert len(seen["couriers"].waits) == 3 * len(times)


def test_receivers_that_hang_take_the_room_of_the_others() -> None:
    load = Load(poisson(20, seconds=60, seed=4), fan_out=1, hanging=0.1)
    few, many = (run(Plant(1, 1, 4, attempts=attempts), load, COSTS)["couriers"] for attempts in (16, 512))
    assert 20 * load.hanging * HANGS > 16, "fewer than there is room for"
    assert max(few.waits) > 5
    assert max(many.waits) < 0.1
