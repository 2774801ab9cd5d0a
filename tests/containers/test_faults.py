"""Containers are killed, frozen and cut off from the network under load; no accepted job is lost or doubled."""

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.containers.compose import PROJECT, ComposeStack, wait_for
from tests.integration.breaking import picture
from tools.containers import ContainersError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

FAULTS = int(os.environ.get("CONTAINERS_FAULTS", "15"))
SERVICES = ("worker", "ledger", "gateway", "courier", "broker")
STORE = f"{PROJECT}_store"
PATIENCE = 120.0
"""Seconds until a submission must be accepted, and a job must have ended."""


def kill(stack: ComposeStack, _service: str, container: str) -> None:
    stack.docker("kill", container)
    time.sleep(0.5)
    stack.docker("start", container)


def pause(stack: ComposeStack, _service: str, container: str) -> None:
    stack.docker("pause", container)
    time.sleep(2)
    stack.docker("unpause", container)


def disconnect(stack: ComposeStack, service: str, container: str) -> None:
    stack.docker("network", "disconnect", STORE, container)
    time.sleep(2)
    stack.docker("network", "connect", "--alias", service, STORE, container)


def strikes(stack: ComposeStack, fault: Callable[[ComposeStack, str, str], None], service: str, container: str) -> bool:
    """Do it; False where the container is down at this moment and comes back by itself."""
    try:
        fault(stack, service, container)
    except ContainersError:
        if stack.state(container)["Paused"]:
            raise
        return False
    return True


class Client(threading.Thread):
    """Submits jobs, each under a key that is repeated until it is accepted."""

    def __init__(self, stack: ComposeStack, number: int, over: threading.Event) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.accepted: dict[str, str] = {}
        self.unanswered: list[str] = []
        self._stack, self._number, self._over = stack, number, over

    def run(self) -> None:
        """Until the faults are over."""
        image = picture()
        for count in itertools.count():
            if self._over.wait(0.1):
                return
            key = f"{self._number}-{count}"
            deadline = time.monotonic() + PATIENCE
            while (job_id := self._stack.submit(key, image)) is None and time.monotonic() < deadline:
                time.sleep(0.2)
            if job_id is None:
                self.unanswered.append(key)
            else:
                self.accepted[key] = job_id


def test_no_accepted_job_is_lost_or_doubled(stack: ComposeStack) -> None:
    chance = random.Random(1)  # noqa: S311 - faults that can be repeated
    over = threading.Event()
    clients = [Client(stack, number, over) for number in range(3)]
    kinds = list(itertools.product((kill, pause, disconnect), SERVICES))
    done: Counter[str] = Counter()
    begin = time.monotonic()
    for client in clients:
        client.start()
    try:
        for number in range(FAULTS):
            fault, service = kinds[number % len(kinds)]
            container = chance.choice(stack.containers(service))
            assert wait_for(partial(strikes, stack, fault, service, container), seconds=PATIENCE), (fault, service)
            done[f"{service}: {fault.__name__}"] += 1
            time.sleep(0.3)
    finally:
        over.set()
        for client in clients:
            client.join(PATIENCE + 20)
    accepted = {key: job_id for client in clients for key, job_id in client.accepted.items()}
    assert [key for client in clients for key in client.unanswered] == []
    assert len(set(accepted.values())) == len(accepted)
    waiting = set(accepted.values())

    def settled() -> bool:
        waiting.difference_update([job_id for job_id in waiting if stack.status(job_id) == "succeeded"])
        return not waiting

    assert wait_for(settled, seconds=PATIENCE), {job_id: stack.status(job_id) for job_id in waiting}
    repeated = {key: stack.submit(key, picture()) for key in list(accepted)[-20:]}
    assert repeated == {key: accepted[key] for key in repeated}
    for name, times in sorted(done.items()):
        print(f"\n{name}: {times}", end="")  # noqa: T201 - the table of this run
    print(f"\n{FAULTS} faults, {len(accepted)} jobs, none lost, {time.monotonic() - begin:.0f} s")  # noqa: T201
