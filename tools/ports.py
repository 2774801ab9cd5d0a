"""Choose ports for local servers that nothing else takes before they are bound."""

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
"""Below are the ports of well-known servers."""
HIGHEST: Final = 32_767
EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
FEWEST: Final = 1_000
"""With fewer candidates, ports would be reused too soon."""


def free_port() -> int:
    """Return a port that is free now and stays free until the caller's server binds it.

    The kernel assigns ports of its ephemeral range to outgoing connections and to servers that bind port 0, so such a
    port may be taken before the server binds it. This port is outside that range. All processes of this user share one
    counter, so that no two of them choose the same port.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> range:
    """Return `count` consecutive ports, each like that of `free_port`.

    Raises:
        OSError: there are not enough.
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
    msg = f"no {count} consecutive free ports from {ports[0]} to {ports[-1]}"
    raise OSError(msg)


def port_is_free(port: int) -> bool:
    """Return whether a server can listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def candidates(ephemeral: Path = EPHEMERAL) -> range:
    """Return the candidates: those below the ephemeral range, or all if these are too few."""
    try:
        first = int(ephemeral.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        first = HIGHEST + 1
    below = range(LOWEST, min(first, HIGHEST + 1))
    return below if len(below) >= FEWEST else range(LOWEST, HIGHEST + 1)


@contextmanager
def _turn() -> Iterator[IO[str]]:
    """Open the file with the last position, locked against the other processes of this user."""
    path = Path(tempfile.gettempdir()) / f"vultus-ports-{os.getuid()}"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="ascii") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        yield counter
