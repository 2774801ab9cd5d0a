"""A disk that fills during a build ends it with one line that says what to do."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.containers.client import ContainersError
from tools.containers.daemon import Daemon, own_daemon
from tools.containers.images import build_image

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif("CONTAINERS_SUPERVISOR" not in os.environ, reason="needs the right to start a daemon"),
]

DISK = 64
"""MiB."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose disk is small."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "vultus-small", disk], check=True)
    try:
        with own_daemon(disk) as daemon:
            yield daemon
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_a_build(small: Daemon, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    with (context / "large").open("wb") as large:
        large.truncate((2 * DISK) << 20)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY large /\n", encoding="utf-8")
    with pytest.raises(ContainersError) as refused:
        build_image("vultus-full:local", small.environment, dockerfile=str(context / "Dockerfile"), folder=str(context))
    assert "no space left on device; free space, for example with `docker builder prune`" in str(refused.value)
    assert "\n" not in str(refused.value)
