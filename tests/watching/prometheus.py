"""Prometheus over a local stack, with the deployed configuration and a scrape every few seconds."""

import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml  # type: ignore[import-untyped]

from tests.integration.watched_stack import Watched, soon
from tests.watching.binaries import binary
from tests.watching.deployed import DEPLOY, RULES
from tools.ports import LOOPBACK, free_port
from tools.service import Service

EVERY: Final = "2s"
"""Also the time limit of a scrape."""
START: Final = 300.0
"""Seconds. It starts in about one, on a machine that has nothing else to do."""


@dataclass
class Prometheus:
    """A running server, asked over its HTTP API."""

    port: int
    address: str = LOOPBACK

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The value of each series that an expression returns now, by its labels."""
        answer = self._get("query", query=expression)
        series = answer["result"] if answer["resultType"] == "vector" else [{"metric": {}, "value": answer["result"]}]
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in series}

    def targets_up(self) -> int:
        """The number of targets whose last scrape succeeded."""
        return sum(target["health"] == "up" for target in self._get("targets", state="active")["activeTargets"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"}

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self.address}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        answer = requests.get(url, timeout=20).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]


def targets(running: Watched) -> dict[str, list[str]]:
    """The metrics addresses of a stack, by scrape job."""
    processes = {
        "vultus-gateway": ["gateway"],
        "vultus-courier": ["courier"],
        "vultus-worker": [service.name for service in running.stack.workers],
    }
    return {job: [f"{LOOPBACK}:{running.port_of(name)}" for name in names] for job, names in processes.items()}


def configured(*, every: str, rules: str, alertmanagers: Sequence[str]) -> dict[str, Any]:
    """The deployed configuration, except for intervals, rules and the addresses of Alertmanagers."""
    configuration: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    configuration["global"] = {"scrape_interval": every, "evaluation_interval": every}
    configuration["rule_files"] = [rules]
    configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [*alertmanagers]}]}]}
    return configuration


@contextmanager
def scraping(
    folder: Path, running: Watched, *, every: str = EVERY, rules: Path = RULES, alertmanagers: Sequence[str] = ()
) -> Iterator[Prometheus]:
    """Prometheus with the deployed configuration, over the addresses of a local stack."""
    configuration = configured(every=every, rules=str(rules), alertmanagers=alertmanagers)
    addresses = targets(running)
    for job in configuration["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": addresses.pop(job["job_name"])}]
    assert not addresses
    folder.mkdir(parents=True)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    server = Prometheus(free_port())
    command = [
        binary("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{server.port}",
        "--log.level=warn",
    ]
    with process("prometheus", command):
        soon(lambda: answers(server.port), within=START)
        expected = sum(len(job["static_configs"][0]["targets"]) for job in configuration["scrape_configs"])
        soon(lambda: server.targets_up() == expected, within=START)
        yield server


def answers(port: int) -> bool:
    """Whether the Prometheus or Alertmanager on this port is ready."""
    try:
        return requests.get(f"http://{LOOPBACK}:{port}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


@contextmanager
def process(name: str, command: list[str]) -> Iterator[None]:
    """Run a program until the context ends."""
    service = Service(name, command, {}, lambda *_: None)
    service.start()
    try:
        yield
    finally:
        service.stop()
