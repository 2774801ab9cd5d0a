"""What the faults need of a live stack: rules that need seconds, a receiver of notifications, and ways to break it."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import redis
import requests
import yaml  # type: ignore[import-untyped]

from tests.integration.breaking import ENDS
from tests.integration.partner import Deed, Partner
from tests.integration.watched_stack import PHOTO, soon
from tests.watching.alertmanager import Receiver
from tests.watching.deployed import RULES

THREADS: Final = 6
WITHIN: Final = 300.0
"""Seconds. An alert takes about ten to fire, and as long as `WINDOW` to resolve."""
EVERY: Final = "5s"
WINDOW: Final = "60s"
"""Scrapes of a busy machine may fail for nearly as long before a rule misses what was counted meanwhile."""
THRESHOLDS: Final = {
    "VultusQueueOld": ("> 120", "> 2"),
    "VultusJobsWaitLong": ("> 10", "> 1"),
    "VultusCallbacksLate": ("> 300", "> 1"),
}
"""Thresholds that are times, and what replaces them. All others stay as they are."""
POISONED: Final = "tests.integration.poisoned_worker"
"""The application of the stack's worker."""
SETTINGS: Final = {
    "VULTUS_ENGINE": "fake",
    "VULTUS_WORKER_THREADS": str(THREADS),
    "VULTUS_LEASE": "3",
    "VULTUS_MAX_ATTEMPTS": "2",
    "VULTUS_WEBHOOK_RETRIES": "2,2,2,2,2",
}


def quick_rules(path: Path) -> Path:
    """Write the deployed rules without their waits, over seconds instead of minutes."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for rule in document["groups"][0]["rules"]:
        rule.pop("for", None)
        rule["expr"] = re.sub(r"\[\d+m\]", f"[{WINDOW}]", rule["expr"])
        if threshold := THRESHOLDS.get(rule["alert"]):
            assert threshold[0] in rule["expr"]
            rule["expr"] = rule["expr"].replace(*threshold)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


class Live(ABC):
    """A stack with one poisoned worker, behind Prometheus and Alertmanager."""

    url: str
    receiver: Receiver
    """Of the notifications."""
    good_partner: Partner
    """Accepts every callback."""

    @abstractmethod
    def partner(self, *deeds: Deed) -> Partner:
        """A receiver of callbacks, to be closed, that the courier can reach."""

    @abstractmethod
    def ledger(self) -> redis.Redis:
        """A client of the ledger, to be closed."""

    @abstractmethod
    def killed(self, service: str) -> AbstractContextManager[None]:
        """Kill the only process of a service, and start it again at the end."""

    @abstractmethod
    def second_worker(self) -> AbstractContextManager[None]:
        """A second worker, with real models."""

    @abstractmethod
    def busy_threads(self) -> float:
        """The number of the worker's threads that run a job."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether every process is ready."""

    @abstractmethod
    def supervise(self) -> None:
        """Restart the processes that have exited, unless something else does."""

    def wait_fired(self, names: Iterable[str], *, since: int) -> None:
        """Wait until the receiver has heard that each alert fires, after this many notifications."""
        soon(lambda: self.receiver.fired(names, since=since), within=WITHIN)

    def wait_resolved(self, names: Iterable[str]) -> None:
        """Wait until none of the alerts fires, as far as the receiver has heard."""
        soon(lambda: self.receiver.resolved(names), within=WITHIN)

    def wait_ready(self) -> None:
        """Wait until every process is ready; restart those that have exited."""

        def ready() -> bool:
            self.supervise()
            return self.ready()

        soon(ready, within=WITHIN)

    def post(self, path: str, **body: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", timeout=30, **body)

    def submit(self, picture: bytes = PHOTO, *, webhook: Partner | None = None) -> requests.Response:
        fields = {"operation": "detect", **({"webhook": json.dumps({"url": webhook.url()})} if webhook else {})}
        return self.post("/v1/jobs", data=fields, files={"image": ("photo.png", picture, "image/png")})

    def wait_ended(self, job_id: str) -> None:
        """Wait until a job has ended; restart the processes that exit meanwhile."""

        def ended() -> bool:
            self.supervise()
            response = requests.get(f"{self.url}/v1/jobs/{job_id}", timeout=30)
            return response.json()["status"] in ENDS

        soon(ended, within=WITHIN)
