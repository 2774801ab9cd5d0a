"""Alertmanager, and a receiver of its notifications."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import yaml  # type: ignore[import-untyped]

from tests.integration.watched_stack import soon
from tests.watching.binaries import binary
from tests.watching.prometheus import EVERY, START, answers, process
from tools.ports import LOOPBACK, free_port

FIRING: Final = "firing"
RESOLVED: Final = "resolved"


@dataclass
class Receiver:
    """Collects the notifications of Alertmanager."""

    notifications: list[tuple[str, str]] = field(default_factory=list)
    """Status and name of each alert, in order of arrival."""

    def fired(self, names: Iterable[str], *, since: int) -> bool:
        """Whether each alert has fired after this many notifications."""
        return {(FIRING, name) for name in names} <= set(self.notifications[since:])

    def resolved(self, names: Iterable[str]) -> bool:
        """Whether the last notification about each alert, if there was one, says that it is resolved."""
        last = {name: status for status, name in self.notifications}
        return all(last.get(name, RESOLVED) == RESOLVED for name in names)

    @contextmanager
    def listening(self, address: str = LOOPBACK) -> Iterator[str]:
        """Its URL while it listens."""
        notifications = self.notifications

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                notifications.extend((alert["status"], alert["labels"]["alertname"]) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer((address, 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://{address}:{server.server_port}/"
            server.shutdown()


def write_routes(path: Path, receiver: str) -> None:
    """Write a configuration that notifies the receiver at once of each alert and of its end."""
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": EVERY}
    hook = {"url": receiver, "send_resolved": True}
    path.write_text(yaml.safe_dump({"route": route, "receivers": [{"name": "test", "webhook_configs": [hook]}]}))


@contextmanager
def alerting(folder: Path, receiver: str) -> Iterator[str]:
    """The address of an Alertmanager that notifies the receiver."""
    folder.mkdir(parents=True)
    path = folder / "alertmanager.yml"
    write_routes(path, receiver)
    port = free_port()
    command = [
        binary("prometheus-alertmanager", "alertmanager"),
        f"--config.file={path}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with process("alertmanager", command):
        soon(lambda: answers(port), within=START)
        yield f"{LOOPBACK}:{port}"
