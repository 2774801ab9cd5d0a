"""The local stack behind Debian's Prometheus and Alertmanager, started beside it."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
import requests

from tests.integration.partner import Deed, Partner
from tests.integration.watched_stack import Watched, watched
from tests.watching.alertmanager import Receiver, alerting
from tests.watching.live import EVERY, POISONED, SETTINGS, WITHIN, Live, quick_rules
from tests.watching.prometheus import scraping
from tools.service import Service


class LocalLive(Live):
    """The local stack; its second worker is stopped until it is needed."""

    def __init__(self, running: Watched, receiver: Receiver) -> None:
        self.url, self.receiver = running.stack.url, receiver
        self.good_partner = running.partner
        self._running, self._stack = running, running.stack
        self._second = self._stack.workers.pop()
        self._second.stop()

    def partner(self, *deeds: Deed) -> Partner:
        return Partner(*deeds)

    def ledger(self) -> redis.Redis:
        return self._stack.ledger.client()

    @contextmanager
    def killed(self, service: str) -> Iterator[None]:
        process = self._service(service)
        process.signal(signal.SIGKILL)
        process.wait(WITHIN)
        try:
            yield
        finally:
            process.start()

    def _service(self, name: str) -> Service:
        stack = self._stack
        services = {
            "ledger": stack.stores[0],
            "gateway": stack.gateway,
            "courier": stack.courier,
            "worker": stack.workers[0],
        }
        return services[name]

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        worker = self._second
        worker.command = [part.replace(POISONED, "worker.app") for part in worker.command]
        worker.environment = {**worker.environment, "VULTUS_ENGINE": "vultus", "VULTUS_PACK": "compact"}
        worker.start()
        try:
            yield
        finally:
            worker.stop()

    def busy_threads(self) -> float:
        return self._running.value("worker-1", "vultus_worker_busy_threads")

    def ready(self) -> bool:
        try:
            return all(self._running.ask(name, "/readyz").ok for name in ("gateway", "courier", "worker-1"))
        except requests.ConnectionError:
            return False

    def supervise(self) -> None:
        self._stack.supervise_once()


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """The stack with poisoned workers; Prometheus, which evaluates the quick rules; Alertmanager."""
    receiver = Receiver()
    with ExitStack() as exits:
        stack = watched(folder / "stack", workers=2, settings=SETTINGS, worker=POISONED, within=WITHIN)
        running = exits.enter_context(stack)
        alertmanager = exits.enter_context(alerting(folder / "alertmanager", exits.enter_context(receiver.listening())))
        rules = quick_rules(folder / "alerts.yml")
        prometheus = scraping(folder / "prometheus", running, every=EVERY, rules=rules, alertmanagers=[alertmanager])
        exits.enter_context(prometheus)
        yield LocalLive(running, receiver)
