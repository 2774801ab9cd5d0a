"""Every way in which a ledger refuses ends the start with one line that says what to do."""

import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError
from shared.ledger.connection import connect, verify_durability
from tests.integration.servers import Configured, Server
from tools.receiver import LOOPBACK

DENIED = (
    b"-DENIED Valkey is running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface.\r\n"
)


def test_a_read_only_replica_is_refused(tmp_path: Path, ledger_server: Server) -> None:
    primary = ledger_server.store
    more = [f"replicaof {LOOPBACK} {primary.port}", f"masterauth {primary.password}"]
    replica = Server(Configured("replica", tmp_path / "replica", durable=True, more=more))
    replica.start()
    try:
        with connect(replica.url) as client, pytest.raises(SettingsError, match="names a read-only replica"):
            verify_durability(client, "always")
    finally:
        replica.service.stop()


def test_a_wrong_password_is_refused(ledger_server: Server) -> None:
    url = SecretStr(ledger_server.store.url.replace(ledger_server.store.password, "wrong"))
    with connect(url) as client, pytest.raises(SettingsError, match="refuses the user or the password"):
        verify_durability(client, "always")


def test_a_missing_password_is_refused(ledger_server: Server) -> None:
    url = SecretStr(f"redis://{LOOPBACK}:{ledger_server.store.port}/0")
    with connect(url) as client, pytest.raises(SettingsError, match="refuses the user or the password"):
        verify_durability(client, "always")


def test_another_eviction_policy_is_refused(tmp_path: Path) -> None:
    more = ["maxmemory-policy allkeys-lru"]
    server = Server(Configured("evicting", tmp_path / "evicting", durable=True, more=more))
    server.start()
    try:
        with connect(server.url) as client, pytest.raises(SettingsError, match="maxmemory-policy is allkeys-lru"):
            verify_durability(client, "always")
    finally:
        server.service.stop()


def test_protected_mode_is_named_in_one_line() -> None:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        threading.Thread(target=deny, args=(server,), daemon=True).start()
        url = SecretStr(f"redis://{LOOPBACK}:{server.getsockname()[1]}/0")
        with connect(url) as client, pytest.raises(SettingsError, match="runs in protected mode") as caught:
            verify_durability(client, "always")
        assert "\n" not in str(caught.value)
        assert "only accepted from" not in str(caught.value)


def deny(server: socket.socket) -> None:
    """Answer as a server in protected mode does, until the socket is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(DENIED)
