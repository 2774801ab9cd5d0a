"""Real parts for the integration suite: Valkey servers, and the whole stack with the compact pack."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from shared.ledger.stores import Stores, open_stores
from tests.integration.clusters import Cluster
from tests.integration.servers import Server
from tests.stacks import serving
from tools.setup import models_dir
from tools.stack import Stack, Store

COMPACT = models_dir() / "compact" / "manifest.json"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests in this folder talk to real servers."""
    for item in items:
        if "tests/integration/" in str(item.path):
            item.add_marker(pytest.mark.integration)


def started(store: Store) -> Iterator[Server]:
    server = Server(store)
    server.start()
    yield server
    server.service.stop()


@pytest.fixture(scope="session")
def whole_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(whole_cluster: Cluster) -> Iterator[Cluster]:
    """The session's one cluster, emptied; a test that kills a node restarts it."""
    whole_cluster.clean()
    yield whole_cluster
    for node in whole_cluster.nodes:
        if node.service.exit_code() is not None:
            node.start()


@pytest.fixture(params=["server", "cluster"])
def ledger_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One server, and then the node of a cluster that has shard 0, with the URL of the whole cluster."""
    if request.param == "server":
        yield from started(Store("ledger", tmp_path / "ledger", durable=True))
    else:
        yield request.getfixturevalue("cluster").home(0)


@pytest.fixture
def broker_server(tmp_path: Path) -> Iterator[Server]:
    yield from started(Store("broker", tmp_path / "broker", durable=False))


@pytest.fixture
def stores(ledger_server: Server) -> Iterator[Stores]:
    client = connect(ledger_server.url)
    yield open_stores(client, shards=1, lease=timedelta(seconds=0.3))
    client.close()


@pytest.fixture
def ledger(stores: Stores) -> Ledger:
    return stores.jobs


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service, as `make up` starts it, with real models."""
    if not COMPACT.exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    lines: list[str] = []
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models_dir()), "VULTUS_LEASE": "3"}
    with serving(
        tmp_path_factory.mktemp("stack"), settings, sink=lambda name, line: lines.append(f"{name} | {line}")
    ) as running:
        yield running
