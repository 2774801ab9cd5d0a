"""The check distinguishes runs that match the prediction from runs that do not, on synthetic runs."""

from random import Random

from bench.capacity.check import Done, compare, handover_time, measured, predict, within
from bench.capacity.simulation import Leg, Station, poisson, simulate


def jobs(*, servers: int = 2, rate: float = 16.0, slow: float = 1.0) -> list[Done]:
    """Generate a run with a mean service time of 0.1 s; `slow` stretches the waits as a broken queue would."""
    times = poisson(rate, seconds=20, seed=5)
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


def test_run_with_the_same_rules_matches() -> None:
    assert compare(jobs(), name="80%", servers=2, doorbell=0.003, handover=0.0)


def test_run_with_longer_waits_does_not_match() -> None:
    assert not compare(jobs(slow=4.0), name="80%", servers=2, doorbell=0.003, handover=0.0)


def test_run_with_fewer_threads_does_not_match() -> None:
    assert not compare(jobs(servers=1, rate=9), name="80%", servers=2, doorbell=0.003, handover=0.0)


def test_prediction_keeps_arrivals_and_adds_the_doorbell() -> None:
    run = jobs(rate=1.0)
    figures = predict(run, servers=2, doorbell=0.25, handover=0.0, seed=1)
    assert figures.median == 0.25
    assert abs(figures.utilization - measured(run, servers=2).utilization) < 0.05


def test_band_is_the_middle_of_the_simulated_values_with_slack() -> None:
    simulated = [1.0 + number / 1000 for number in range(200)]
    assert within(1.1, simulated)
    assert within(1.4, simulated)
    assert not within(1.6, simulated)
    assert not within(0.7, simulated)
    assert within(0.7, simulated, grain=0.2)


def test_handover_time_is_measured_only_if_a_job_waited() -> None:
    run = [Done(0.0, 0.0, 1.0), Done(0.0, 0.0, 2.0), Done(0.5, 0.7, 1.0), Done(0.6, 1.8, 1.0), Done(9.0, 0.001, 1.0)]
    assert abs(handover_time(run, servers=2) - (0.2 + 0.4) / 2) < 1e-9
    assert handover_time(run[:2], servers=2) == 0
