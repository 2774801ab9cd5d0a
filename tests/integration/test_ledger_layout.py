"""The ledger keeps its layout and accepts writes; a process that finds otherwise exits with one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError, UnavailableError
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger
from shared.ledger.layout import Layout
from tests.integration.conftest import started
from tests.integration.servers import Configured, Server
from tests.integration.test_ledger import accept
from tools.stack import Store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    yield from started(Store("ledger", tmp_path / "ledger", durable=True))


def settle(server: Server, shards: int) -> None:
    with closing(connect(server.url)) as client:
        Layout(client, shards=shards).settle()


def test_the_first_process_decides_and_others_must_agree(server: Server) -> None:
    settle(server, 4)
    with closing(connect(server.url)) as client:
        accept(Ledger(client, shards=4, lease=timedelta(seconds=10)))
    settle(server, 4)
    with pytest.raises(SettingsError, match="the ledger has data of 4 shards: set VULTUS_SHARDS=4"):
        settle(server, 2)


def test_an_empty_ledger_accepts_another_layout(server: Server) -> None:
    settle(server, 4)
    settle(server, 2)
    with closing(connect(server.url)) as client:
        Layout(client, shards=2).check()


def test_a_running_process_with_another_layout_is_not_ready(server: Server) -> None:
    with closing(connect(server.url)) as client:
        layout = Layout(client, shards=1)
        layout.check()
        settle(server, 3)
        with pytest.raises(UnavailableError, match="store_unavailable"):
            layout.check()


def started_with(module: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    return subprocess.run(
        [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("module", ["api.app", "worker.courier"])
def test_a_process_with_another_number_of_shards_exits_with_one_line(server: Server, module: str) -> None:
    settle(server, 4)
    with closing(connect(server.url)) as client:
        accept(Ledger(client, shards=4, lease=timedelta(seconds=10)))
    ended = started_with(module, VULTUS_LEDGER_URL=server.url.get_secret_value(), VULTUS_SHARDS="1", VULTUS_PORT="1024")
    assert ended.returncode == 2
    assert "set VULTUS_SHARDS=4 on every process" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", ["api.app", "worker.courier"])
def test_a_read_only_replica_is_reported_in_one_line(server: Server, tmp_path: Path, module: str) -> None:
    for replica in started(Store("replica", tmp_path / "replica", durable=True)):
        host, port = "127.0.0.1", server.url.get_secret_value().rpartition(":")[2].partition("/")[0]
        with closing(connect(replica.url)) as client:
            client.replicaof(host, int(port))
        ended = started_with(module, VULTUS_LEDGER_URL=replica.url.get_secret_value())
        assert ended.returncode == 2
        assert "VULTUS_LEDGER_URL names a read-only replica" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_ledger_behind_a_unix_socket_works(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sock"
    store = Configured("ledger", tmp_path / "ledger", durable=True, more=(f"unixsocket {path}",))
    address = SecretStr(f"unix://:{store.password}@{path}")
    with pytest.raises(UnavailableError), closing(connect(address)) as client:
        Layout(client, shards=1).settle()
    for _ in started(store):
        with closing(connect(address)) as client:
            Layout(client, shards=1).check()
            ledger = Ledger(client, shards=1, lease=timedelta(seconds=10))
            accept(ledger)
            assert ledger.claim("w") is not None
