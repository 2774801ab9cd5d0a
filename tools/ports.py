"""Ports for servers on this machine that nothing else takes between being chosen and being bound."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

LOOPBACK: Final = "127.0.0.1"
LOWEST: Final = 10_000
"""Well-known servers have their ports below."""
HIGHEST: Final = 32_767
EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
FEWEST: Final = 1_000
"""With fewer ports to choose from, they would be handed out again too soon."""


def free_port() -> int:
    """A port that is free now, and stays so until a server of the caller binds it.

    The kernel gives outgoing connections and servers that bind port 0 a port of its ephemeral range, so a port of that
    range may be taken before a server binds it. This one lies outside. All processes of this user count through the
    same ports, so that two of them do not choose the same one.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> range:
    """Return this many consecutive ports, each as `free_port` returns it.

    Raises:
        OSError: no port is free.
    """
    ports = candidates()
    with _turn() as counter:
        last = counter.read()
        place = int(last) if last.isdigit() else random.randrange(len(ports))  # noqa: S311 - no secret
        for _ in ports:
            place = place + 1 if place + 1 + count <= len(ports) else 0
            chosen = ports[place : place + count]
            if all(port_is_free(port) for port in chosen):
                counter.seek(0)
                counter.truncate()
                counter.write(str(place + count - 1))
                return chosen
    msg = f"{count} free ports in a row were not found from {ports[0]} to {ports[-1]}"
    raise OSError(msg)


def port_is_free(port: int) -> bool:
    """True if a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def candidates(ephemeral: Path = EPHEMERAL) -> range:
    """The ports to choose from: as many as possible below the ephemeral range, else all of them."""
    try:
        first = int(ephemeral.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        first = HIGHEST + 1
    below = range(LOWEST, min(first, HIGHEST + 1))
    return below if len(below) >= FEWEST else range(LOWEST, HIGHEST + 1)


@contextmanager
def _turn() -> Iterator[IO[str]]:
    """The file that holds the last place, while no other process of this user reads or writes it."""
    path = Path(tempfile.gettempdir()) / f"vultus-ports-{os.getuid()}"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="ascii") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        yield counter
