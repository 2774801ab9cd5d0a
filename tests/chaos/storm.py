"""One storm: load, single faults and their recovery, many faults at once, calm, and the oracle's verdict."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import redis
import requests

from shared.ledger import keys
from shared.webhooks.schemas import SUBSCRIBABLE
from tests.chaos.blows import Blow
from tests.chaos.callbacks import delays, expected, judge, repeats
from tests.chaos.census import Usage, carriers, census
from tests.chaos.faults import Faults
from tests.chaos.ground import HOLD, MAX_ATTEMPTS, Ground
from tests.chaos.listener import Listener
from tests.chaos.load import PATIENCE, Client
from tests.chaos.moments import Moments
from tests.chaos.oracle import LINES, Snapshot, audit
from tests.chaos.probe import Probe
from tests.chaos.receiver import Receiver
from tests.chaos.report import Report, after_lease, told_late
from tests.chaos.stores import endless, images_kept, snapshot, strange
from tests.chaos.traces import grown, restarts, unhandled

CLIENTS: Final = 5
CALM: Final = 90.0
"""Seconds after the last fault until every job must have finished."""
RECOVERY: Final = 60.0
"""Seconds after a single fault until the service must be whole."""
HELD: Final = 10.0
"""Seconds after its lease until a dead worker's job must have left it; the actual time is measured."""
REPEATED: Final = 40
"""Submissions that are repeated when all is over."""
WARM: Final = 2.0
"""Seconds of load before the first fault, and before the first measurement of resource usage."""
EVERYTHING: Final = tuple(event.value for event in SUBSCRIBABLE)
FAILURES: Final = ("job.failed", "job.expired")
"""The events that the two endpoints listen to."""
PATHS: Final = ("all", "failures")
AGAIN: Final = ("worker killed", "worker frozen, then killed") * 3
"""Injected more than once alone, because their promises have a time limit."""
SOON: Final = 2.0
"""Seconds after the lease of a dead worker until another worker must have its job."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The course of a storm."""

    seed: int
    shards: int
    singles: Sequence[str] | None = None
    """Faults injected one by one, each until the service is whole again; None: every known fault, and `AGAIN`."""
    seconds: float = 30.0
    """Seconds of many faults at once, after that."""


class Storm:
    """One storm over a running stack."""

    def __init__(self, ground: Ground, plan: Plan, receivers: Sequence[Receiver]) -> None:
        self._ground, self._plan = ground, plan
        self._own, self._steady, *self._registered = receivers
        self._alone: list[Blow] = []
        self._over, self._silent = threading.Event(), threading.Event()
        hooks = [(self._own.name, self._own.url)]
        self.clients = [
            Client(number, ground.urls, seed=plan.seed, over=self._over, hooks=hooks) for number in range(CLIENTS + 1)
        ]
        self.probes = [Probe(number, url, self._steady, over=self._over) for number, url in enumerate(ground.urls)]
        villain = self.clients[-1]
        flaky = [receiver for receiver in receivers if receiver is not self._steady]
        self.faults = Faults(ground, flaky, villain, seed=plan.seed)

    @property
    def submitters(self) -> list[Client | Probe | Moments]:
        """Everything that records what it submitted."""
        return [*self.clients, *self.probes, self.faults.moments]

    def run(self) -> Report:
        """Run the storm and judge the result."""
        begin = time.time()
        with self._ground.ledger() as ledger:
            listener = Listener(ledger, shards=self._ground.shards, over=self._silent)
            threads = [*self.clients[:-1], *self.probes, listener]
            for thread in threads:
                thread.start()
            try:
                self._ground.supervise(lambda: time.time() - begin > WARM, seconds=2 * WARM)
                before = self._census()
                self._singles()
                self._rage()
                self._over.set()
                last = time.time()
                calm = self._settle()
                self._ground.supervise(
                    lambda: not any(thread.is_alive() for thread in [*threads[:-1], *self.faults.moments.threads]),
                    seconds=2 * PATIENCE + 30,
                )
                calm += self._settle()
                found = self._look(ledger)
                # A process that was told to stop at the last moment may still be draining, or be about to restart.
                self._ground.supervise(lambda: len(self._census()) == len(self._ground.services), seconds=30)
                after = self._census()
                leaks = self._leaks(ledger)
                lost_by_couriers = told_late(ledger, self._ground.shards, hold=HOLD)
            finally:
                self._over.set()
                self._silent.set()
                self.faults.end()
                for thread in threads:
                    thread.join(timeout=PATIENCE + 15)
        return self._report(
            begin=begin, calm=calm, found=found, ends=listener.ends, leaks=[*leaks, *grown(before, after)],
            usage=(before, after), lost_by_couriers=lost_by_couriers, last=last,
        )  # fmt: skip

    def _census(self) -> dict[str, Usage]:
        return census({service.name: service.pid for service in self._ground.services})

    def _singles(self) -> None:
        names = [*self.faults.menu, *AGAIN] if self._plan.singles is None else [*self._plan.singles]
        for name in self.faults.order(names):
            blow = self.faults.strike(name)
            self._alone.append(blow)
            self._ground.supervise(partial(self._is_over, blow), seconds=RECOVERY)
            self._ground.supervise(partial(self._recovered, blow), seconds=RECOVERY)
            self._ground.supervise(partial(self._has_left, blow), seconds=HELD)

    def _is_over(self, blow: Blow) -> bool:
        self.faults.step()
        return blow.ended is not None

    def _recovered(self, blow: Blow) -> bool:
        since = blow.ended or time.time()
        whole = [probe.recovered(since) for probe in self.probes]
        blow.recovered = max((at or 0.0 for at in whole), default=0.0) if all(whole) else None
        return blow.recovered is not None

    def _has_left(self, blow: Blow) -> bool:
        """Whether the dead worker has lost all of its jobs."""
        if not blow.held:
            return True
        try:
            with self._ground.stack.ledger.client() as ledger:
                return not any(
                    ledger.zscore(keys.leases(shard), job_id) == until
                    for shard in range(self._ground.shards)
                    for job_id, until in blow.held.items()
                )
        except redis.RedisError:
            return False

    def _rage(self) -> None:
        deadline = time.monotonic() + self._plan.seconds
        while time.monotonic() < deadline:
            self.faults.rage()
            self._ground.supervise_once()
            time.sleep(0.02)
        self.faults.end()

    def _settle(self) -> float:
        """Seconds until nothing is queued or running; the oracle finds what is left then."""
        begin = time.monotonic()
        self._ground.supervise(self._at_rest, seconds=CALM)
        return time.monotonic() - begin

    def _at_rest(self) -> bool:
        try:
            with self._ground.stack.ledger.client() as ledger:
                prefixes = [keys.prefix(shard) for shard in range(self._ground.shards)]
                waiting = any(ledger.exists(prefix + line) for prefix in prefixes for line in (*LINES, "outbox", "due"))
                return not waiting and not images_kept(ledger)
        except redis.RedisError:
            return False

    def _look(self, ledger: redis.Redis) -> Snapshot:
        lead_to = {}
        self._ground.supervise(lambda: self._ground.stack.health() is not None, seconds=30)
        with requests.Session() as session:
            for each in self.clients:
                answered = [account for account in each.accounts if account.ids and not account.erased]
                for account in answered[-REPEATED // CLIENTS :]:
                    found = each.again(session, account)
                    if found is not None:
                        lead_to[account.key] = found
        with self._ground.stack.broker.client() as broker:
            return snapshot(ledger, broker, shards=self._ground.shards, keys_lead_to=lead_to)

    def _leaks(self, ledger: redis.Redis) -> list[str]:
        with self._ground.stack.broker.client() as broker:
            return [
                *(f"endless: {name} has no end" for name in endless(ledger)),
                *(f"strange: {name} is in the broker" for name in strange(broker)),
            ]

    def _report(
        self, *, begin: float, calm: float, last: float, found: Snapshot, ends: list[tuple[str, str]],
        leaks: list[str], usage: tuple[dict[str, Usage], dict[str, Usage]], lost_by_couriers: list[float],
    ) -> Report:  # fmt: skip
        accounts = [account for each in self.submitters for account in each.accounts]
        erased = frozenset(
            job_id for account in accounts if account.erased for job_id in {*account.ids, *account.retries}
        ).union(self.faults.moments.gone)
        receipts = [receipt for each in (self._own, self._steady, *self._registered) for receipt in each.receipts]
        hooks = {account.key: account.hook for account in accounts if account.hook}
        everything, failures = (f"{each.name}/{path}" for each, path in zip(self._registered, PATHS, strict=True))
        due = expected(found, hooks=hooks, endpoints={everything: EVERYTHING, failures: FAILURES})
        spent = after_lease(self.faults.blows, found)
        late = [(job_id, seconds) for job_id, seconds in spent.items() if seconds > SOON]
        findings = [
            *(f"client: {error!r}" for each in self.submitters for error in each.failed),
            *(f"answer: {line}" for each in self.submitters for line in each.unexpected),
            *(f"log: {line}" for line in unhandled(self._ground.log)),
            *(f"late: {job_id} left its dead worker {seconds:.1f} s after the lease" for job_id, seconds in late),
            *(
                f"recovery: the service was not whole {RECOVERY:g} s after {blow.name}"
                for blow in self._alone
                if blow.recovered is None
            ),
            *audit(accounts, ends, found, max_attempts=MAX_ATTEMPTS),
            *judge(due, receipts, erased=erased),
            *self.faults.moments.broken,
            *leaks,
        ]
        return Report.of(
            self._plan, self.faults.blows, accounts, found, findings,
            seconds=time.time() - begin, calm=calm, last=last, usage=usage, delays=delays(due, receipts),
            told=len(due), repeats=repeats(receipts), requests=len(receipts), after_lease=[*spent.values()],
            lost_by_couriers=lost_by_couriers,
            swallowed=sum(line.swallowed for line in self._ground.lines), restarts=restarts(self._ground.log),
        )  # fmt: skip


def storm(data: Path, plan: Plan) -> Report:
    """Run the storm as planned, on its own stack; every process of it has exited when this returns."""
    with ExitStack() as exits:
        ground = Ground(data, shards=plan.shards, seed=plan.seed)
        exits.callback(lambda: (data / "log.txt").write_text("\n".join(ground.log), encoding="utf-8"))
        names = (("own", False), ("steady", True), ("endpoint-1", False), ("endpoint-2", False))
        receivers = [
            exits.enter_context(Receiver(name, secret=ground.secret, seed=plan.seed, steady=steady))
            for name, steady in names
        ]
        with ground:
            for receiver, path, events in zip(receivers[2:], PATHS, (EVERYTHING, FAILURES), strict=True):
                receiver.secret = register(ground.urls[0], f"{receiver.url}/{path}", events)
            report = Storm(ground, plan, receivers).run()
    left = carriers(ground.stack.ledger.password)
    return report.and_found([f"process: {pid} is still there" for pid in left])


def register(url: str, where: str, events: Sequence[str]) -> str:
    """Register an endpoint; return its secret."""
    answer = requests.post(f"{url}/v1/webhook-endpoints", json={"url": where, "events": [*events]}, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["secret"])
