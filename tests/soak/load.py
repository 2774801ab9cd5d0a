"""Submits jobs at a rate that does not depend on answers, and measures how many per second are possible."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import requests

CLIENTS: Final = 24
"""Maximum number in flight: more than a service that keeps up ever has."""
PATIENCE: Final = 30
TOLD: Final = 4
"""One in this many jobs has the URL of a receiver."""
BATCHES: Final = 25
"""One in this many requests is a batch."""
ITEMS: Final = 5
JOBS: Final = (BATCHES - 1 + ITEMS) / BATCHES
"""Average number of jobs per request."""


@dataclass(slots=True)
class Load:
    """Where jobs are sent, what they are, and their outcomes."""

    url: str
    hook: str
    operation: str
    image: bytes
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When a job was due, by the monotonic clock, and the seconds until it finished."""
    wrong: list[str] = field(default_factory=list)
    sent: int = 0
    _local: threading.local = field(default_factory=threading.local)

    def capacity(self, *, seconds: float) -> float:
        """Jobs per second if each of eight clients sends its next job when the last one is done."""
        until = time.monotonic() + seconds
        done: list[float] = []

        def client(number: int) -> None:
            while time.monotonic() < until:
                self._one(number + len(done), due=time.monotonic())
                done.append(time.monotonic())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client, range(8)))
        late = [at for at in done if until - seconds / 2 <= at < until]
        self.latencies.clear()
        return len(late) / (seconds / 2)

    def steady(self, rate: float, *, seconds: float, meanwhile: Callable[[float], object]) -> None:
        """Submit this many jobs per second, regardless of their outcomes; call `meanwhile` about once a second."""
        rate /= JOBS
        begin = time.monotonic()
        looked = begin
        with ThreadPoolExecutor(CLIENTS) as pool:
            for number in range(round(rate * seconds)):
                due = begin + number / rate
                while (left := due - time.monotonic()) > 0:
                    time.sleep(min(left, 0.2))
                self.sent += 1
                pool.submit(self._guarded, number, due=due)
                if time.monotonic() - looked > 1:
                    looked = time.monotonic()
                    meanwhile(looked)

    def _guarded(self, number: int, *, due: float) -> None:
        try:
            if number % BATCHES == BATCHES - 1:
                self._batch()
            else:
                self._one(number, due=due)
        except requests.RequestException as error:
            self.wrong.append(repr(error))

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        return self._local.session  # type: ignore[no-any-return]

    def _one(self, number: int, *, due: float) -> None:
        data = {"operation": self.operation}
        if number % TOLD == 0:
            data["webhook"] = json.dumps({"url": self.hook})
        answer = self._session.post(
            f"{self.url}/v1/jobs",
            data=data,
            files={"image": self.image},
            headers={"Prefer": f"wait={PATIENCE}"},
            timeout=PATIENCE + 5,
        )
        done = time.monotonic()
        if answer.status_code == 200 and answer.json()["status"] == "succeeded":
            self.latencies.append((due, done - due))
        else:
            self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")

    def _batch(self) -> None:
        answer = self._session.post(
            f"{self.url}/v1/batches",
            data={"operation": self.operation, "webhook": json.dumps({"url": self.hook})},
            files=[("images", (f"{number}.png", self.image)) for number in range(ITEMS)],
            timeout=PATIENCE,
        )
        if answer.status_code not in {200, 202}:  # 200 if the worker was faster than the response
            self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
