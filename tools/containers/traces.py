"""What a run must not leave behind: containers, networks, volumes, mounts, processes, control groups."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.containers.client import docker
from tools.containers.daemon import CGROUPS

LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "container": ("ps", "--all", "--quiet", "--no-trunc"),
    "network": ("network", "ls", "--format", "{{.Name}}"),  # a restarted daemon gives its own new ids
    "volume": ("volume", "ls", "--quiet"),
}
"""How the daemon lists each kind."""


def objects(environment: Mapping[str, str]) -> set[str]:
    """Return every container, network and volume of the daemon."""
    return {
        f"{kind} {name}"
        for kind, words in LISTS.items()
        for name in docker(*words, environment=environment).splitlines()
    }


def of_the_host(data: Path, *, cgroups: Path = CGROUPS, processes: Path = Path("/proc")) -> set[str]:
    """Return every mount and process of this machine that names the folder, and the control groups of our daemons."""
    found = {f"mount {point}" for point in _mounts(processes / "self" / "mounts") if Path(point).is_relative_to(data)}
    for command in processes.glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if any(str(data) in word for word in words):
            found.add(f"process {command.parent.name} {words[0]}")
    groups = [*cgroups.glob("vultus-containers-*"), *cgroups.glob("*/vultus-containers-*")]
    return found | {f"control group {group}" for group in groups}


def _mounts(table: Path) -> list[str]:
    return [line.split()[1].replace("\\040", " ") for line in table.read_text(encoding="utf-8").splitlines()]
