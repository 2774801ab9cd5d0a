"""What a storm does to a stack, by a seeded schedule: it kills, freezes and stops only what it has started."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import redis
from kombu.exceptions import OperationalError

from shared.dispatch import QUEUE, RUN_NEXT, celery_app
from tests.chaos.ground import Ground
from tools.service import Service

PAUSE: Final = (0.2, 1.0)
"""Seconds between two faults."""
FROZEN: Final = (0.3, 4.0)
"""Seconds that a worker or gateway stays frozen: shorter and longer than a lease."""
STORE_FROZEN: Final = (0.2, 1.5)


@dataclass(frozen=True, slots=True)
class Thaw:
    """A frozen process, and when it goes on."""

    at: float
    service: Service
    pid: int


class Faults:
    """Draws a fault, commits it, and remembers how often. One for each storm; call it from the main thread."""

    def __init__(self, ground: Ground, *, seed: int) -> None:
        self._ground = ground
        self._random = random.Random(seed)  # noqa: S311 - a schedule that can be repeated, no secret
        self._thaws: list[Thaw] = []
        self._next = 0.0
        self.done: Counter[str] = Counter()
        stack = ground.stack
        ledger, broker = stack.stores
        self._menu: list[tuple[int, str, Callable[[], None]]] = [
            (6, "worker killed", lambda: self._kill(self._one(stack.workers))),
            (4, "worker frozen", lambda: self._freeze(self._one(stack.workers), FROZEN)),
            (3, "worker frozen, killed", lambda: self._freeze_and_kill(self._one(stack.workers))),
            (3, "worker told to stop", lambda: self._one(stack.workers).signal(signal.SIGTERM)),
            (3, "gateway killed", lambda: self._kill(self._one(ground.gateways))),
            (1, "gateway frozen", lambda: self._freeze(self._one(ground.gateways), FROZEN)),
            (1, "gateway told to stop", lambda: self._one(ground.gateways).signal(signal.SIGTERM)),
            (2, "broker killed", lambda: self._kill(broker)),
            (1, "broker frozen", lambda: self._freeze(broker, STORE_FROZEN)),
            (2, "broker emptied", self._flush),
            (2, "doorbells dropped", self._drop),
            (2, "doorbells multiplied", self._multiply),
            (2, "ledger killed", lambda: self._kill(ledger)),
            (1, "ledger frozen", lambda: self._freeze(ledger, STORE_FROZEN)),
        ]

    def step(self) -> None:
        """Commit the next fault where its time has come, and let those go on whose time in the ice is over."""
        now = time.monotonic()
        self._thaw(until=now)
        if now < self._next:
            return
        self._next = now + self._random.uniform(*PAUSE)
        weights = [weight for weight, _, _ in self._menu]
        ((_, name, commit),) = self._random.choices(self._menu, weights)
        commit()
        self.done[name] += 1

    def end(self) -> None:
        """No more faults: whatever is frozen goes on."""
        self._thaw(until=float("inf"))

    def _one(self, services: list[Service]) -> Service:
        return self._random.choice(services)

    def _kill(self, service: Service) -> None:
        service.failures = 0  # the supervisor's patience is not what is tried here
        service.signal(signal.SIGKILL)

    def _freeze(self, service: Service, seconds: tuple[float, float]) -> None:
        service.signal(signal.SIGSTOP)
        at = time.monotonic() + self._random.uniform(*seconds)
        self._thaws.append(Thaw(at, service, service.pid))

    def _freeze_and_kill(self, service: Service) -> None:
        """A doorbell that reaches a frozen worker dies with it."""
        service.signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.05, 0.3))
        self._kill(service)

    def _thaw(self, *, until: float) -> None:
        for thaw in [thaw for thaw in self._thaws if thaw.at <= until]:
            self._thaws.remove(thaw)
            if thaw.service.pid == thaw.pid:
                thaw.service.signal(signal.SIGCONT)

    def _flush(self) -> None:
        with self._ground.stack.broker.client() as broker, suppress(redis.RedisError):
            broker.flushall()

    def _drop(self) -> None:
        with self._ground.stack.broker.client() as broker, suppress(redis.RedisError):
            broker.delete(QUEUE)

    def _multiply(self) -> None:
        with celery_app(self._ground.broker_url) as app:
            times = self._random.randint(10, 50)
            with suppress(OperationalError, redis.RedisError, OSError):
                for _ in range(times):
                    app.send_task(RUN_NEXT, retry=False, ignore_result=True)
