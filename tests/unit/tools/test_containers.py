"""`make containers` detects traces of a run and removes its control groups."""

from pathlib import Path

import pytest

from tools.containers import daemon
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
