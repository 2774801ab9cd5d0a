"""How many jobs a second are taken and on disk before they are answered: `python -m bench.accepts`.

Sixteen clients with images of 200 KB, straight to the ledger's `accept`, then through the gateway's HTTP; both with the
promise `always` and, beside it, with `everysec`. About a minute.
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
"""Jobs of one window: 1.6 GB in the store's memory and as much on its disk."""
PROMISES: Final = ("always", "everysec")
COLUMN: Final = "200 KB"


class Window:
    """Clients that submit jobs to a ledger, one after the other, for this many seconds."""

    def __init__(self, ledger: Ledger, *, seconds: float) -> None:
        self._ledger = ledger
        self._image = os.urandom(IMAGE)
        self._end = time.perf_counter() + seconds
        self._left = threading.Semaphore(MOST)

    def taken(self) -> int:
        """How many jobs one client could hand over."""
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
    """A ledger on a server of its own, with this fsync policy."""
    with tempfile.TemporaryDirectory(prefix="vultus-accepts-") as folder:
        server = Server(Store("accepts", Path(folder) / "ledger", durable=True))
        server.start()
        try:
            with connect(server.url) as client_of_it:
                client_of_it.config_set("appendfsync", promise)
                yield Ledger(client_of_it, shards=1, lease=timedelta(minutes=1))
        finally:
            server.service.stop()


def straight(promise: str, *, seconds: float, clients: int = CLIENTS) -> float:
    """Accepts per second of clients in threads of this process, on a fresh ledger."""
    with ledger_of(promise) as ledger, ThreadPoolExecutor(clients) as pool:
        begin = time.perf_counter()
        window = Window(ledger, seconds=seconds)
        taken = sum(pool.map(lambda _: window.taken(), range(clients)))
        return taken / (time.perf_counter() - begin)


def through_http(promise: str, *, seconds: float, clients: int = CLIENTS) -> float:
    """Answers 202 per second of one gateway, without a worker."""
    with process_stats.vultus(workers=0, queue_limit="100000", durability=promise) as stack:
        with stack.ledger.client() as store:
            store.config_set("appendfsync", promise)
        target = client.job(stack.port, noise(), wait=0)
        return client.closed_loop(target, clients=clients, warm=0.3, seconds=seconds).rate


def noise() -> Picture:
    """A JPEG of `IMAGE` bytes: noise, and at its end the zeros with which cameras round a file up."""
    pixels = np.random.default_rng(7).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
    return Picture("noise", "drawn here", data.ljust(IMAGE, b"\0"), faces=0)


def measure(report: Report, *, length: Length) -> None:
    """Fill the rows and figures of a report; a window is a fifth of one through HTTP, and 3 s at most."""
    seconds = min(length.load / 5, 3.0)
    for way, name in ((straight, "ledger alone, 16 clients, accepted"), (through_http, "gateway, 16 clients, 202")):
        for promise, rates in interleaved(way, rounds=length.rounds, seconds=seconds).items():
            report.note(f"{name}, appendfsync {promise}", COLUMN, rates, unit="jobs/s")
            if way is straight and promise == "always":
                report.put(targets.DURABLE, COLUMN, statistics.median(rates))


def interleaved(way: Callable[..., float], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """The rates of each promise, measured in turns."""
    rates: dict[str, list[float]] = {promise: [] for promise in PROMISES}
    for _ in range(rounds):
        for promise, found in rates.items():
            found.append(way(promise, seconds=seconds))
    return rates


def main() -> None:
    """Print one line for each figure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    for name, way in (("ledger.accept", straight), ("gateway, 202", through_http)):
        for promise, found in interleaved(way, rounds=given.rounds, seconds=given.seconds).items():
            middle, least, most = statistics.median(found), min(found), max(found)
            print(f"{name}, appendfsync {promise}: {middle:.0f} jobs/s ({least:.0f} to {most:.0f})")


if __name__ == "__main__":
    main()
