"""Real parts for the integration suite: Valkey servers, and the whole stack with the compact pack."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.storage.connection import connect
from shared.storage.ledger import Ledger
from tools.service import Service
from tools.setup import models_dir
from tools.stack import Stack, Store, free_port, valkey

COMPACT = models_dir() / "compact" / "manifest.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder talks to real servers."""
    for item in items:
        if "tests/integration/" in str(item.path):
            item.add_marker(pytest.mark.integration)


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


def serving(store: Store) -> Iterator[Server]:
    server = Server(store)
    server.start()
    yield server
    server.service.stop()


@pytest.fixture
def ledger_server(tmp_path: Path) -> Iterator[Server]:
    yield from serving(Store("ledger", tmp_path / "ledger", durable=True))


@pytest.fixture
def broker_server(tmp_path: Path) -> Iterator[Server]:
    yield from serving(Store("broker", tmp_path / "broker", durable=False))


@pytest.fixture
def ledger(ledger_server: Server) -> Iterator[Ledger]:
    client = connect(ledger_server.url)
    yield Ledger(client, shards=1, lease=timedelta(seconds=0.3))
    client.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service, as `make up` starts it, with real models."""
    if not COMPACT.exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    lines: list[str] = []
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models_dir()), "VULTUS_LEASE": "3"}
    running = Stack(
        data=tmp_path_factory.mktemp("stack"),
        port=free_port(),
        settings=settings,
        sink=lambda name, line: lines.append(f"{name} | {line}"),
    )
    with running:
        running.wait_ready(60)
        yield running
