"""The compose stack behind its own Prometheus, with an Alertmanager, poisoned workers and rules that need seconds."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import redis
import requests
import yaml  # type: ignore[import-untyped]

from tests.containers.compose import FILES, ComposeStack
from tests.integration.partner import Deed, Partner
from tests.watching.alertmanager import Receiver, write_routes
from tests.watching.live import EVERY, POISONED, SETTINGS, Live, quick_rules
from tests.watching.prometheus import Prometheus, configured
from tools.containers.images import ALERTMANAGER
from tools.setup import ROOT

SERVICES: Final = ("ledger", "broker", "gateway", "courier", "worker", "prometheus", "alertmanager")
METRICS: Final = 9464
ENVIRONMENT: Final = {**SETTINGS, "VULTUS_AUTH": "off", "VULTUS_AUTH_OPEN": "true"}
FLAGS: Final = (
    "config.file=/etc/alertmanager/alertmanager.yml",
    "storage.path=/alertmanager",
    "cluster.listen-address=",
    "log.level=warn",
)
"""Of Alertmanager."""
WORKER: Final = ("celery", "--quiet", "-A", "worker.app", "worker", "--without-mingle", "--without-gossip")


class ComposeLive(Live):
    """The compose stack with one worker."""

    def __init__(self, stack: ComposeStack, files: tuple[str, ...], receiver: Receiver) -> None:
        self.url, self.receiver = stack.url, receiver
        self._stack = stack
        self._compose = partial(stack.compose, files=files, environment=ENVIRONMENT)
        self.good_partner = self.partner()

    def start(self) -> None:
        """Start it, and wait until all of it is healthy."""
        self._compose("up", "--detach", "--no-build", "--wait", "--scale", "worker=1", *SERVICES)

    def scale(self, workers: int) -> None:
        """Start or remove workers."""
        self._compose(
            "up", "--detach", "--no-build", "--no-recreate", "--wait", "--scale", f"worker={workers}", "worker"
        )

    def stop_watching(self) -> None:
        """Remove Prometheus and Alertmanager."""
        self._compose("rm", "--stop", "--force", "--volumes", "prometheus", "alertmanager")

    def prometheus(self) -> Prometheus:
        """Return its Prometheus, which only the daemon's own machine can reach."""
        return Prometheus(9090, self._stack.address(self._only("prometheus"), "watch"))

    def partner(self, *deeds: Deed) -> Partner:
        """Listen on the machine of the daemon."""
        return Partner(*deeds, address=self._stack.this_side("front"))

    def ledger(self) -> redis.Redis:
        """Connect to the ledger's container."""
        return self._stack.store("ledger")

    @contextmanager
    def killed(self, service: str) -> Iterator[None]:
        """Kill the container as an operator does; the daemon does not start it again."""
        container = self._only(service)
        self._stack.docker("kill", container)
        try:
            yield
        finally:
            self._stack.docker("start", container)

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        """Run a container beside the service's own, under its name, as with two kinds of workers."""
        models = {"VULTUS_ENGINE": "vultus", "VULTUS_PACK": "compact"}
        settings = [part for name, value in models.items() for part in ("--env", f"{name}={value}")]
        options = ["--detach", "--rm", "--no-deps", "--use-aliases", *settings]
        container = self._compose("run", *options, "worker", *WORKER).strip()
        try:
            yield
        finally:
            self._stack.docker("rm", "--force", container)

    def busy_threads(self) -> float:
        """Read it from the worker's own metrics."""
        lines = self._ask("worker", "/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vultus_worker_busy_threads"))

    def ready(self) -> bool:
        """Ask each process itself."""
        try:
            return all(self._ask(name, "/readyz").ok for name in ("gateway", "courier", "worker"))
        except requests.RequestException:
            return False

    def supervise(self) -> None:
        """Leave that to the daemon."""

    def _ask(self, service: str, path: str) -> requests.Response:
        address = self._stack.address(self._only(service), "store")
        return requests.get(f"http://{address}:{METRICS}{path}", timeout=10)

    def _only(self, service: str) -> str:
        (container,) = self._compose("ps", "--all", "--quiet", service).split()
        return container


def write_files(folder: Path, receiver: str) -> str:
    """Write the configuration of both, and the compose file that mounts it; its path.

    Prometheus keeps the deployed one, except for its intervals and rules, and finds the containers by their names.
    """
    alertmanager, prometheus = folder / "alertmanager", folder / "prometheus"
    for each in (alertmanager, prometheus):
        each.mkdir()
        each.chmod(0o755)
    write_routes(alertmanager / "alertmanager.yml", receiver)
    quick_rules(prometheus / "alerts.yml")
    configuration = configured(every=EVERY, rules="/etc/prometheus/alerts.yml", alertmanagers=["alertmanager:9093"])
    for job in configuration["scrape_configs"]:
        for names in job["dns_sd_configs"]:
            names["refresh_interval"] = EVERY
    (prometheus / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    worker = [part.replace("worker.app", POISONED) for part in WORKER]
    services = {
        "worker": {"command": worker, "volumes": [f"{ROOT / 'tests'}:/app/tests:ro"]},
        "prometheus": {"volumes": [f"{prometheus}:/etc/prometheus:ro"]},
        "alertmanager": {
            "image": ALERTMANAGER,
            "pull_policy": "never",
            "command": [f"--{flag}" for flag in FLAGS],
            "volumes": [f"{alertmanager}:/etc/alertmanager:ro"],
            "networks": ["front", "watch"],
        },
    }
    path = folder / "watched.yml"
    path.write_text(json.dumps({"services": services}), encoding="utf-8")
    return str(path)


@contextmanager
def live(stack: ComposeStack, folder: Path) -> Iterator[ComposeLive]:
    """The stack, watched; as it was before at the end."""
    receiver = Receiver()
    with ExitStack() as exits:
        url = exits.enter_context(receiver.listening(stack.this_side("front")))
        running = ComposeLive(stack, (*FILES, write_files(folder, url)), receiver)
        exits.callback(running.good_partner.close)
        exits.callback(stack.up)
        exits.callback(running.stop_watching)
        running.start()
        yield running
