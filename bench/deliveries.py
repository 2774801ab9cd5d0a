"""Measure webhook throughput, and how hanging endpoints affect the others.

Jobs complete in the ledger as they do in production, each with a webhook to one of 1,000 hosts (127.x.y.z), a tenth of
which never respond. A real courier sends; the delay is from the completion of a job to the arrival of the request.
`python -m bench.deliveries` runs only this measurement, in a minute and a half.
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
"""Completions per second, as on a host with several GPUs."""
BURST: Final = 2000
"""Pending completions when the courier starts, for the throughput."""
PATIENCE: Final = 60.0
COLUMN: Final = "thin"


@dataclass(slots=True)
class Partners:
    """All endpoints in one process, with the arrival time of each request."""

    hanging: frozenset[str]
    port: int = 0
    arrived: dict[str, float] = field(default_factory=dict)
    """By job ID."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to one request with 204, or never if its host hangs."""
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
    """Serve the endpoints on every address of the loopback network, in a thread."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    with asyncio.Runner() as runner:  # at its end it cancels the responses that hang
        loop = runner.get_loop()
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
    """Return the address of one endpoint."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Office:
    """A ledger with completing jobs, and a courier that delivers their webhooks."""

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
        """Accept, claim and finish a job with a webhook to endpoint `number`, and return the job ID."""
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
            msg = "The ledger returned no job, or did not accept its result."
            raise RuntimeError(msg)
        return claim.job.id

    def close(self) -> None:
        """Stop all processes without waiting for attempts at hanging endpoints."""
        self._courier.signal(signal.SIGKILL)
        self._courier.wait(5)
        self._client.close()
        self._server.service.stop()


@contextmanager
def office(hanging: int) -> Iterator[tuple[Office, Partners]]:
    """Start endpoints, `hanging` of which hang, and a courier that sends to them."""
    partners = Partners(frozenset(host(number) for number in range(hanging)))
    with tempfile.TemporaryDirectory(prefix="vultus-deliveries-") as folder, listening(partners):
        opened = Office(Path(folder), partners)
        try:
            yield opened, partners
        finally:
            opened.close()


def throughput(*, ends: int = BURST) -> float:
    """Return the deliveries per second of one courier with a backlog if all endpoints respond."""
    with office(0) as (opened, partners):
        for number in range(ends):
            opened.end_a_job(number % ENDPOINTS)
        opened.open()
        wait_for(partners, ends)
        first, last = min(partners.arrived.values()), max(partners.arrived.values())
        return ends / (last - first)


def delays(*, hanging: int, seconds: float) -> list[float]:
    """Return the seconds from completion to arrival at the endpoints that respond."""
    with office(hanging) as (opened, partners):
        opened.open()
        chance = random.Random(7)  # noqa: S311 - selects the next endpoint
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
    """Wait until `count` requests have arrived.

    Raises:
        TimeoutError: Fewer requests arrived within `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while len(partners.arrived) < count:
        if time.monotonic() > deadline:
            msg = f"Only {len(partners.arrived)} of {count} requests arrived."
            raise TimeoutError(msg)
        time.sleep(0.01)


def measure(report: Report, *, length: Length) -> None:
    """Add the rows and figures to a report."""
    rates = [throughput(ends=min(BURST, length.jobs)) for _ in range(length.rounds)]
    report.note("webhook deliveries, one courier", COLUMN, rates, unit="/s")
    for hanging in (0, HANGING):
        samples = sorted(1000 * delay for delay in delays(hanging=hanging, seconds=length.load))
        name = f"end to arrival, {hanging} of {ENDPOINTS} endpoints hang"
        report.note(f"{name}, p50", COLUMN, [statistics.median(samples)], unit="ms")
        report.note(f"{name}, p99", COLUMN, [samples[int(0.99 * len(samples))]], unit="ms")
        if hanging:
            report.put(targets.LAG, COLUMN, statistics.median(samples))


def main() -> None:
    """Print one line for each figure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=20.0)
    arguments = options.parse_args()
    print(f"deliveries, one courier: {throughput():.0f} /s")
    for hanging in (0, HANGING):
        samples = sorted(1000 * delay for delay in delays(hanging=hanging, seconds=arguments.seconds))
        print(
            f"{hanging} of {ENDPOINTS} endpoints hang: median delay {statistics.median(samples):.0f} ms, "
            f"p99 {samples[int(0.99 * len(samples))]:.0f} ms ({len(samples)} deliveries)"
        )


if __name__ == "__main__":
    main()
