"""A real primary with a replica, watched by three real sentinels, for tests to break."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from tests.integration.servers import Configured, Server
from tools.ports import LOOPBACK, free_port
from tools.service import Service
from tools.stack import valkey

SERVICE = "ledger"
COUNT = 3
QUORUM = 2
SILENCE = 2000
"""Milliseconds after which a server counts as dead: longer than a busy machine keeps one that lives from answering."""


class Watched:
    """Two servers, one of which the sentinels make the primary."""

    def __init__(self, directory: Path) -> None:
        self.password, self.sentinel_password = secrets.token_hex(8), secrets.token_hex(8)
        self.servers = [self._server(directory / "a")]
        self.servers.append(self._server(directory / "b", f"replicaof {LOOPBACK} {self.servers[0].store.port}"))
        self.ports = [free_port() for _ in range(COUNT)]
        self.sentinels = [self._sentinel(directory, port) for port in self.ports]

    def _server(self, directory: Path, *more: str) -> Server:
        more = (*more, f"masterauth {self.password}", "repl-diskless-sync-delay 0")
        return Server(Configured("watched", directory, durable=True, password=self.password, more=more))

    def _sentinel(self, directory: Path, port: int) -> Service:
        lines = [
            f"bind {LOOPBACK}",
            f"port {port}",
            f'dir "{directory}"',
            f"requirepass {self.sentinel_password}",
            f"sentinel sentinel-pass {self.sentinel_password}",
            f"sentinel monitor {SERVICE} {LOOPBACK} {self.servers[0].store.port} {QUORUM}",
            f"sentinel auth-pass {SERVICE} {self.password}",
            f"sentinel down-after-milliseconds {SERVICE} {SILENCE}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        written = directory / f"sentinel-{port}.conf"  # a sentinel stores what it learns in this file
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Service(f"sentinel-{port}", [valkey(), str(written), "--sentinel"], {}, lambda *_: None)

    @property
    def url(self) -> SecretStr:
        nodes = ",".join(f"{LOOPBACK}:{port}" for port in self.ports)
        return SecretStr(
            f"redis+sentinel://:{self.password}@{nodes}/{SERVICE}?sentinel_password={self.sentinel_password}"
        )

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for sentinel in self.sentinels:
            sentinel.start()
        patient(self._complete)

    def _complete(self) -> bool:
        """Every sentinel knows the replica and the other sentinels, and the replica follows."""
        for port in self.ports:
            with redis.Redis(LOOPBACK, port, password=self.sentinel_password) as client:
                known = client.sentinel_master(SERVICE)
                if (known["num-slaves"], known["num-other-sentinels"]) != (1, COUNT - 1):
                    return False
        return self.copied()

    def primary(self) -> Server:
        """The primary that the sentinels name now."""
        with redis.Redis(LOOPBACK, self.ports[0], password=self.sentinel_password) as client:
            port = client.sentinel_get_master_addr_by_name(SERVICE)[1]
        return next(server for server in self.servers if server.store.port == port)

    def copied(self) -> bool:
        """True once the replica has everything that the primary has."""
        return self.primary().copied()

    def stop(self) -> None:
        for service in [*self.sentinels, *(server.service for server in self.servers)]:
            service.stop()


def patient(promise: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait until it is true, also for servers that do not answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if promise():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            pytest.fail("the condition did not hold in time")
        time.sleep(0.05)
