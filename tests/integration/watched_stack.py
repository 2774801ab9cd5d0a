"""A monitored stack: metrics from every process, JSON logs, a partner that receives callbacks; the fake engine."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from shared.jobs import Job
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from shared.webhooks.signing import new_secret
from tests.integration.breaking import picture
from tests.integration.partner import Partner
from tools.ports import LOOPBACK, free_port, free_ports
from tools.receiver import TO_THIS_MACHINE
from tools.stack import Stack

PHOTO = picture()
"""A picture in which the fake engine finds one face."""
Labels = tuple[tuple[str, str], ...]


@dataclass
class Watched:
    """The stack with its metrics, logs and callbacks."""

    stack: Stack
    partner: Partner
    metrics_port: int
    output: list[tuple[str, str]] = field(default_factory=list)

    def port_of(self, process: str) -> int:
        """The port of its metrics."""
        place = {"gateway": 0, "courier": 1}
        return self.metrics_port + place.get(process, 1 + int(process.rpartition("-")[2] if "-" in process else 0))

    def ask(self, process: str, path: str) -> requests.Response:
        return requests.get(f"http://{LOOPBACK}:{self.port_of(process)}{path}", timeout=10)

    def samples(self, process: str) -> dict[str, dict[Labels, float]]:
        """Every sample of its `/metrics`, by name and labels."""
        found: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(self.ask(process, "/metrics").text):
            for one in family.samples:
                found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
        return found

    def value(self, process: str, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        wanted = set(labels.items())
        return sum(value for found, value in self.samples(process).get(name, {}).items() if wanted <= set(found))

    def submit(self, operation: str = "embed", **headers: str) -> requests.Response:
        """Submit a job whose completion is delivered to the partner."""
        return requests.post(
            f"{self.stack.url}/v1/jobs",
            data={"operation": operation, "webhook": json.dumps({"url": self.partner.url()})},
            files={"image": ("photo.png", PHOTO, "image/png")},
            headers=headers,
            timeout=20,
        )

    def ended(self, job_id: str) -> Job | None:
        """The job, once it has finished."""
        job = self.ledger.read(job_id)
        return job if job is not None and job.status.is_terminal else None

    @cached_property
    def ledger(self) -> Ledger:
        """The stack's own ledger, for inspection."""
        return Ledger(self.client, shards=1, lease=timedelta(seconds=3))

    @cached_property
    def client(self) -> redis.Redis:
        """The connection of `ledger`."""
        return connect(SecretStr(self.stack.ledger.url))

    def lines(self, process: str = "") -> list[dict[str, Any]]:
        """The log of one process, or of all processes except the stores."""
        return [json.loads(line) for name, line in [*self.output] if line and name.startswith(process) and ours(name)]


def ours(name: str) -> bool:
    return name.startswith(("gateway", "worker", "courier"))


def soon(promise: Callable[[], Any], *, within: float = 20) -> Any:
    """The function's result, as soon as it is truthy."""
    deadline = time.monotonic() + within
    while not (found := promise()):
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.05)
    return found


@contextmanager
def watched(
    data: Path,
    *,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    worker: str = "worker.app",
    within: float = 60,
) -> Iterator[Watched]:
    """The whole service, observed from outside."""
    first = free_ports(workers + 2)[0]
    partner = Partner()
    output: list[tuple[str, str]] = []
    settings = {
        "VULTUS_ENGINE": "fake",
        "VULTUS_LOG_FORMAT": "json",
        "VULTUS_METRICS_PORT": str(first),
        "VULTUS_WEBHOOK_SECRETS": new_secret(),
        **TO_THIS_MACHINE,
        "VULTUS_LEASE": "3",
        **(settings or {}),
    }
    stack = Stack(
        data=data,
        port=free_port(),
        workers=workers,
        settings=settings,
        sink=lambda name, line: output.append((name, line)),
    )
    for service in stack.workers:
        service.command = [part.replace("worker.app", worker) for part in service.command]
    try:
        with stack:
            stack.wait_ready(within)
            running = Watched(stack, partner, first, output)
            yield running
            running.client.close()
    finally:
        partner.close()
