"""The check tells a stack that does as foretold from one that does not, on runs that were made up."""

from random import Random

from bench.capacity.check import Done, compare, foretold, measured, turning, within
from bench.capacity.simulation import Leg, Station, poisson, simulate


def jobs(*, servers: int = 2, rate: float = 16.0, slow: float = 1.0) -> list[Done]:
    """A run of two threads of 0.1 s; `slow` stretches the waits as a broken queue would."""
    times = poisson(rate, seconds=40, seed=5)
    rng = Random(9)  # noqa: S311 - a simulation
    served: list[float] = []

    def draw(_: Random) -> float:
        served.append(rng.expovariate(10))
        return served[-1]

    seen = simulate([Station("s", servers, draw)], ((time, (Leg("s"),)) for time in times), seed=1)["s"]
    return [
        Done(begun - wait, wait * slow + 0.003, took)
        for begun, wait, took in zip(seen.begun, seen.waits, served, strict=True)
    ]


def test_a_run_of_the_same_rules_is_as_foretold() -> None:
    assert compare(jobs(), name="80%", servers=2, doorbell=0.003, turn=0.0)


def test_a_stack_that_lets_jobs_wait_longer_is_found_out() -> None:
    assert not compare(jobs(slow=4.0), name="80%", servers=2, doorbell=0.003, turn=0.0)


def test_and_one_that_has_fewer_threads_than_it_says() -> None:
    assert not compare(jobs(servers=1, rate=9), name="80%", servers=2, doorbell=0.003, turn=0.0)


def test_foretelling_keeps_arrivals_and_adds_the_doorbell() -> None:
    run = jobs(rate=1.0)
    found = foretold(run, servers=2, doorbell=0.25, turn=0.0, seed=1)
    assert found.middle == 0.25
    assert abs(found.utilisation - measured(run, servers=2).utilisation) < 0.05


def test_the_band_is_the_middle_of_the_simulated_runs_with_slack() -> None:
    simulated = [1.0 + number / 1000 for number in range(200)]
    assert within(1.1, simulated)
    assert within(1.4, simulated)
    assert not within(1.6, simulated)
    assert not within(0.7, simulated)
    assert within(0.7, simulated, grain=0.2)


def test_the_time_from_job_to_job_is_measured_if_a_job_waited() -> None:
    run = [Done(0.0, 0.0, 1.0), Done(0.0, 0.0, 2.0), Done(0.5, 0.7, 1.0), Done(0.6, 1.8, 1.0), Done(9.0, 0.001, 1.0)]
    assert abs(turning(run, servers=2) - (0.2 + 0.4) / 2) < 1e-9
    assert turning(run[:2], servers=2) == 0
