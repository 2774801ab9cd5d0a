"""Queueing formulas for one station: they validate the simulator and give quick estimates without it."""

import math


def offered(rate: float, service: float) -> float:
    """Return the number of busy servers: arrivals per second times service seconds (Little's law)."""
    return rate * service


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that an arrival waits in M/M/c with a `load` in busy servers; 1 if overloaded.

    Uses the recursion of Erlang B (Erlang 1917), which does not overflow for thousands of servers.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    utilization = load / servers
    return blocked / (1 - utilization + utilization * blocked)


def mean_wait(servers: int, load: float, service: float) -> float:
    """Return the mean wait of M/M/c in seconds; infinite if the load is at least the number of servers."""
    return erlang_c(servers, load) * service / (servers - load) if load < servers else math.inf


def wait_quantile(servers: int, load: float, service: float, *, share: float) -> float:
    """Return the quantile of the wait in M/M/c, in seconds, for this share of the arrivals."""
    waits = erlang_c(servers, load)
    if load >= servers:
        return math.inf
    return max(0.0, math.log(waits / (1 - share)) * service / (servers - load)) if waits > 0 else 0.0


def mean_wait_general(servers: int, load: float, service: float, *, variation: float) -> float:
    """Approximate the mean wait of M/G/c: M/M/c times (1 + variation^2) / 2 (Lee and Longton 1959).

    Exact for one server. `variation` is the coefficient of variation of the service time: 0 if constant, 1 for M/M/c.
    """
    return mean_wait(servers, load, service) * (1 + variation**2) / 2


def servers_for(load: float, service: float, *, wait: float, share: float = 0.99) -> int:
    """Return the minimum number of M/M/c servers with which this share waits at most `wait` seconds."""
    servers = math.floor(load) + 1
    while wait_quantile(servers, load, service, share=share) > wait:
        servers += 1
    return servers
