"""A real gateway that fetches images, its store and its log."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import requests
from pydantic import SecretStr

from shared.jobs import Claim
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.stores import open_stores
from tests.integration.hostile import Hostile
from tools.ports import free_port
from tools.stack import Stack

FETCH_TIME: Final = 1.6  # longer than the second between two sweeps
SECRET: Final = "?token=secret-of-the-url"  # noqa: S105 - it looks like one, for the test that it is never shown
RESULT: Final[dict[str, Any]] = {"kind": "faces", "faces": []}


@dataclass
class Site:
    """Gateways over one ledger, and their logs."""

    stack: Stack
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        client = connect(SecretStr(self.stack.ledger.url))
        self.stores = open_stores(client, shards=1, lease=timedelta(seconds=30))
        self.ledger = self.stores.jobs

    def submit(self, url: str | None, *, prefer: str | None = None, **more: Any) -> requests.Response:
        body = {"operation": "detect", "image": {"url": url}, **more}
        headers = {} if prefer is None else {"Prefer": prefer}
        return requests.post(f"{self.stack.url}/v1/jobs", json=body, headers=headers, timeout=30)

    def accepted(self, url: str, **more: Any) -> str:
        answer = self.submit(url, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def ended(self, url: str, **more: Any) -> dict[str, Any]:
        answer = self.submit(url, prefer="wait=10", **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def refused(self, url: str, **more: Any) -> tuple[str, bool]:
        error = self.ended(url, **more)["error"]
        assert "secret" not in error["detail"]
        return error["code"], error["retryable"]

    def read(self, job_id: str) -> dict[str, Any]:
        return dict(requests.get(f"{self.stack.url}/v1/jobs/{job_id}", timeout=10).json())

    def has_failed(self, job_id: str) -> bool:
        return bool(self.read(job_id)["status"] == "failed")

    def claim(self, *, within: float = 10) -> Claim:
        deadline = time.monotonic() + within
        while (claim := self.ledger.claim("the-test")) is None:
            assert time.monotonic() < deadline, "no job was queued for a worker"
            time.sleep(0.02)
        return claim

    def kept(self) -> set[str]:
        """Images and URLs in the store."""
        with self.stack.ledger.client() as client:
            return {
                key.decode()
                for kind in (keys.image, keys.reference, keys.urls)
                for key in client.scan_iter(kind(0, "*"))
            }

    def holds(self, text: str) -> bool:
        """True if any value of the store contains this."""
        with self.stack.ledger.client() as client:
            return any(text.encode() in (client.dump(key) or b"") for key in client.scan_iter("*"))


def until(true: Callable[[], bool], *, within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def opened(
    tmp_path: Path, settings: dict[str, str], *, names: dict[str, list[list[str]]] | None = None, workers: int = 0
) -> Iterator[Site]:
    lines: list[str] = []
    more = {"VULTUS_LOG_LEVEL": "debug", "VULTUS_IMAGE_URL_TIMEOUT": str(FETCH_TIME), "TEST_NAMES": json.dumps(names)}
    stack = Stack(
        data=tmp_path,
        port=free_port(),
        workers=workers,
        settings={**more, **settings},
        sink=lambda name, line: lines.append(f"{name} | {line}"),
    )
    if names is not None:
        stack.gateway.command = [sys.executable, "-m", "tests.integration.scripted_gateway"]
    with stack:
        stack.wait_gateway(30)
        yield Site(stack, lines)
    assert not [line for line in lines if "secret" in line or "Traceback" in line]


def leave(*servers: Hostile) -> dict[str, str]:
    """Settings of a gateway that may fetch from these hosts, over plain HTTP and on this machine."""
    return {
        "VULTUS_IMAGE_URL_HOSTS": ",".join(f"{server.address}:{server.port}" for server in servers),
        "VULTUS_IMAGE_URL_ALLOW_HTTP": "true",
        "VULTUS_IMAGE_URL_ALLOW_PRIVATE": "true",
    }
