"""A real cluster of three primaries on this machine, with or without replicas, for tests to use and to break."""

import secrets
import time
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from redis.crc import key_slot

from shared.ledger import keys
from tests.integration.servers import Configured, Server
from tools.ports import LOOPBACK, free_port

SLOTS = 16384
NODES = 3
FLUSH = 60
"""Seconds that a node may take to write that it is empty to a disk that others use."""


class Node(Server):
    """One primary; its URL is that of the whole cluster."""

    def __init__(self, cluster: "Cluster", directory: Path) -> None:
        self.cluster = cluster
        self.bus = free_port()
        more = (
            "cluster-enabled yes",
            f"cluster-port {self.bus}",
            "cluster-node-timeout 1000",
            "cluster-require-full-coverage no",
            f"masterauth {cluster.password}",
            "repl-diskless-sync-delay 0",
        )
        super().__init__(Configured("node", directory, durable=True, password=cluster.password, more=more))

    @property
    def url(self) -> SecretStr:
        return self.cluster.url

    def start(self) -> None:
        super().start()
        self.cluster.wait()


class Cluster:
    """Three primaries that share all slots; each has a replica if requested."""

    def __init__(self, directory: Path, *, replicas: bool = False) -> None:
        self.password = secrets.token_hex(8)
        self.formed = False
        self.nodes = [Node(self, directory / str(number)) for number in range(NODES)]
        self.replicas = [Node(self, directory / f"replica-{number}") for number in range(NODES if replicas else 0)]

    @property
    def everyone(self) -> list[Node]:
        return [*self.nodes, *self.replicas]

    @property
    def url(self) -> SecretStr:
        nodes = ",".join(f"{LOOPBACK}:{node.store.port}" for node in self.nodes)
        return SecretStr(f"redis+cluster://:{self.password}@{nodes}")

    def start(self) -> None:
        for node in self.everyone:
            node.start()
        for number, node in enumerate(self.nodes):
            with node.store.client() as client:
                bounds = (number * SLOTS // NODES, (number + 1) * SLOTS // NODES - 1)
                client.execute_command("CLUSTER ADDSLOTSRANGE", *bounds)
                for other in self.everyone[number + 1 :]:
                    client.execute_command("CLUSTER MEET", LOOPBACK, other.store.port, other.bus)
        self.formed = True
        self.wait()
        for node, replica in zip(self.nodes, self.replicas, strict=False):
            with node.store.client() as client, replica.store.client() as follower:
                follower.execute_command("CLUSTER REPLICATE", client.execute_command("CLUSTER MYID"))

    def wait(self) -> None:
        """Return once all nodes know each other and serve."""
        deadline = time.monotonic() + 20
        while self.formed and not all(self._agrees(node) for node in self.everyone):
            if time.monotonic() > deadline:
                pytest.fail("the nodes did not become a cluster")
            time.sleep(0.05)

    def _agrees(self, node: Server) -> bool:
        try:
            with node.store.client() as client:
                found = client.execute_command("CLUSTER INFO")
        except redis.RedisError:
            return False
        info = found if isinstance(found, dict) else dict(line.split(":") for line in found.decode().split())
        return (info["cluster_state"], info["cluster_slots_ok"], info["cluster_known_nodes"]) == (
            "ok", str(SLOTS), str(len(self.everyone)),
        )  # fmt: skip

    def home(self, shard: int) -> Node:
        """The node that has a shard."""
        slot = key_slot(keys.queue(shard).encode())
        return self.nodes[next(n for n in range(NODES) if slot < (n + 1) * SLOTS // NODES)]

    def clean(self) -> None:
        """Reset it to a new cluster."""
        for node in self.nodes:
            with redis.Redis.from_url(node.store.url, socket_timeout=FLUSH) as client:
                client.config_set("maxmemory", "0")
                client.flushall()

    def stop(self) -> None:
        for node in self.everyone:
            node.service.stop()
