"""A seeded discrete-event simulator of connected stations: the same seed gives the same run."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

Draw = Callable[[Random], float]
"""A service time in seconds."""


@dataclass(frozen=True, slots=True)
class Station:
    """Servers behind one queue, first come first served."""

    name: str
    servers: int
    service: Draw


@dataclass(frozen=True, slots=True)
class Leg:
    """One visit: the station, the transit time before it, and the journeys that start when it ends."""

    station: str
    delay: float = 0.0
    """Seconds in transit, before the queue."""
    then: tuple[tuple["Leg", ...], ...] = ()
    """Additional journeys that start when this visit ends, such as the deliveries of a completed job."""


Journey = tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Resize:
    """Set the number of servers of a station at a time. Removed servers finish their work in progress."""

    at: float
    station: str
    servers: int


@dataclass(slots=True)
class Seen:
    """What happened at one station."""

    waits: list[float] = field(default_factory=list)
    """Seconds in the queue, in the order in which service began."""
    begun: list[float] = field(default_factory=list)
    """Start time of each service."""
    busy: float = 0.0
    """Total seconds of service over all servers."""
    left: int = 0
    """Still queued at the end."""


def simulate(
    stations: Sequence[Station],
    arrivals: Iterator[tuple[float, Journey]],
    *,
    seed: int,
    changes: Sequence[Resize] = (),
    until: float = math.inf,
) -> Mapping[str, Seen]:
    """Run every journey to its end or until the time `until`, and return what happened at each station.

    Args:
        stations: Stations with unique names.
        arrivals: Arrival times in seconds, ascending, each with its journey.
        seed: Seed of the service times.
        changes: Servers that are added or removed.
        until: Time at which the simulation stops.
    """
    run = _Run(stations, seed)
    for change in changes:
        run.at(change.at, partial(run.resize, change))
    run.next_of(arrivals)
    run.go(until)
    return run.seen()


@dataclass(slots=True)
class _Place:
    station: Station
    servers: int
    seen: Seen = field(default_factory=Seen)
    queue: deque[tuple[float, Journey]] = field(default_factory=deque)
    serving: int = 0


class _Run:
    """One simulation: events ordered by time, then by creation."""

    def __init__(self, stations: Sequence[Station], seed: int) -> None:
        # Separate random streams: with one stream, service times would repeat the times between arrivals.
        self._rng = Random(f"service {seed}")  # noqa: S311 - a simulation
        self._places = {station.name: _Place(station, station.servers) for station in stations}
        self._order = count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []

    def at(self, time: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), event))

    def go(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            now, _, event = heapq.heappop(self._events)
            event(now)

    def seen(self) -> dict[str, Seen]:
        for place in self._places.values():
            place.seen.left = len(place.queue)
        return {name: place.seen for name, place in self._places.items()}

    def next_of(self, arrivals: Iterator[tuple[float, Journey]]) -> None:
        """Schedule the next arrival, which in turn schedules the one after it."""
        if (arrival := next(arrivals, None)) is not None:
            time, journey = arrival

            def arrive(now: float) -> None:
                self._set_out(now, journey)
                self.next_of(arrivals)

            self.at(time, arrive)

    def resize(self, change: Resize, now: float) -> None:
        place = self._places[change.station]
        place.servers = change.servers
        self._begin(now, place)

    def _set_out(self, now: float, journey: Journey) -> None:
        if journey:
            self.at(now + journey[0].delay, partial(self._arrive, journey))

    def _arrive(self, journey: Journey, now: float) -> None:
        place = self._places[journey[0].station]
        place.queue.append((now, journey))
        self._begin(now, place)

    def _begin(self, now: float, place: _Place) -> None:
        while place.queue and place.serving < place.servers:
            arrived, journey = place.queue.popleft()
            duration = place.station.service(self._rng)
            place.serving += 1
            place.seen.waits.append(now - arrived)
            place.seen.begun.append(now)
            place.seen.busy += duration
            self.at(now + duration, partial(self._leave, journey, place))

    def _leave(self, journey: Journey, place: _Place, now: float) -> None:
        place.serving -= 1
        self._set_out(now, journey[1:])
        for other in journey[0].then:
            self._set_out(now, other)
        self._begin(now, place)


def poisson(rate: float, *, seconds: float, seed: int) -> list[float]:
    """Return the times of independent arrivals, `rate` per second on average."""
    rng, now, times = Random(f"arrivals {seed}"), 0.0, []  # noqa: S311 - a simulation
    while (now := now + rng.expovariate(rate)) < seconds:
        times.append(now)
    return times


def exponential(mean: float) -> Draw:
    """Draw exponential service times, as in M/M/c."""
    return lambda rng: rng.expovariate(1 / mean)


def constant(seconds: float) -> Draw:
    """Always use the same service time."""
    return lambda _rng: seconds


def one_of(samples: Sequence[float]) -> Draw:
    """Draw from measured times with equal probability."""
    times = list(samples)
    return lambda rng: times[int(rng.random() * len(times))]


def in_order(samples: Sequence[float]) -> Draw:
    """Replay measured times in their order."""
    times = iter(samples)
    return lambda _rng: next(times)
