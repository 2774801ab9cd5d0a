"""One storm: load and faults side by side, then calm, then the oracle's verdict and one row of figures."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import redis
import requests
from pydantic import SecretStr

from shared.jobs import Status
from shared.storage.connection import connect
from shared.storage.ledger import Ledger
from tests.chaos.faults import Faults
from tests.chaos.ground import LEASE, MAX_ATTEMPTS, Ground
from tests.chaos.load import CLIENTS, PATIENCE, Client, Insider, Listener
from tests.chaos.oracle import LINES, Snapshot, audit
from tests.chaos.stores import PREFIX, snapshot

CALM: Final = 90.0
"""Seconds after the last fault until every job must have ended."""
REPEATED: Final = 40
"""Submissions that are sent once more when all is over."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in one storm."""

    seed: int
    seconds: float
    faults: Counter[str]
    asked: int
    accepted: int
    statuses: Counter[Status]
    attempts: Counter[int]
    worker_lost: int
    longest: float
    calm: float
    """Seconds from the last fault to the last end."""
    heard: int
    findings: Sequence[str]

    def lines(self) -> list[str]:
        """As a person reads it."""
        again = sum(count for attempts, count in self.attempts.items() if attempts > 1)
        return [
            f"seed {self.seed}: {self.seconds:g} s, {sum(self.faults.values())} faults; findings: {len(self.findings)}",
            f"  faults    {_counted(self.faults)}",
            f"  accepted  {self.accepted} of {self.asked} asked for; ends: {_counted(self.statuses)}",
            f"  starts    {_counted(self.attempts)} (jobs by starts); {again} again, worker_lost {self.worker_lost}",
            f"  longest   {self.longest:.1f} s from acceptance to end; calm {self.calm:.1f} s after the last fault",
            f"  heard     {self.heard} ends announced",
        ]


def _counted(counts: Counter[str] | Counter[Status] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def storm(data: Path, *, seed: int, seconds: float) -> Report:
    """Let it storm for so long, and judge what is left."""
    over, silent = threading.Event(), threading.Event()
    with Ground(data) as ground, closing(connect(SecretStr(ground.stack.ledger.url))) as client:
        ledger = Ledger(client, shards=1, lease=timedelta(seconds=LEASE))
        clients = [Client(number, ground.urls, seed=seed, over=over) for number in range(CLIENTS)]
        insider, listener = Insider(ledger, over=over), Listener(client, over=silent)
        submitters: list[Client | Insider] = [*clients, insider]
        threads = [*submitters, listener]
        for thread in threads:
            thread.start()
        try:
            faults = Faults(ground, seed=seed)
            _rage(ground, faults, seconds=seconds)
            over.set()
            calm = _settle(ground)
            _join(ground, submitters)
            calm += _settle(ground)
            found = _look(ground, clients)
        finally:
            over.set()
            silent.set()
            for thread in threads:
                thread.join(timeout=PATIENCE + 15)
        accounts = [account for each in submitters for account in each.accounts]
        findings = [
            *(f"client: {error!r}" for each in submitters for error in each.failed),
            *(f"answer: {line}" for each in clients for line in each.unexpected),
            *(f"log: {line}" for line in _unhandled(ground.log)),
            *audit(accounts, listener.ends, found, max_attempts=MAX_ATTEMPTS),
        ]
    (data / "log.txt").write_text("\n".join(ground.log), encoding="utf-8")
    records = found.records.values()
    return Report(
        seed=seed,
        seconds=seconds,
        faults=faults.done,
        asked=len(accounts),
        accepted=sum(len(account.ids) for account in accounts),
        statuses=Counter(record.status for record in records),
        attempts=Counter(record.attempts for record in records),
        worker_lost=sum(record.shelf.startswith("dead:") for record in records),
        longest=max((record.lasted for record in records), default=0.0),
        calm=calm,
        heard=len(listener.ends),
        findings=findings,
    )


def _unhandled(log: Sequence[str]) -> list[str]:
    """For each traceback in the log, what was raised."""
    found = []
    for at, line in enumerate(log):
        if "Traceback" in line:
            name = line.split(" | ")[0]
            own = [later for later in log[at + 1 : at + 400] if later.startswith(f"{name} | ")]
            raised = next((later for later in own if not later.startswith((f"{name} |   ", f"{name} | +"))), line)
            found.append(raised[:300])
    return found


def _rage(ground: Ground, faults: Faults, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        faults.step()
        ground.supervise_once()
        time.sleep(0.05)
    faults.end()


def _join(ground: Ground, threads: Sequence[threading.Thread]) -> None:
    """Wait until the clients have their last answers; what died before must still be started again."""
    ground.supervise(lambda: not any(thread.is_alive() for thread in threads), seconds=2 * PATIENCE + 30)


def _settle(ground: Ground) -> float:
    """Seconds until nothing waits and nothing runs; what is left then is the oracle's to find."""
    begin = time.monotonic()
    ground.supervise(lambda: _at_rest(ground), seconds=CALM)
    return time.monotonic() - begin


def _at_rest(ground: Ground) -> bool:
    try:
        with ground.stack.ledger.client() as ledger:
            return not any(ledger.zcard(PREFIX + line) for line in LINES)
    except redis.RedisError:
        return False


def _look(ground: Ground, clients: Sequence[Client]) -> Snapshot:
    lead_to = {}
    ground.supervise(lambda: ground.stack.health() is not None, seconds=30)
    with requests.Session() as session:
        for each in clients:
            for account in [account for account in each.accounts if account.ids][-REPEATED // CLIENTS :]:
                found = each.again(session, account)
                if found is not None:
                    lead_to[account.key] = found
    with ground.stack.ledger.client() as ledger, ground.stack.broker.client() as broker:
        return snapshot(ledger, broker, keys_lead_to=lead_to)
