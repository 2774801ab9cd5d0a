"""Probes the whole service through one gateway, again and again: a job must be done and its callback delivered."""

import json
import threading
import time
from typing import Any, Final

import requests

from shared.deliveries import event_id
from tests.chaos.marks import QUICK
from tests.chaos.oracle import Account
from tests.chaos.receiver import Receiver

EVERY: Final = 0.15
"""Seconds between two probes."""
WAIT: Final = 2
"""Seconds after which a probe is abandoned and repeated."""


class Probe(threading.Thread):
    """Records what it submitted, as every client does, and when the service was whole."""

    def __init__(self, number: int, url: str, receiver: Receiver, *, over: threading.Event) -> None:
        super().__init__(name=f"probe-{number}")
        self.accounts: list[Account] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.failed: list[BaseException] = []
        self.unexpected: list[str] = []
        self.whole: list[tuple[float, float]] = []
        """When a successful probe started, and when it was answered; seconds since the epoch."""
        self._number, self._url, self._receiver, self._over = number, url, receiver, over

    def recovered(self, since: float) -> float | None:
        """When the first successful probe that started after this moment was answered."""
        return next((answered for began, answered in self.whole if began >= since), None)

    def run(self) -> None:
        """Run until the storm is over."""
        try:
            while not self._over.wait(EVERY):
                began = time.time()
                if self._ask():
                    self.whole.append((began, time.time()))
        except BaseException as error:  # noqa: BLE001 - reported by the thread that joins this one
            self.failed.append(error)

    def _ask(self) -> bool:
        account = Account(f"probe-{self._number}-{len(self.accounts)}")
        account.hook = f"{self._receiver.name}/{account.key}"
        self.accounts.append(account)
        try:
            answer = requests.post(
                f"{self._url}/v1/jobs",
                data={
                    "operation": "detect",
                    "metadata": json.dumps({"key": account.key}),
                    "priority": "high",
                    "webhook": json.dumps({"url": f"{self._receiver.url}/{account.key}"}),
                },
                files={"image": QUICK},
                headers={"Prefer": f"wait={WAIT}"},
                timeout=2 * WAIT,
            )
        except requests.RequestException:
            return False
        if answer.status_code not in {200, 202, 503}:
            self.unexpected.append(f"a probe was answered {answer.status_code}: {answer.text[:200]}")
        if answer.status_code not in {200, 202}:
            return False
        job = answer.json()
        account.ids.add(job["id"])
        return job["status"] == "succeeded" and self._receiver.taken(event_id(job["id"]), within=WAIT)
