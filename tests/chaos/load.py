"""The clients of a storm: they submit, repeat unanswered calls, read, cancel, retry, erase, and keep records of it."""

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests

from shared.jobs import Status
from tests.chaos.marks import LONG, QUICK
from tests.chaos.oracle import Account

PATIENCE: Final = 15.0
"""Seconds for which a client repeats one submission; a gateway that died holds a key for longer."""
PAUSE: Final = (0.05, 0.45)
"""Seconds between two rounds of a client."""
BATCHES: Final = 0.12
ITEMS: Final = (4, 16)
LONG_ONES: Final = 0.08
PRIORITIES: Final = ("high", "normal", "normal", "low")
EXPECTED: Final = {200, 202, 204, 409, 503}
ABOUT_A_JOB: Final = {404, 410}
"""Responses about a job that was erased, or may have been."""


class Client(threading.Thread):
    """One client of the HTTP API. It shares nothing with the others except the service.

    `hooks` are URLs of receivers, by their name, which some of its jobs carry. Every request has `headers`.
    """

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        *,
        seed: int,
        over: threading.Event,
        hooks: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name=f"client-{number}")
        self.accounts: list[Account] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.failed: list[BaseException] = []
        self.unexpected: list[str] = []
        self._number, self._urls, self._over, self._hooks = number, urls, over, hooks
        self._headers = headers or {}
        self._random = random.Random(f"{seed} {number}")  # noqa: S311 - a repeatable load, not a secret

    def run(self) -> None:
        """Run until the storm is over."""
        try:
            with requests.Session() as session:
                session.headers.update(self._headers)
                while not self._over.is_set():
                    self._turn(session)
                    self._over.wait(self._random.uniform(*PAUSE))
        except BaseException as error:  # noqa: BLE001 - reported by the thread that joins this one
            self.failed.append(error)

    def submit(self, session: requests.Session, image: bytes) -> Account:
        """Submit one job with this image, beside the load, until it is accepted."""
        account = self._account()
        self._send(session, account, submission(self._random, account, image=image))
        return account

    def _turn(self, session: requests.Session) -> None:
        if self._random.random() < BATCHES:
            self._turn_in_a_batch(session)
        else:
            account = self._account(hooked=self._random.random() < 0.3)
            self._send(session, account, submission(self._random, account))
            if self._random.random() < 0.06:
                self._cancel(session, account)
        known = self._random.choice(self.accounts)
        if known.items:
            self._look_at_batch(session, known)
        else:
            self.look(session, known)
            if self._random.random() < 0.04:
                self._erase(session, known)

    def _account(self, *, hooked: bool = False) -> Account:
        hook = self._random.choice(self._hooks) if hooked and self._hooks else None
        account = Account(f"{self._number}-{len(self.accounts)}")
        if hook:
            account.hook, account.hook_url = f"{hook[0]}/{account.key}", f"{hook[1]}/{account.key}"
        self.accounts.append(account)
        return account

    def _turn_in_a_batch(self, session: requests.Session) -> None:
        account = self._account(hooked=self._random.random() < 0.5)
        account.items = self._random.randint(*ITEMS)
        self._send(session, account, batch(self._random, account))

    def _send(self, session: requests.Session, account: Account, body: dict[str, Any]) -> None:
        self.bodies[account.key] = body
        repeat(lambda: self._submit(session, account, body), within=PATIENCE)

    def _submit(self, session: requests.Session, account: Account, body: dict[str, Any]) -> bool:
        job = self._call(session, "POST", account.path, **body)
        if "id" in job:
            account.ids.add(str(job["id"]))
        return "id" in job

    def _cancel(self, session: requests.Session, account: Account) -> None:
        for job_id in account.ids:
            account.canceled = self._call(session, "POST", f"/v1/jobs/{job_id}/cancel").get("status") == "canceled"

    def look(self, session: requests.Session, account: Account) -> None:
        """Read its job; if it failed and may be retried, retry it."""
        for job_id in account.ids:
            job = self._call(session, "GET", f"/v1/jobs/{job_id}", gone=account.erased)
            status = job.get("status")
            if isinstance(status, str) and Status(status).is_terminal:
                account.ends_seen.add(Status(status))
            if (job.get("error") or {}).get("retryable") and not account.erased:
                again = self._call(session, "POST", f"/v1/jobs/{job_id}/retry", gone=True)
                account.retries |= {str(again["id"])} if "id" in again else set()

    def _look_at_batch(self, session: requests.Session, account: Account) -> None:
        for batch_id in account.ids:
            account.completed |= self._call(session, "GET", f"/v1/batches/{batch_id}").get("status") == "completed"

    def _erase(self, session: requests.Session, account: Account) -> None:
        """Called once: from then on its job may exist or not, unless the response says so."""
        for job_id in account.ids:
            account.erased = True
            if self._call(session, "DELETE", f"/v1/jobs/{job_id}", gone=True, raw=True).get("status") in {204, 404}:
                account.erased_surely = True

    def again(self, session: requests.Session, account: Account) -> str | None:
        """The id that the service returns for the same submission now."""
        found = self._call(session, "POST", account.path, **self.bodies[account.key]).get("id")
        return None if found is None else str(found)

    def _call(
        self, session: requests.Session, method: str, path: str, *, gone: bool = False, raw: bool = False, **more: Any
    ) -> dict[str, Any]:
        """The response of either gateway; empty if there was none, or if it said to come back later."""
        try:
            answer = session.request(method, self._random.choice(self._urls) + path, timeout=12, **more)
        except requests.RequestException:
            return {}
        status = answer.status_code
        if status not in EXPECTED | (ABOUT_A_JOB if gone else set()):
            self.unexpected.append(f"{method} {path} was answered {status}: {answer.text[:200]}")
        if raw:
            return {"status": status}
        return dict(answer.json()) if status in {200, 202} else {}


def submission(chance: random.Random, account: Account, *, image: bytes | None = None) -> dict[str, Any]:
    """One of many kinds of submission, as arguments for `requests`."""
    headers = {"Idempotency-Key": account.key}
    kind = chance.random()
    if kind < 0.08 and image is None:
        headers["Cancel-After"] = "2s"
    elif kind < 0.2:
        headers["Prefer"] = "wait=2"
    told = {"webhook": json.dumps({"url": account.hook_url})} if account.hook_url else {}
    return {
        "data": {
            "operation": "detect",
            "metadata": json.dumps({"key": account.key}),
            "priority": chance.choice(PRIORITIES),
            **told,
        },
        "files": {"image": image or (LONG if chance.random() < LONG_ONES else QUICK)},
        "headers": headers,
    }


def batch(chance: random.Random, account: Account) -> dict[str, Any]:
    """A batch of quick jobs; each item carries its own key."""
    image = base64.b64encode(QUICK).decode()
    told = {"webhook": {"url": account.hook_url}} if account.hook_url else {}
    return {
        "json": {
            "operation": "detect",
            "metadata": {"key": account.key},
            "priority": chance.choice(PRIORITIES),
            "items": [{"image": {"base64": image}, "metadata": {"key": key}} for key in account.item_keys],
            **told,
        },
        "headers": {"Idempotency-Key": account.key},
    }


def repeat(act: Callable[[], bool], *, within: float) -> bool:
    """Repeat the call until it succeeds or the time is up."""
    deadline = time.monotonic() + within
    while not act():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
