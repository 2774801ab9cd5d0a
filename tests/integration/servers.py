"""A real Valkey server for a single test."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from tools.service import Service
from tools.stack import Store, valkey


@dataclass
class Configured(Store):
    """A store with additional configuration lines."""

    more: Sequence[str] = ()

    def configuration(self) -> str:
        """Our configuration, then the test's."""
        return super().configuration() + "".join(f"{line}\n" for line in self.more)


class Server:
    """A real Valkey server for a single test, which may kill and restart it."""

    def __init__(self, store: Store) -> None:
        store.directory.mkdir(parents=True, exist_ok=True)
        self.store = store
        self.service = Service(store.name, [valkey(), "-"], {}, lambda *_: None, stdin=store.configuration())

    @property
    def url(self) -> SecretStr:
        return SecretStr(self.store.url)

    def start(self) -> None:
        self.service.start()
        for _ in range(500):
            if self.store.answers():
                return
            self.service.wait(0.02)
        pytest.fail("valkey did not start")

    def copied(self) -> bool:
        """True once a replica has everything that this primary has."""
        with self.store.client() as client:
            info = client.info("replication")
        replica = info.get("slave0", {})
        return (replica.get("state"), replica.get("offset")) == ("online", info["master_repl_offset"])

    def kill(self) -> None:
        self.service.signal(9)
        self.service.wait(5)
