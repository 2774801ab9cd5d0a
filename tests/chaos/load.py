"""Clients in a storm: they submit, repeat what got no answer, read, cancel, and keep account of what they were told."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import redis
import requests

from shared.errors import VultusError
from shared.jobs import NewJob, Status, new_job_id
from shared.operations import Operation
from shared.storage import keys
from shared.storage.admission import Limits
from shared.storage.ledger import Ledger, event
from tests.chaos.oracle import Account
from tests.integration.breaking import picture
from tests.integration.poisons import SLOW

CLIENTS: Final = 5
PATIENCE: Final = 15.0
"""Seconds for which a client repeats one submission; a gateway that died holds a key for longer."""
QUICK: Final = picture()
LONG: Final = picture(SLOW)
"""Takes a worker a second: long enough to be killed in."""


class Client(threading.Thread):
    """One client of the HTTP side. It shares nothing with the others but the service."""

    def __init__(self, number: int, urls: Sequence[str], *, seed: int, over: threading.Event) -> None:
        super().__init__(name=f"client-{number}")
        self.accounts: list[Account] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.failed: list[BaseException] = []
        self.unexpected: list[str] = []
        self._number, self._urls, self._over = number, urls, over
        self._random = random.Random(f"{seed} {number}")  # noqa: S311 - a load that can be repeated, no secret

    def run(self) -> None:
        """Until the storm is over."""
        try:
            with requests.Session() as session:
                while not self._over.is_set():
                    self._turn(session)
                    self._over.wait(self._random.uniform(0, 0.2))
        except BaseException as error:  # noqa: BLE001 - told by whoever joins this thread
            self.failed.append(error)

    def _turn(self, session: requests.Session) -> None:
        account = Account(f"{self._number}-{len(self.accounts)}")
        self.accounts.append(account)
        body = self.bodies[account.key] = submission(self._random, account.key)
        repeat(lambda: self._submit(session, account, body), within=PATIENCE)
        for job_id in account.ids if self._random.random() < 0.1 else ():
            account.canceled = self._call(session, "POST", f"/v1/jobs/{job_id}/cancel").get("status") == "canceled"
        self._look(session, self._random.choice(self.accounts))

    def _submit(self, session: requests.Session, account: Account, body: dict[str, Any]) -> bool:
        job = self._call(session, "POST", "/v1/jobs", **body)
        if "id" in job:
            account.ids.add(str(job["id"]))
        return "id" in job

    def _look(self, session: requests.Session, account: Account) -> None:
        for job_id in account.ids:
            status = self._call(session, "GET", f"/v1/jobs/{job_id}").get("status")
            if isinstance(status, str) and Status(status).is_terminal:
                account.ends_seen.add(Status(status))

    def again(self, session: requests.Session, account: Account) -> str | None:
        """The id that the service gives for the same submission now."""
        found = self._call(session, "POST", "/v1/jobs", **self.bodies[account.key]).get("id")
        return None if found is None else str(found)

    def _call(self, session: requests.Session, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The answer of either gateway; nothing where there was none, or it was one to come back after."""
        try:
            answer = session.request(method, self._random.choice(self._urls) + path, timeout=12, **more)
        except requests.RequestException:
            return {}
        if answer.status_code in {200, 202}:
            return dict(answer.json())
        if answer.status_code not in {409, 503}:
            self.unexpected.append(f"{method} {path} was answered {answer.status_code}: {answer.text[:200]}")
        return {}


def submission(chance: random.Random, key: str) -> dict[str, Any]:
    """One of many kinds of submission, as `requests` takes it."""
    headers = {"Idempotency-Key": key}
    kind = chance.random()
    if kind < 0.1:
        headers["Cancel-After"] = "2s"
    elif kind < 0.2:
        headers["Prefer"] = "wait=2"
    return {
        "data": {
            "operation": "detect",
            "metadata": f'{{"key": "{key}"}}',
            "priority": chance.choice(["high", "normal", "low"]),
        },
        "files": {"image": LONG if chance.random() < 0.2 else QUICK},
        "headers": headers,
    }


class Insider(threading.Thread):
    """Submits jobs that somebody is to be told of; the calls cannot ask for that yet, so it asks the ledger itself."""

    def __init__(self, ledger: Ledger, *, over: threading.Event) -> None:
        super().__init__(name="insider")
        self.accounts: list[Account] = []
        self.failed: list[BaseException] = []
        self._ledger, self._over = ledger, over

    def run(self) -> None:
        """Until the storm is over."""
        try:
            while not self._over.wait(0.15):
                account = Account(f"told-{len(self.accounts)}", webhook=True)
                self.accounts.append(account)
                job = NewJob(
                    id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
                    operation=Operation.DETECT,
                    params={},
                    metadata={"key": account.key},
                    image=QUICK,
                    result_ttl=timedelta(hours=1),
                    webhook={"url": "https://partner.example"},
                )
                if repeat(lambda job=job: self._accept(job), within=PATIENCE):  # type: ignore[misc]
                    account.ids.add(job.id)
        except BaseException as error:  # noqa: BLE001 - told by whoever joins this thread
            self.failed.append(error)

    def _accept(self, job: NewJob) -> bool:
        with contextlib.suppress(VultusError):
            self._ledger.accept(job, limits=Limits(100_000))
            return True
        return False


class Listener(threading.Thread):
    """Hears every end that is announced, as far as the ledger lives to tell."""

    def __init__(self, client: redis.Redis, *, over: threading.Event) -> None:
        super().__init__(name="listener")
        self.ends: list[tuple[str, str]] = []
        self._client, self._over = client, over

    def run(self) -> None:
        """Until the storm is over."""
        while not self._over.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
                    heard.subscribe(keys.ends(0))
                    while not self._over.is_set():
                        message = heard.get_message(timeout=0.2)
                        if message is not None:
                            job_id, status = event(message["data"])
                            self.ends.append((job_id, str(status)))
            except redis.RedisError:
                time.sleep(0.1)


def repeat(act: Callable[[], bool], *, within: float) -> bool:
    """Do it until it succeeds, or the time is up."""
    deadline = time.monotonic() + within
    while not act():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
