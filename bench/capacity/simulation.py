"""A discrete-event simulator of stations in a row, seeded: the same seed gives the same run."""

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
    """One visit: at which station, what must pass before it counts as arrived there, and who sets out at its end."""

    station: str
    delay: float = 0.0
    """Seconds in transit, before the queue."""
    then: tuple[tuple["Leg", ...], ...] = ()
    """Journeys of others that begin when this visit ends: deliveries of a job that ended."""


Journey = tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Resize:
    """From this time on a station has this many servers. Work in progress at removed servers is still finished."""

    at: float
    station: str
    servers: int


@dataclass(slots=True)
class Seen:
    """What happened at one station."""

    waits: list[float] = field(default_factory=list)
    """Seconds in the queue, in the order in which service began."""
    begun: list[float] = field(default_factory=list)
    """When it began."""
    busy: float = 0.0
    """Seconds of service given, over all servers."""
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
    """Run every journey to its end, or to the time `until`; what was seen at each station.

    Args:
        stations: their names are unique.
        arrivals: time in seconds, rising, and where to go.
        seed: of the service times.
        changes: servers that come or go.
        until: nothing that would happen later is looked at.
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
    """One simulation: events in the order of their time, and of their making where the time is the same."""

    def __init__(self, stations: Sequence[Station], seed: int) -> None:
        # Named streams: with one seed for both, each job would be served for as long as its arrival was apart.
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
        """Let the next one in when it is time, and then the one after it."""
        if (following := next(arrivals, None)) is not None:
            time, journey = following

            def come(now: float) -> None:
                self._set_out(now, journey)
                self.next_of(arrivals)

            self.at(time, come)

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
            since, journey = place.queue.popleft()
            took = place.station.service(self._rng)
            place.serving += 1
            place.seen.waits.append(now - since)
            place.seen.begun.append(now)
            place.seen.busy += took
            self.at(now + took, partial(self._leave, journey, place))

    def _leave(self, journey: Journey, place: _Place, now: float) -> None:
        place.serving -= 1
        self._set_out(now, journey[1:])
        for other in journey[0].then:
            self._set_out(now, other)
        self._begin(now, place)


def poisson(rate: float, *, seconds: float, seed: int) -> list[float]:
    """Times of independent arrivals, `rate` per second on average."""
    rng, now, times = Random(f"arrivals {seed}"), 0.0, []  # noqa: S311 - a simulation
    while (now := now + rng.expovariate(rate)) < seconds:
        times.append(now)
    return times


def exponential(mean: float) -> Draw:
    """Service times of M/M/c."""
    return lambda rng: rng.expovariate(1 / mean)


def constant(seconds: float) -> Draw:
    """The same time always."""
    return lambda _rng: seconds


def one_of(samples: Sequence[float]) -> Draw:
    """A time that was measured, each as likely as the other."""
    kept = list(samples)
    return lambda rng: kept[int(rng.random() * len(kept))]


def in_order(samples: Sequence[float]) -> Draw:
    """Times that were measured, one after the other."""
    left = iter(samples)
    return lambda _rng: next(left)
