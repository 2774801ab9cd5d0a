"""What queueing theory says of a station: the checks of the simulator, and quick answers without it."""

import math


def offered(rate: float, service: float) -> float:
    """Busy servers that a load needs: arrivals per second times seconds each (Little's law)."""
    return rate * service


def erlang_c(servers: int, load: float) -> float:
    """Chance that an arrival waits in M/M/c; `load` in busy servers. 1 if the queue never empties.

    By the recursion of Erlang B (Erlang 1917), which does not overflow for thousands of servers.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    utilisation = load / servers
    return blocked / (1 - utilisation + utilisation * blocked)


def mean_wait(servers: int, load: float, service: float) -> float:
    """Mean wait of M/M/c in seconds; infinite where the load is the servers' or more."""
    return erlang_c(servers, load) * service / (servers - load) if load < servers else math.inf


def wait_quantile(servers: int, load: float, service: float, *, share: float) -> float:
    """The wait that this share of the arrivals of M/M/c does not exceed, in seconds."""
    waits = erlang_c(servers, load)
    if load >= servers:
        return math.inf
    return max(0.0, math.log(waits / (1 - share)) * service / (servers - load)) if waits > 0 else 0.0


def mean_wait_general(servers: int, load: float, service: float, *, variation: float) -> float:
    """Mean wait of M/G/c, about: M/M/c times (1 + variation^2) / 2 (Lee and Longton 1959; exact for one server).

    `variation` is the standard deviation of the service over its mean: 0 for a constant, 1 for M/M/c.
    """
    return mean_wait(servers, load, service) * (1 + variation**2) / 2


def servers_for(load: float, service: float, *, wait: float, share: float = 0.99) -> int:
    """The fewest servers of M/M/c with which this share waits no longer than `wait` seconds."""
    servers = math.floor(load) + 1
    while wait_quantile(servers, load, service, share=share) > wait:
        servers += 1
    return servers
