"""How many jobs a worker runs at once follows from what it may use, not from what the host has."""

import os
from pathlib import Path

import pytest

from worker.execution.threads import job_threads, usable_cores

V1_LINES = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.fixture
def on_64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))


def system(root: Path, *, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


@pytest.mark.usefixtures("on_64_cores")
@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 64),
        ("0::/host/only/path\n", {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        (
            "0::/slice/unit\n",
            {"sys/fs/cgroup/slice/cpu.max": "400000 100000\n", "sys/fs/cgroup/slice/unit/cpu.max": "max 100000\n"},
            4,
        ),
        (
            V1_LINES,
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        (
            V1_LINES,
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            64,
        ),
        ("", {}, 64),
    ],
    ids=[
        "two cores", "one and a half", "a tenth", "no quota", "more than the host has", "path of the host",
        "quota of a parent", "version 1", "version 1 without quota", "no control groups",
    ],
)  # fmt: skip
def test_a_container_gets_the_cores_of_its_quota(
    tmp_path: Path, groups: str, files: dict[str, str], cores: int
) -> None:
    assert usable_cores(root=system(tmp_path, groups=groups, files=files)) == cores


def test_a_process_bound_to_fewer_cores_uses_those() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("asked", "provider", "threads"),
    [(0, "cpu", 3), (0, "openvino", 3), (0, "auto", 3), (0, "cuda", 8), (0, "tensorrt", 8), (5, "cuda", 5)],
)
def test_the_default_thread_count_depends_on_the_provider(asked: int, provider: str, threads: int) -> None:
    assert job_threads(asked, provider=provider, cores=lambda: 3) == threads
