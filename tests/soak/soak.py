"""A soak: the service under a long steady load, and whether anything grows meanwhile."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import redis

from shared.webhooks.signing import new_secret
from tests.chaos.census import MIB, census
from tests.chaos.receiver import Receiver
from tests.soak.load import Load
from tests.soak.trend import Limit, Sample, Trend, trend
from tools.ports import free_port
from tools.receiver import TO_THIS_MACHINE
from tools.stack import Stack

WINDOWS: Final = 20
"""Windows of the judged time; the latencies of each make one sample."""
SHARE: Final = 0.8
"""Of the measured capacity: the load of a plan without a rate of its own."""
MEASURE: Final = 20.0
"""Seconds of each of the two measurements of the capacity."""
LIMITS: Final[Mapping[str, Limit]] = {
    "MB": Limit(share=0.05, beside=6),
    "threads": Limit(share=0.0, beside=4),
    "files": Limit(share=0.0, beside=12),
    "keys": Limit(share=0.05, beside=50),
    "clients": Limit(share=0.0, beside=8),
    "ms, median": Limit(share=0.25, beside=5),
    "ms, 95 of 100": Limit(share=0.5, beside=30),
}
"""The growth that is allowed over the whole run, by unit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The duration, the load, and the retention of records."""

    seconds: float
    settle: float
    """Seconds at the beginning that are not judged: caches fill, and no record expires yet."""
    ttl: float
    """Seconds for which finished records are kept."""
    engine: Mapping[str, str]
    operation: str
    image: bytes
    rate: float | None = None
    """Jobs per second; None for `SHARE` of what the service can do."""
    latencies: bool = True
    """Whether latencies are judged: on a busy machine they say little."""
    limits: Mapping[tuple[str, str], Limit] = field(default_factory=dict)
    """Limits of single series, by process or store and unit; they take precedence over `LIMITS`."""


@dataclass(slots=True)
class Result:
    """The result of a soak."""

    rate: float
    seconds: float
    sent: int
    trends: list[Trend] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        """Everything that grew beyond its limit or failed; empty if all was flat."""
        grown = [f"{each.name} grew by {each.growth:.1f} {each.unit}" for each in self.trends if not each.flat]
        return [*grown, *self.wrong]

    def lines(self) -> list[str]:
        """The result as Markdown lines."""
        rows = [
            f"| {each.name} | {each.unit} | {each.first:.1f} | {each.last:.1f} | {each.growth:+.2f} | {each.limit:.1f} "
            f"| {'flat' if each.flat else 'GROWS'} |"
            for each in self.trends
        ]
        return [
            (
                f"{self.sent} requests in {self.seconds:.0f} s, {self.rate:.1f} jobs a second; "
                f"{len(self.wrong)} went wrong"
            ),
            "",
            "| what | unit | first fifth | last fifth | growth by the slope | limit | |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]


def soak(plan: Plan) -> Result:
    """Run the load for the planned time, and judge every series."""
    secret = new_secret()
    settings = {
        **plan.engine,
        "VULTUS_RESULT_TTL": str(plan.ttl),
        "VULTUS_WEBHOOK_LOG_TTL": str(plan.ttl),
        "VULTUS_WEBHOOK_FAILED_TTL": str(plan.ttl),
        **TO_THIS_MACHINE,
        "VULTUS_WEBHOOK_SECRETS": secret,
        "VULTUS_LOG_LEVEL": "warning",
    }
    log: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="vultus-soak-") as folder,
        Receiver("soak", secret=secret, seed=0, steady=True) as receiver,
        Stack(
            data=Path(folder),
            port=free_port(),
            settings=settings,
            sink=lambda name, line: log.append(f"{name} | {line}"),
        ) as stack,
    ):
        stack.wait_ready(120)
        log.clear()  # a gateway without keys says so at startup
        load = Load(stack.url, f"{receiver.url}/soak", plan.operation, plan.image)
        rate = SHARE * min(load.capacity(seconds=MEASURE) for _ in range(2)) if plan.rate is None else plan.rate
        seen = Watch(stack)
        begin = time.monotonic()
        load.steady(rate, seconds=plan.seconds, meanwhile=seen.look)
        messages = [*log]
        ended = [service.name for service in stack.services if service.exit_code() is not None]
    judged = begin + plan.settle
    return Result(
        rate=rate,
        seconds=plan.seconds,
        sent=load.sent,
        trends=[
            *(
                trend(
                    name,
                    unit,
                    [one for one in samples if one[0] >= judged],
                    plan.limits.get((name, unit), LIMITS[unit]),
                )
                for (name, unit), samples in sorted(seen.samples.items())
            ),
            *(_latencies(load.latencies, begin=judged, until=begin + plan.seconds) if plan.latencies else []),
        ],
        wrong=[*load.wrong, *messages, *(f"{name} ended" for name in ended)],
    )


class Watch:
    """Samples every process and both stores."""

    def __init__(self, stack: Stack) -> None:
        self.samples: dict[tuple[str, str], list[Sample]] = {}
        self._stack = stack

    def look(self, now: float) -> None:
        """Take one sample of everything."""
        for name, used in census({service.name: service.pid for service in self._stack.services}).items():
            self._add(name, "MB", now, used.megabytes)
            self._add(name, "threads", now, used.threads)
            self._add(name, "files", now, used.files)
        for store in (self._stack.ledger, self._stack.broker):
            with store.client() as client:
                self._look_into(store.name, client, now)

    def _look_into(self, name: str, client: redis.Redis, now: float) -> None:
        info = client.info()
        self._add(f"{name}, its data", "MB", now, info["used_memory"] / MIB)
        self._add(name, "keys", now, client.dbsize())
        self._add(name, "clients", now, info["connected_clients"])

    def _add(self, name: str, unit: str, now: float, value: float) -> None:
        self.samples.setdefault((name, unit), []).append((now, value))


def _latencies(samples: Sequence[Sample], *, begin: float, until: float) -> list[Trend]:
    """Latencies by window, so that each sample stands for many jobs."""
    width = (until - begin) / WINDOWS
    windows: dict[int, list[float]] = {}
    for at, spent in sorted(sample for sample in samples if sample[0] >= begin):
        windows.setdefault(int((at - begin) / width), []).append(spent * 1000)
    middle, high = [], []
    for window, latencies in windows.items():
        ordered = sorted(latencies)
        middle.append((window * width, ordered[len(ordered) // 2]))
        high.append((window * width, ordered[len(ordered) * 95 // 100]))
    return [
        trend("from submission to end", unit, windowed, LIMITS[unit])
        for unit, windowed in (("ms, median", middle), ("ms, 95 of 100", high))
    ]
