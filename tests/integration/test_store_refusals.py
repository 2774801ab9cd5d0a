"""Each way in which a store refuses ends the start with one line that says what to do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.backend.backend import verify_ledger
from api.settings.api import ApiSettings
from shared.errors import SettingsError, UnavailableError
from shared.ledger.connection import connect, verify_broker, verify_durability
from shared.ledger.layout import Layout
from tests.integration.servers import Configured, Server
from tools.ports import LOOPBACK, free_port

DENIED = (
    b"-DENIED Valkey is running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface.\r\n"
)

LOAD_DELAY = 500
"""Microseconds for each of the `FILLERS`: the server loads for half a minute, and answers twice a second meanwhile."""
FILLERS = 60_000


@contextmanager
def started(name: str, folder: Path, *more: str) -> Iterator[Server]:
    """A server of its own with these lines in its configuration."""
    server = Server(Configured(name, folder / name, durable=True, more=more))
    server.start()
    try:
        yield server
    finally:
        server.service.stop()


def test_a_read_only_replica_is_refused(tmp_path: Path, ledger_server: Server) -> None:
    primary = ledger_server.store
    more = (f"replicaof {LOOPBACK} {primary.port}", f"masterauth {primary.password}")
    with started("replica", tmp_path, *more) as replica:
        with connect(replica.url) as client, pytest.raises(SettingsError, match="names a read-only replica"):
            verify_durability(client, "always")
        with pytest.raises(SettingsError, match="VULTUS_BROKER_URL names a read-only replica"):
            verify_broker(replica.url)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_refused(ledger_server: Server, password: str) -> None:
    given = f":{password}@" if password else ""
    url = SecretStr(f"redis://{given}{LOOPBACK}:{ledger_server.store.port}/0")
    with connect(url) as client, pytest.raises(SettingsError, match="The ledger refuses the user or the password"):
        verify_durability(client, "always")
    with pytest.raises(SettingsError, match="The broker refuses the user or the password in VULTUS_BROKER_URL"):
        verify_broker(url)


def test_another_eviction_policy_is_refused(tmp_path: Path) -> None:
    with (
        started("evicting", tmp_path, "maxmemory-policy allkeys-lru") as server,
        connect(server.url) as client,
        pytest.raises(SettingsError, match="maxmemory-policy is allkeys-lru"),
    ):
        verify_durability(client, "always")


def test_a_ledger_that_loads_says_so(tmp_path: Path) -> None:
    slowly = ("enable-debug-command yes", f"key-load-delay {LOAD_DELAY}")
    with started("loading", tmp_path, *slowly) as server:
        with connect(server.url) as client, client.pipeline(transaction=False) as filler:
            for number in range(FILLERS):
                filler.set(f"filler-{number}", "x")
            filler.execute()
        server.kill()
        server.service.start()
        settings = ApiSettings(ledger_url=server.url)
        with pytest.raises(SettingsError, match="is still loading its data after"):
            verify_ledger(settings, patience=timedelta(seconds=2))
        with connect(server.url) as client, pytest.raises(UnavailableError, match="is loading its data"):
            Layout(client, shards=1).settle()
        server.kill()


def test_protected_mode_is_named_in_one_line() -> None:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        threading.Thread(target=deny, args=(server,), daemon=True).start()
        url = SecretStr(f"redis://{LOOPBACK}:{server.getsockname()[1]}/0")
        with connect(url) as client, pytest.raises(SettingsError, match="ledger runs in protected mode") as caught:
            verify_durability(client, "always")
        assert "\n" not in str(caught.value)
        assert "only accepted from" not in str(caught.value)
        with pytest.raises(SettingsError, match="broker runs in protected mode"):
            verify_broker(url)


def test_a_broker_that_is_away_is_no_reason_to_refuse() -> None:
    verify_broker(SecretStr(f"redis://{LOOPBACK}:{free_port()}/0"))


def deny(server: socket.socket) -> None:
    """Answer as such a server does, until the socket is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(DENIED)
