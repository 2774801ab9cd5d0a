"""`make containers` says what to do about a failed build, detects traces of a run and removes its control groups."""

from pathlib import Path

import pytest

from tools.containers import client, daemon
from tools.containers.client import ContainersError, docker
from tools.containers.traces import of_the_host


def host(folder: Path, *, mounts: str = "", processes: dict[str, bytes] | None = None) -> Path:
    (folder / "self").mkdir(parents=True)
    (folder / "self" / "mounts").write_text(mounts, encoding="utf-8")
    for number, command in (processes or {}).items():
        (folder / number).mkdir()
        (folder / number / "cmdline").write_bytes(command)
    return folder


def test_clean_machine_has_no_traces(tmp_path: Path) -> None:
    processes = host(tmp_path / "proc", mounts="/dev/vda / ext4 rw 0 0\n", processes={"1": b"init\0"})
    assert of_the_host(tmp_path / "data", cgroups=tmp_path / "cgroups", processes=processes) == set()


def test_mounts_processes_and_control_groups_are_traces(tmp_path: Path) -> None:
    data = tmp_path / "the data"
    mount = str(data / "data" / "overlay2").replace(" ", "\\040")
    processes = host(
        tmp_path / "proc",
        mounts=f"overlay {mount} overlay rw 0 0\n",
        processes={"7": f"dockerd\0--data-root\0{data}/data\0".encode(), "8": b"bash\0"},
    )
    group = tmp_path / "cgroups" / "memory" / "vultus-containers-7"
    group.mkdir(parents=True)
    assert of_the_host(data, cgroups=tmp_path / "cgroups", processes=processes) == {
        f"mount {data}/data/overlay2",
        "process 7 dockerd",
        f"control group {group}",
    }


def test_only_the_control_groups_of_the_daemon_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "CGROUPS", tmp_path)
    (tmp_path / "memory" / "ours" / "container").mkdir(parents=True)
    (tmp_path / "memory" / "theirs" / "container").mkdir(parents=True)
    daemon.remove_cgroups("ours")
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["theirs"]


FULL = "ERROR: write /var/lib/x: no space left on device"
OLD = "the --mount option requires BuildKit"
NO_BUILDX = "ERROR: BuildKit is enabled but the buildx component is missing or broken"


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            f"#9 RUN pip install\n#9 {FULL}\n------\nERROR: failed to solve",
            f"#9 {FULL}; free space, for example with `docker builder prune`, and try again",
        ),
        (f"Sending build context\n{OLD}.", f"{OLD}; unset DOCKER_BUILDKIT, and install docker-buildx"),
        (f"{NO_BUILDX}.\n   Install the buildx component", f"{NO_BUILDX}; install docker-buildx"),
        ("one\n\ntwo", "one / two"),
    ],
)
def test_failed_build_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, reason: str
) -> None:
    failing = tmp_path / "docker"
    failing.write_text('#!/bin/sh\nprintf %s "$PRINTED" >&2\nexit 1\n', encoding="utf-8")
    failing.chmod(0o755)
    monkeypatch.setattr(client, "DOCKER", str(failing))
    with pytest.raises(ContainersError) as caught:
        docker("build", environment={"PRINTED": printed})
    assert str(caught.value) == f"docker build failed: {reason}"
