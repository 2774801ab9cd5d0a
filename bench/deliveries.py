"""How fast webhooks go out, and what endpoints that hang cost the others.

Jobs end in the ledger one after the other, as workers end them, each with an address of its own host (127.x.y.z), of
which a tenth never answers. A real courier sends; the delay is from the end of a job to the arrival of the request.
`python -m bench.deliveries` measures this alone, in a minute and a half.
"""

import argparse
import asyncio
import json
import random
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench import targets
from bench.length import Length
from bench.report import Report
from shared.jobs import NewJob, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
from tests.integration.servers import Server
from tools.service import Service
from tools.stack import Store

ENDPOINTS: Final = 1000
HANGING: Final = 100
RATE: Final = 50
"""Ends per second: what a host with several GPUs makes."""
BURST: Final = 2000
"""Ends that wait when the courier starts, for the throughput."""
PATIENCE: Final = 60.0
COLUMN: Final = "thin"


@dataclass(slots=True)
class Partners:
    """All endpoints in one process: what arrived, and when."""

    hanging: frozenset[str]
    port: int = 0
    arrived: dict[str, float] = field(default_factory=dict)
    """By the job's id."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request: 204, or nothing at all."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            names = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            body = await reader.readexactly(int(names["content-length"]))
            if names["host"].partition(":")[0] in self.hanging:
                await reader.read()
            else:
                self.arrived.setdefault(json.loads(body)["data"]["id"], time.time())
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@contextmanager
def listening(partners: Partners) -> Iterator[None]:
    """The partners on every address of the loopback network, in a thread."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(partners.answer, "127.0.0.1", 0, backlog=4096))
    partners.port = server.sockets[0].getsockname()[1]
    server.close()
    server = loop.run_until_complete(asyncio.start_server(partners.answer, "0.0.0.0", partners.port, backlog=4096))  # noqa: S104 - every 127.x.y.z; the port is open for seconds
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()


def host(number: int) -> str:
    """The address of one partner."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Office:
    """A ledger whose jobs end, and a courier that tells of it."""

    def __init__(self, folder: Path, partners: Partners) -> None:
        self._partners = partners
        self._server = Server(Store("ledger", folder / "ledger", durable=True))
        self._server.start()
        self._client = connect(self._server.url)
        self._ledger = Ledger(self._client, shards=1, lease=timedelta(minutes=1))
        settings = {
            "VULTUS_LEDGER_URL": self._server.url.get_secret_value(),
            "VULTUS_WEBHOOK_SECRETS": "whsec_" + "QUJD" * 11,
            "VULTUS_WEBHOOK_ALLOW_HTTP": "true",
            "VULTUS_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "VULTUS_LOG_LEVEL": "error",
        }
        self._courier = Service(
            "courier", [sys.executable, "-m", "worker.courier"], settings, lambda _, line: print(line, file=sys.stderr)
        )

    def open(self) -> None:
        """Start the courier."""
        self._courier.start()

    def end_a_job(self, number: int) -> str:
        """Accept, claim and finish a job whose completion goes to the partner of this number; return its id."""
        job = NewJob(
            id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
            operation=Operation.DETECT,
            params={},
            image=b"image",
            result_ttl=timedelta(hours=1),
            webhook=Webhook(f"http://{host(number)}:{self._partners.port}/hook"),
        )
        self._ledger.accept(job, limits=Limits(100_000))
        claim = self._ledger.claim("bench")
        if claim is None or not self._ledger.finish(claim.job.id, claim.token, Outcome(result={"faces": []})):
            msg = "the ledger gave another job, or none"
            raise RuntimeError(msg)
        return claim.job.id

    def close(self) -> None:
        """Stop all of it; attempts at those that hang are not waited for."""
        self._courier.signal(signal.SIGKILL)
        self._courier.wait(5)
        self._client.close()
        self._server.service.stop()


@contextmanager
def office(hanging: int) -> Iterator[tuple[Office, Partners]]:
    """Partners, some of which hang, and the courier that sends to them."""
    partners = Partners(frozenset(host(number) for number in range(hanging)))
    with tempfile.TemporaryDirectory(prefix="vultus-deliveries-") as folder, listening(partners):
        opened = Office(Path(folder), partners)
        try:
            yield opened, partners
        finally:
            opened.close()


def throughput(*, ends: int = BURST) -> float:
    """Deliveries per second of one courier with a backlog, to endpoints that all respond."""
    with office(0) as (opened, partners):
        for number in range(ends):
            opened.end_a_job(number % ENDPOINTS)
        opened.open()
        wait_for(partners, ends)
        first, last = min(partners.arrived.values()), max(partners.arrived.values())
        return ends / (last - first)


def delays(*, hanging: int, seconds: float) -> list[float]:
    """Seconds from the end to the arrival, at partners that answer."""
    with office(hanging) as (opened, partners):
        opened.open()
        chance = random.Random(7)  # noqa: S311 - which partner is next
        ended: dict[str, float] = {}
        begin = time.monotonic()
        for turn in range(round(RATE * seconds)):
            time.sleep(max(0.0, begin + turn / RATE - time.monotonic()))
            number = chance.randrange(ENDPOINTS)
            job = opened.end_a_job(number)
            if number >= hanging:
                ended[job] = time.time()
        wait_for(partners, len(ended))
        return [partners.arrived[job] - at for job, at in ended.items()]


def wait_for(partners: Partners, count: int) -> None:
    """Wait until this many have arrived.

    Raises:
        TimeoutError: they have not.
    """
    deadline = time.monotonic() + PATIENCE
    while len(partners.arrived) < count:
        if time.monotonic() > deadline:
            msg = f"{len(partners.arrived)} of {count} arrived"
            raise TimeoutError(msg)
        time.sleep(0.01)


def measure(report: Report, *, length: Length) -> None:
    """Fill the rows and figures of a report."""
    rates = [throughput(ends=min(BURST, length.jobs)) for _ in range(length.rounds)]
    report.note("webhook deliveries, one courier", COLUMN, rates, unit="/s")
    for hanging in (0, HANGING):
        found = sorted(1000 * delay for delay in delays(hanging=hanging, seconds=length.load))
        name = f"end to arrival, {hanging} of {ENDPOINTS} endpoints hang"
        report.note(f"{name}, p50", COLUMN, [statistics.median(found)], unit="ms")
        report.note(f"{name}, p99", COLUMN, [found[int(0.99 * len(found))]], unit="ms")
        if hanging:
            report.put(targets.LAG, COLUMN, statistics.median(found))


def main() -> None:
    """Print one line for each figure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=20.0)
    given = options.parse_args()
    print(f"deliveries, one courier: {throughput():.0f} /s")
    for hanging in (0, HANGING):
        found = sorted(delays(hanging=hanging, seconds=given.seconds))
        print(
            f"{hanging} of {ENDPOINTS} endpoints hang: end to arrival {1000 * statistics.median(found):.0f} ms median, "
            f"{1000 * found[int(0.99 * len(found))]:.0f} ms p99 of {len(found)}"
        )


if __name__ == "__main__":
    main()
