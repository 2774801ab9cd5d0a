"""Processes beside the stack that do not fit it: other settings, another version, no room in the store."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import redis
import requests

from tests.chaos.blows import Blow, Course
from tests.chaos.ground import Ground, answers
from tests.chaos.marks import QUICK
from tests.chaos.moments import Moments
from tests.chaos.oracle import Account
from tests.chaos.store_clock import set_clock
from tools.ports import LOOPBACK, free_port
from tools.service import Service

HOUR: Final = 3600.0
SECONDS: Final = 3.0
"""Seconds that the store's memory is full, or its clock is wrong."""
START: Final = 30.0
"""Seconds that a process may take to start, or to refuse to."""
SUBMITTED: Final = 6
"""Jobs that a newer gateway accepts."""
COMMANDS: Final = {"gateway": ["api.app"], "courier": ["worker.courier"]}


class Misfits:
    """Injects these faults. Call it from the main thread."""

    def __init__(self, ground: Ground, moments: Moments, *, seed: int) -> None:
        self._ground, self._moments = ground, moments
        self._random = random.Random(f"{seed} misfits")  # noqa: S311 - a repeatable schedule, not a secret
        self.menu: dict[str, tuple[int, Callable[[Blow], Course]]] = {
            "ledger's memory full": (0, lambda _: self._fill_memory()),
            "ledger's clock set forward by an hour": (0, lambda _: self._jump()),
            "ledger's clock set back by an hour for a while": (0, lambda _: self._jump_back()),
            "process of another number of shards": (0, lambda _: self._other_shards()),
            "gateway of a newer version beside the others": (0, lambda _: self._newer()),
        }

    def end(self) -> None:
        """Let the ledger accept everything again, even if an earlier attempt could not reach it."""
        until = time.monotonic() + START
        while not self._limit_memory(0) and time.monotonic() < until:
            self._ground.supervise_once()
            time.sleep(0.1)

    def _fill_memory(self) -> Course:
        """Limit the store's memory to its current usage: new jobs are refused, accepted jobs continue."""
        with contextlib.suppress(redis.RedisError), self._ground.stack.ledger.client() as ledger:
            ledger.config_set("maxmemory", ledger.info("memory")["used_memory"])
        try:
            yield from _last(SECONDS)
        finally:
            self._limit_memory(0)

    def _limit_memory(self, size: int) -> bool:
        with contextlib.suppress(redis.RedisError), self._ground.stack.ledger.client() as ledger:
            return bool(ledger.config_set("maxmemory", size))
        return False

    def _jump(self) -> Course:
        with contextlib.suppress(redis.RedisError), self._ground.ledger() as ledger:
            set_clock(ledger, by=HOUR)
        yield from ()

    def _jump_back(self) -> Course:
        """Correct the clock again after a while: retries planned earlier would be an hour late."""
        with self._ground.ledger() as ledger:
            set_clock(ledger, by=-HOUR)
            try:
                yield from _last(SECONDS)
            finally:
                set_clock(ledger, by=HOUR)

    def _other_shards(self) -> Course:
        """The process exits and states the reason in one line."""
        kind = self._random.choice(sorted(COMMANDS))
        shards = {"VULTUS_SHARDS": str(self._ground.shards + 1), "VULTUS_PORT": str(free_port())}
        misfit = self._ground.beside(f"misfit-{kind}", COMMANDS[kind], **shards)
        with _started(misfit):
            until = time.monotonic() + START
            while misfit.exit_code() is None and time.monotonic() < until:
                yield
            misfit.wait(1)
            if not misfit.exit_code() or not any("VULTUS_SHARDS" in line for line in misfit.last_lines):
                self._moments.broken.append(f"settings: a {kind} of another number of shards was let in")

    def _newer(self) -> Course:
        """Its records have a field that the others do not know; the jobs are processed and read all the same."""
        port = free_port()
        url = f"http://{LOOPBACK}:{port}"
        newer = self._ground.beside("newer-gateway", COMMANDS["gateway"], VULTUS_PORT=str(port), CHAOS_NEWER="1")
        with _started(newer):
            thread = threading.Thread(target=self._submit, args=(url,), name="newer")
            self._moments.threads.append(thread)
            thread.start()
            while thread.is_alive():
                yield

    def _submit(self, url: str) -> None:
        until = time.monotonic() + START
        while not answers(url) and time.monotonic() < until:
            time.sleep(0.1)
        for number in range(SUBMITTED):
            account = Account(f"newer-{url.rpartition(':')[2]}-{number}")
            self._moments.accounts.append(account)
            data = {"operation": "detect", "metadata": json.dumps({"key": account.key})}
            headers = {"Idempotency-Key": account.key, "Prefer": "wait=5"}
            with contextlib.suppress(requests.RequestException):
                answer = requests.post(f"{url}/v1/jobs", data=data, files={"image": QUICK}, headers=headers, timeout=15)
                if answer.status_code in {200, 202}:
                    account.ids.add(str(answer.json()["id"]))
        if not any(account.ids for account in self._moments.accounts[-SUBMITTED:]):
            self._moments.broken.append("versions: a newer gateway beside the others took nothing")


@contextlib.contextmanager
def _started(service: Service) -> Iterator[None]:
    service.start()
    try:
        yield
    finally:
        service.stop()


def _last(seconds: float) -> Course:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
