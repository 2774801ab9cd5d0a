"""A real courier over a real store: jobs finish, and the log shows what it sent."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from shared.deliveries import Attempt, Delivery, DeliveryStatus
from shared.jobs import NewJob, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import open_stores
from shared.operations import Operation
from shared.tenants import DEFAULT
from shared.webhooks.schemas import SUBSCRIBABLE, Endpoint, Secret, Webhook, new_endpoint_id
from shared.webhooks.signing import new_secret
from tests.integration.servers import Server
from tools.receiver import TO_THIS_MACHINE
from tools.service import Service
from tools.stack import Store

SECRET: Final = new_secret()
TIMEOUT: Final = 1.0
"""Seconds of one attempt."""
HOLD: Final = 2.0
"""Seconds without a sign of life after which another courier may take a courier's deliveries."""
EMBEDDING: Final = [0.1259765625, 0.25, 0.5]
"""Its first number is longer than the fraction of a time in a log, so that the two cannot be confused."""
RESULT: Final[dict[str, Any]] = {
    "kind": "faces",
    "image": {"width": 10, "height": 10},
    "faces": [{"box": [1, 2, 3, 4], "embedding": {"vector": EMBEDDING, "contract": "c"}}],
}
SETTINGS: Final = {
    "VULTUS_WEBHOOK_SECRETS": SECRET,
    **TO_THIS_MACHINE,
    "VULTUS_WEBHOOK_TIMEOUT": str(TIMEOUT),
    "VULTUS_WEBHOOK_HOLD": str(HOLD),
    "VULTUS_WEBHOOK_RETRIES": "0.2,0.2,0.2",
    "VULTUS_LOG_FORMAT": "json",
    "VULTUS_LOG_LEVEL": "debug",
}


@dataclass
class Site:
    """One store, its courier, and the courier's log."""

    server: Server
    settings: Mapping[str, str]
    lines: list[str] = field(default_factory=list)
    module: str = "worker.courier"

    def __post_init__(self) -> None:
        self.client = connect(self.server.url)
        self.stores = open_stores(self.client, shards=1, lease=timedelta(seconds=30))
        self.ledger = self.stores.jobs
        self.courier = self.another()

    def another(self) -> Service:
        """A second courier, not started."""
        dropped = {name: value for name, value in os.environ.items() if not name.startswith("VULTUS_")}
        environment = {
            **dropped,
            **self.settings,
            "VULTUS_LEDGER_URL": self.server.store.url,
            "PYTHONWARNINGS": "error",
        }
        command = [sys.executable, "-m", self.module]
        return Service("courier", command, environment, lambda _, line: self.lines.append(line))

    def log_entries(self, event: str) -> list[dict[str, Any]]:
        """The courier's log lines of this event."""
        rows = [json.loads(line) for line in [*self.lines] if line.startswith("{")]
        return [row for row in rows if row["event"] == event]

    def wait_for_log(self, event: str, *, within: float = 15) -> None:
        deadline = time.monotonic() + within
        while not self.log_entries(event):
            assert time.monotonic() < deadline, self.lines[-20:]
            time.sleep(0.02)

    def end(self, url: str | None = None, *, tenant: str = DEFAULT, **webhook: Any) -> str:
        """Finish a job and return its id. With a URL, its completion is delivered there."""
        job = NewJob(
            id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
            operation=Operation.EMBED,
            params={},
            image=b"image",
            result_ttl=timedelta(hours=1),
            metadata={"case": "of-mine"},
            tenant=tenant,
            webhook=None if url is None else Webhook(url, **webhook),
        )
        self.ledger.accept(job, limits=Limits(1000))
        claim = self.ledger.claim("the-test")
        assert claim is not None
        assert claim.job.id == job.id
        assert self.ledger.finish(job.id, claim.token, Outcome(result=RESULT))
        return job.id

    def register(self, url: str, **more: Any) -> Endpoint:
        plain = Endpoint(new_endpoint_id(), url, SUBSCRIBABLE, (Secret(SECRET, created_at=0),))
        return self.stores.endpoints.create(replace(plain, **more))

    def settled(self, job_id: str, *, within: float = 20, tenant: str = DEFAULT) -> tuple[Delivery, list[Attempt]]:
        """The only delivery of a job's completion with its log, as soon as it has finished."""
        deadline = time.monotonic() + within
        while True:
            found = self.stores.deliveries.of_subject(job_id, tenant=tenant)
            if found and found[0].status is not DeliveryStatus.PENDING:
                assert len(found) == 1
                return found[0], self.stores.deliveries.attempts(found[0].id)
            assert time.monotonic() < deadline, (found, self.lines[-20:])
            time.sleep(0.02)

    def forget_endpoints(self) -> None:
        for each in self.stores.endpoints.all():
            self.stores.endpoints.delete(each.id)


@contextmanager
def site(
    directory: Path, settings: Mapping[str, str] | None = None, *, start: bool = True, module: str = "worker.courier"
) -> Iterator[Site]:
    """A store and a courier; at the end neither has logged a traceback or a secret."""
    server = Server(Store("ledger", directory / "ledger", durable=True))
    server.start()
    running = Site(server, {**SETTINGS, **(settings or {})}, module=module)
    try:
        if start:
            running.courier.start()
            running.wait_for_log("courier.ready", within=30)
        yield running
    finally:
        running.courier.stop()
        running.client.close()
        server.service.stop()
    for word in ("Traceback", '"exception"', SECRET, "token=", "of-mine", "0.1259765625"):
        found = [line for line in running.lines if word in line or not line.startswith("{")]
        assert not [line for line in found if word in line], "\n".join(found)
