"""Measure how many jobs per second are accepted and on disk before the response: `python -m bench.accepts`.

Sixteen clients submit images of 200 KB, first directly to the ledger's `accept`, then through the gateway's HTTP API,
each with `appendfsync always` and `everysec`. Takes about a minute.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from bench import client, process_stats, targets
from bench.length import Length
from bench.pictures import Picture
from bench.report import Report
from shared.jobs import NewJob, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from shared.operations import Operation
from tests.integration.servers import Server
from tools.stack import Store

CLIENTS: Final = 16
IMAGE: Final = 200_000
"""Bytes."""
MOST: Final = 8000
"""Maximum number of jobs in one window: 1.6 GB in the store's memory and the same on its disk."""
PROMISES: Final = ("always", "everysec")
COLUMN: Final = "200 KB"


class Window:
    """A period in which each client submits jobs to a ledger, one after another."""

    def __init__(self, ledger: Ledger, *, seconds: float) -> None:
        self._ledger = ledger
        self._image = os.urandom(IMAGE)
        self._end = time.perf_counter() + seconds
        self._left = threading.Semaphore(MOST)

    def submit_jobs(self) -> int:
        """Submit jobs as one client until the window ends and return their number."""
        count = 0
        while time.perf_counter() < self._end and self._left.acquire(blocking=False):
            job = NewJob(
                id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
                operation=Operation.EMBED,
                params={"max_faces": 1},
                image=self._image,
                result_ttl=timedelta(hours=1),
            )
            self._ledger.accept(job, limits=Limits(2 * MOST))
            count += 1
        return count


@contextmanager
def ledger_of(promise: str) -> Iterator[Ledger]:
    """Provide a ledger on its own server with this fsync policy."""
    with tempfile.TemporaryDirectory(prefix="vultus-accepts-") as folder:
        server = Server(Store("accepts", Path(folder) / "ledger", durable=True))
        server.start()
        try:
            with connect(server.url) as store:
                store.config_set("appendfsync", promise)
                yield Ledger(store, shards=1, lease=timedelta(minutes=1))
        finally:
            server.service.stop()


def straight(promise: str, *, seconds: float, clients: int = CLIENTS) -> float:
    """Return the accepted jobs per second of client threads in this process, on a new ledger."""
    with ledger_of(promise) as ledger, ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        window = Window(ledger, seconds=seconds)
        accepted = sum(pool.map(lambda _: window.submit_jobs(), range(clients)))
        return accepted / (time.perf_counter() - begin)


def through_http(promise: str, *, seconds: float, clients: int = CLIENTS) -> float:
    """Return the 202 responses per second of one gateway without a worker."""
    with process_stats.vultus(workers=0, queue_limit="100000", durability=promise) as stack:
        with stack.ledger.client() as store:
            store.config_set("appendfsync", promise)
        target = client.job(stack.port, noise(), wait=0)
        return client.window(target, clients=clients, warm=0.3, seconds=seconds).rate


def noise() -> Picture:
    """Return a JPEG of `IMAGE` bytes: noise, padded with zeros at the end as cameras do."""
    pixels = np.random.default_rng(7).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
    return Picture("noise", "drawn here", data.ljust(IMAGE, b"\0"), faces=0)


def measure(report: Report, *, length: Length) -> None:
    """Add the rows and figures to a report; a window is a fifth of an HTTP window, but at most 3 s."""
    seconds = min(length.load / 5, 3.0)
    for way, name in ((straight, "ledger alone, 16 clients, accepted"), (through_http, "gateway, 16 clients, 202")):
        for promise, rates in interleaved(way, rounds=length.rounds, seconds=seconds).items():
            report.note(f"{name}, appendfsync {promise}", COLUMN, rates, unit="jobs/s")
            if way is straight and promise == "always":
                report.put(targets.DURABLE, COLUMN, statistics.median(rates))


def interleaved(way: Callable[..., float], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the rates of each fsync policy, measured alternately."""
    rates: dict[str, list[float]] = {promise: [] for promise in PROMISES}
    for _ in range(rounds):
        for promise, samples in rates.items():
            samples.append(way(promise, seconds=seconds))
    return rates


def main() -> None:
    """Print one line for each figure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    for name, way in (("ledger.accept", straight), ("gateway, 202", through_http)):
        for promise, rates in interleaved(way, rounds=arguments.rounds, seconds=arguments.seconds).items():
            median, least, most = statistics.median(rates), min(rates), max(rates)
            print(f"{name}, appendfsync {promise}: {median:.0f} jobs/s ({least:.0f} to {most:.0f})")


if __name__ == "__main__":
    main()
