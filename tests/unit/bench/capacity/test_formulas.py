"""Queueing formulas match values computed by hand or published in tables."""

import math

import pytest

from bench.capacity.formulas import erlang_c, mean_wait, mean_wait_general, offered, servers_for, wait_quantile


@pytest.mark.parametrize(
    ("servers", "load", "chance"),
    [
        (1, 0.5, 0.5),  # one server: the chance is the utilization
        (2, 1.0, 1 / 3),
        (3, 2.0, 4 / 9),
        (10, 8.0, 0.4092),
        (1, 1.0, 1.0),
        (4, 9.0, 1.0),
    ],
)
def test_probability_of_waiting_is_erlang_c(servers: int, load: float, chance: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(chance, abs=5e-5)


def test_thousands_of_servers_do_not_overflow() -> None:
    assert 0 < erlang_c(5_000, 4_900.0) < 1


def test_mean_wait_of_one_server_matches_the_textbook() -> None:
    assert mean_wait(1, 0.8, 0.1) == pytest.approx(0.4)  # rho / (1 - rho) services
    assert mean_wait_general(1, 0.8, 0.1, variation=0) == pytest.approx(0.2)  # M/D/1: half of it
    assert mean_wait(1, 1.0, 0.1) == math.inf


def test_quantiles_of_the_wait() -> None:
    # M/M/1: P(wait > t) = rho exp(-(1 - rho) t / service)
    assert wait_quantile(1, 0.5, 0.1, share=0.99) == pytest.approx(math.log(50) * 0.1 / 0.5)
    assert wait_quantile(1, 0.5, 0.1, share=0.4) == 0
    assert wait_quantile(2, 2.0, 0.1, share=0.5) == math.inf


def test_minimum_servers_for_a_maximum_wait() -> None:
    servers = servers_for(8.0, 0.1, wait=0.2)
    assert wait_quantile(servers, 8.0, 0.1, share=0.99) <= 0.2 < wait_quantile(servers - 1, 8.0, 0.1, share=0.99)


def test_offered_load_is_rate_times_service_time() -> None:
    assert offered(100, 0.0886) == pytest.approx(8.86)
