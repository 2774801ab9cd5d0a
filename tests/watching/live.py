"""A local stack for faults, with Prometheus, Alertmanager and a receiver behind it, and rules that need seconds."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml  # type: ignore[import-untyped]

from tests.integration.partner import Partner
from tests.integration.watched_stack import PHOTO, Watched, soon, watched
from tests.watching.alertmanager import Receiver, alerting
from tests.watching.deployed import RULES
from tests.watching.prometheus import scraping
from tools.service import Service
from tools.stack import Stack

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
SETTINGS: Final = {
    "VULTUS_WORKER_THREADS": str(THREADS),
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


@dataclass
class Live:
    """The stack with one worker, a second worker that is stopped, and the receiver of notifications."""

    running: Watched
    second_worker: Service
    receiver: Receiver

    @property
    def stack(self) -> Stack:
        return self.running.stack

    def wait_fired(self, names: Iterable[str], *, since: int) -> None:
        """Wait until the receiver has heard that each alert fires, after this many notifications."""
        soon(lambda: self.receiver.fired(names, since=since), within=WITHIN)

    def wait_resolved(self, names: Iterable[str]) -> None:
        """Wait until none of the alerts fires, as far as the receiver has heard."""
        soon(lambda: self.receiver.resolved(names), within=WITHIN)

    def wait_ready(self) -> None:
        """Wait until every process is ready; restart those that have exited."""
        soon(self._ready, within=WITHIN)

    def _ready(self) -> bool:
        self.stack.supervise_once()
        try:
            return all(self.running.ask(name, "/readyz").ok for name in ("gateway", "courier", "worker-1"))
        except requests.ConnectionError:
            return False

    def post(self, path: str, **body: Any) -> requests.Response:
        return requests.post(f"{self.stack.url}{path}", timeout=30, **body)

    def submit(self, picture: bytes = PHOTO, *, webhook: Partner | None = None) -> requests.Response:
        fields = {"operation": "detect", **({"webhook": json.dumps({"url": webhook.url()})} if webhook else {})}
        return self.post("/v1/jobs", data=fields, files={"image": ("photo.png", picture, "image/png")})

    def wait_ended(self, job_id: str) -> None:
        """Wait until a job has ended; restart the processes that exit meanwhile."""

        def ended() -> bool:
            self.stack.supervise_once()
            return self.running.ended(job_id) is not None

        soon(ended, within=WITHIN)


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """The stack with poisoned workers; Prometheus, which evaluates the quick rules; Alertmanager."""
    receiver = Receiver()
    with ExitStack() as exits:
        poisoned = "tests.integration.poisoned_worker"
        stack = watched(folder / "stack", workers=2, settings=SETTINGS, worker=poisoned, within=WITHIN)
        running = exits.enter_context(stack)
        alertmanager = exits.enter_context(alerting(folder / "alertmanager", exits.enter_context(receiver.listening())))
        rules = quick_rules(folder / "alerts.yml")
        prometheus = scraping(folder / "prometheus", running, every=EVERY, rules=rules, alertmanagers=[alertmanager])
        exits.enter_context(prometheus)
        second_worker = running.stack.workers.pop()
        second_worker.stop()
        yield Live(running, second_worker, receiver)
