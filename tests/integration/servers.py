"""A real Valkey server of a test's own."""

import pytest
from pydantic import SecretStr

from tools.service import Service
from tools.stack import Store, valkey


class Server:
    """A real Valkey server of a test's own, that it may kill and start again."""

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

    def kill(self) -> None:
        self.service.signal(9)
        self.service.wait(5)
