"""Injects faults into a stack by a seeded schedule. It kills, freezes and stops only processes that it started."""

import contextlib
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import redis
import requests
from kombu.exceptions import OperationalError

from shared.dispatch import QUEUE, RUN_NEXT, celery_app
from shared.jobs import Status, shard_of
from shared.ledger import keys
from tests.chaos.blows import Blow, Course
from tests.chaos.ground import Ground
from tests.chaos.load import Client
from tests.chaos.marks import DEADLY, GREEDY
from tests.chaos.misfits import Misfits
from tests.chaos.moments import Moments
from tests.chaos.receiver import Receiver
from tools.service import Service

PAUSE: Final = (0.2, 1.0)
"""Seconds between two faults of a storm."""
FROZEN: Final = (0.3, 4.0)
"""Seconds that a process stays frozen: shorter and longer than a lease."""
STORE_FROZEN: Final = (0.2, 1.5)
LONG: Final = 10.0
"""Seconds that a store is paused."""
HOUR: Final = 3600.0
BAD: Final = (1.5, 3.5)
"""Seconds that the network, or a clock, is bad."""
FULL: Final = 4.0
"""Seconds that the disk is full."""
LEFT: Final = 2048
"""Bytes that remain on the full disk, so that the last write is partial."""
HOSTILE: Final = 25.0
"""Seconds to wait for a hostile picture's job to finish."""
BUSY: Final = 4.0
"""Seconds to look for a worker that has a job."""
SETTLED: Final = 1.5
"""Seconds between the stops of two processes in a rolling restart."""


class Faults:
    """Injects faults and remembers them. One instance per storm; call it from the main thread."""

    def __init__(self, ground: Ground, receivers: list[Receiver], villain: Client, *, seed: int) -> None:
        self._ground = ground
        self._receivers = receivers
        self._villain = villain
        self._random = random.Random(seed)  # noqa: S311 - a repeatable schedule, not a secret
        self._going: list[tuple[Blow, Course]] = []
        self._next = 0.0
        self.blows: list[Blow] = []
        self.moments = Moments(ground, seed=seed)
        self._misfits = Misfits(ground, self.moments, seed=seed)
        ledger, broker = ground.stack.stores
        workers, gateways, couriers = ground.stack.workers, ground.gateways, ground.couriers
        self.menu: dict[str, tuple[int, Callable[[Blow], Course]]] = {
            "worker killed": (6, self._kill_worker),
            "worker frozen": (4, lambda _: self._freeze(self._one(workers), FROZEN)),
            "worker frozen, then killed": (3, lambda blow: self._kill_worker(blow, frozen=True)),
            "worker told to stop": (2, lambda _: self._tell(self._one(workers))),
            "worker killed by a hostile image": (0, lambda _: self._hostile(DEADLY)),
            "worker's memory filled by a hostile image": (1, lambda _: self._hostile(GREEDY)),
            "worker's clock off by an hour": (1, lambda _: self._skew(self._one(workers))),
            "gateway killed": (3, lambda _: self._kill(self._one(gateways))),
            "gateway frozen": (1, lambda _: self._freeze(self._one(gateways), FROZEN)),
            "gateway told to stop": (1, lambda _: self._tell(self._one(gateways))),
            "gateway's clock off by an hour": (1, lambda _: self._skew(self._one(gateways))),
            "courier killed": (3, lambda _: self._kill(self._one(couriers))),
            "courier frozen": (2, lambda _: self._freeze(self._one(couriers), FROZEN)),
            "courier told to stop": (1, lambda _: self._tell(self._one(couriers))),
            "courier's clock off by an hour": (1, lambda _: self._skew(self._one(couriers))),
            "receivers away": (1, lambda _: self._away()),
            "broker killed": (2, lambda _: self._kill(broker)),
            "broker frozen": (1, lambda _: self._freeze(broker, STORE_FROZEN)),
            "broker paused for 10 s": (0, lambda _: self._freeze(broker, (LONG, LONG))),
            "broker emptied": (2, lambda _: self._flush()),
            "doorbells dropped": (2, lambda _: self._drop()),
            "doorbells multiplied": (2, lambda _: self._multiply()),
            "ledger killed": (2, lambda _: self._kill(ledger)),
            "ledger frozen": (1, lambda _: self._freeze(ledger, STORE_FROZEN)),
            "ledger paused for 10 s": (0, lambda _: self._freeze(ledger, (LONG, LONG))),
            "ledger's disk full": (1, lambda _: self._fill(ledger)),
            "network slow": (1, lambda _: self._network("slow")),
            "network stalled": (1, lambda _: self._network("stall")),
            "network cut": (1, lambda _: self._network("cut")),
            "answers lost on the way": (2, lambda _: self._network("swallow")),
            "everything restarted in turn": (0, lambda _: self._roll()),
            **self.moments.menu,
            **self._misfits.menu,
        }

    def strike(self, name: str) -> Blow:
        """Inject this fault now."""
        blow = Blow(name, time.time())
        self.blows.append(blow)
        self._going.append((blow, self.menu[name][1](blow)))
        self._go_on(blow, self._going[-1][1])
        return blow

    def rage(self) -> None:
        """Draw the next fault and inject it when it is due; continue those in progress."""
        self.step()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._random.uniform(*PAUSE)
            weights = [weight for weight, _ in self.menu.values()]
            self.strike(self._random.choices(list(self.menu), weights)[0])

    def order(self, names: list[str]) -> list[str]:
        """These faults in the order of this seed."""
        return self._random.sample(names, len(names))

    def step(self) -> None:
        """Continue every fault that takes time."""
        for blow, course in [*self._going]:
            self._go_on(blow, course)

    def end(self) -> None:
        """End all faults: thaw frozen processes and free the disk."""
        for blow, course in [*self._going]:
            course.close()  # type: ignore[attr-defined]  # each is a generator
            self._over(blow, course)
        self._misfits.end()

    def _go_on(self, blow: Blow, course: Course) -> None:
        try:
            next(course)
        except StopIteration:
            self._over(blow, course)

    def _over(self, blow: Blow, course: Course) -> None:
        blow.ended = time.time()
        self._going.remove((blow, course))

    def _one(self, services: list[Service]) -> Service:
        return self._random.choice(services)

    def _last(self, bounds: tuple[float, float]) -> Course:
        until = time.monotonic() + self._random.uniform(*bounds)
        while time.monotonic() < until:
            yield

    def _kill(self, service: Service) -> Course:
        service.failures = 0  # the supervisor's patience is not under test
        service.signal(signal.SIGKILL)
        yield from ()

    def _kill_worker(self, blow: Blow, *, frozen: bool = False) -> Course:
        """Kill a worker, if possible one with a job; read what it had once it is dead.

        A doorbell that reaches a frozen worker dies with it.
        """
        service = self._one(self._ground.stack.workers)
        until = time.monotonic() + BUSY
        before: set[str] = set()
        while not before & self._held_by(service.pid).keys() and time.monotonic() < until:
            service = self._one(self._ground.stack.workers)
            before = {*self._held_by(service.pid)}  # still there at the next step: a job that takes its time
            yield
        if frozen:
            service.signal(signal.SIGSTOP)
            yield from self._last((0.05, 0.3))
        yield from self._kill(service)
        if service.wait(2):
            blow.died = time.time()
            blow.held = self._held_by(service.pid)

    def _held_by(self, pid: int) -> dict[str, float]:
        found: dict[str, float] = {}
        with contextlib.suppress(redis.RedisError), self._ground.stack.ledger.client() as ledger:
            for shard in range(self._ground.shards):
                for job_id, until in ledger.zrange(keys.leases(shard), 0, -1, withscores=True):
                    token = ledger.hget(keys.job(shard, job_id.decode()), "token") or b""
                    if f"-{pid}-" in token.decode():
                        found[job_id.decode()] = float(until)
        return found

    def _freeze(self, service: Service, bounds: tuple[float, float]) -> Course:
        pid = service.pid
        service.signal(signal.SIGSTOP)
        try:
            yield from self._last(bounds)
        finally:
            if service.pid == pid:
                service.signal(signal.SIGCONT)

    def _tell(self, service: Service) -> Course:
        service.failures = 0
        service.signal(signal.SIGTERM)
        yield from ()

    def _roll(self) -> Course:
        for service in [*self._ground.gateways, *self._ground.couriers, *self._ground.stack.workers]:
            before = service.pid
            yield from self._tell(service)
            while service.pid == before or time.monotonic() - service.started_at < SETTLED:
                yield

    def _skew(self, service: Service) -> Course:
        file = self._ground.clocks / service.name
        file.write_text(str(self._random.choice([HOUR, -HOUR])), encoding="ascii")
        try:
            yield from self._last(BAD)
        finally:
            file.write_text("0", encoding="ascii")

    def _hostile(self, image: bytes) -> Course:
        """Submit a picture that kills its worker or exhausts its memory; wait until its job has finished."""
        before = len(self._villain.accounts)

        def submit() -> None:
            with requests.Session() as session:
                self._villain.submit(session, image)

        thread = threading.Thread(target=submit)
        thread.start()
        until = time.monotonic() + HOSTILE
        while time.monotonic() < until and (thread.is_alive() or not self._ended(before)):
            for worker in self._ground.stack.workers:
                worker.failures = min(worker.failures, 1)
            yield
        thread.join()
        if image is GREEDY:  # the other would cost three more workers
            with requests.Session() as session:
                self._villain.look(session, self._villain.accounts[before])

    def _ended(self, number: int) -> bool:
        ids = self._villain.accounts[number].ids
        with contextlib.suppress(redis.RedisError), self._ground.stack.ledger.client() as ledger:
            for job_id in ids:
                status = ledger.hget(keys.job(shard_of(job_id), job_id), "status")
                return status is not None and Status(status.decode()).is_terminal
        return not ids

    def _away(self) -> Course:
        for receiver in self._receivers:
            receiver.away.set()
        try:
            yield from self._last(BAD)
        finally:
            for receiver in self._receivers:
                receiver.away.clear()

    def _fill(self, ledger: Service) -> Course:
        """Let no file of the ledger grow: the ledger exits, and exits again each time it is restarted."""
        full: int | None = None
        until = time.monotonic() + FULL
        try:
            while time.monotonic() < until:
                ledger.failures = 0
                if ledger.pid != full and ledger.exit_code() is None:
                    full = ledger.pid
                    _limit(full, self._size() + LEFT)
                yield
        finally:
            if ledger.exit_code() is None:
                _limit(ledger.pid, None)

    def _size(self) -> int:
        files = Path(self._ground.stack.ledger.directory, "appendonlydir").glob("*.incr.aof")
        return max((file.stat().st_size for file in files), default=0)

    def _network(self, fault: str) -> Course:
        lines = self._random.choice([self._ground.lines, *([line] for line in self._ground.lines)])
        for line in lines:
            line.slow(0.05) if fault == "slow" else getattr(line, fault)()
        try:
            yield from self._last(BAD)
        finally:
            for line in lines:
                line.clear()

    def _flush(self) -> Course:
        with self._ground.stack.broker.client() as broker, contextlib.suppress(redis.RedisError):
            broker.flushall()
        yield from ()

    def _drop(self) -> Course:
        with self._ground.stack.broker.client() as broker, contextlib.suppress(redis.RedisError):
            broker.delete(QUEUE)
        yield from ()

    def _multiply(self) -> Course:
        with celery_app(self._ground.broker_url) as app:
            times = self._random.randint(10, 50)
            with contextlib.suppress(OperationalError, redis.RedisError, OSError):
                for _ in range(times):
                    app.send_task(RUN_NEXT, retry=False, ignore_result=True)
        yield from ()


def _limit(pid: int, size: int | None) -> None:
    """Limit the size of a file that this process may write; None removes the limit."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
