"""What is done to containers: killed, crashed, paused, stopped, cut off from a network."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.containers.compose import PROJECT, ComposeStack, wait_for
from tools.containers.client import ContainersError

HELD: Final = (0.5, 4.0)
"""Seconds that a container stays paused or cut off: shorter and longer than a lease."""
PATIENCE: Final = 90.0
"""Seconds until a container must be there to be struck."""
BUSY: Final = "unable to freeze"
"""What the runtime says if a process was not scheduled in time to be paused."""
STORE: Final = ("store",)
EVERYTHING: Final = ("front", "store")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault at one service."""

    service: str
    kind: str

    def __str__(self) -> str:
        """How the table names it."""
        return f"{self.service} {self.kind}"


class Faults:
    """Does faults to a stack, by a seeded schedule."""

    def __init__(self, stack: ComposeStack, *, seed: int) -> None:
        self._stack = stack
        self._random = random.Random(seed)  # noqa: S311 - faults that can be repeated
        self._kinds: dict[str, Callable[[str, str], None]] = {
            "crashed": self._crash,
            "paused": self._pause,
            "cut off from the stores": lambda service, each: self._cut(service, each, STORE),
            "killed": self._kill,
            "told to stop": self._restart,
            "cut off from everything": lambda service, each: self._cut(service, each, EVERYTHING),
        }

    def menu(self) -> list[Fault]:
        """Every fault that there is; the first fifteen are of every service and of three kinds."""
        services = ("worker", "ledger", "gateway", "courier", "broker")
        both = ("gateway", "courier")
        return [
            Fault(service, kind)
            for kind in self._kinds
            for service in (both if kind == "cut off from everything" else services)
        ]

    def strike(self, fault: Fault) -> bool:
        """Do it to one container of the service; False if none was up in time."""
        return wait_for(lambda: self._struck(fault), seconds=PATIENCE)

    def _struck(self, fault: Fault) -> bool:
        running = self._stack.containers(fault.service, "status=running")
        if not running:
            return False
        container = self._random.choice(running)
        try:
            self._kinds[fault.kind](fault.service, container)
        except ContainersError as error:
            if BUSY in str(error):
                return False
            if self._stack.state(container)["Running"]:
                raise
            return False  # it went down by itself in this moment, and Docker starts it again
        return True

    def _kill(self, _service: str, container: str) -> None:
        """As an operator does; the daemon does not start it again."""
        self._stack.docker("kill", container)
        time.sleep(self._random.uniform(*HELD) / 2)
        self._stack.docker("start", container)

    def _crash(self, _service: str, container: str) -> None:
        """As the kernel does where memory is out; the daemon starts it again."""
        self._stack.run_in(container, "sh", "-c", "kill -9 -1")

    def _pause(self, _service: str, container: str) -> None:
        self._stack.docker("pause", container)
        time.sleep(self._random.uniform(*HELD))
        self._stack.docker("unpause", container)

    def _restart(self, _service: str, container: str) -> None:
        self._stack.docker("restart", "--time", "20", container)

    def _cut(self, service: str, container: str, networks: tuple[str, ...]) -> None:
        for network in networks:
            self._stack.docker("network", "disconnect", f"{PROJECT}_{network}", container)
        try:
            time.sleep(self._random.uniform(*HELD))
        finally:
            for network in networks:
                self._stack.docker("network", "connect", "--alias", service, f"{PROJECT}_{network}", container)
