"""`make up` and `make demo` as a person runs them: ready, readable, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.photos import ASTRONAUT
from tests.proxies import DEAD_PROXIES
from tools.ports import free_port, port_is_free
from tools.setup import ROOT
from tools.stack import Stack, StackError

WITHOUT_MODELS = {"VULTUS_ENGINE": "fake"}


def environment(**more: str) -> dict[str, str]:
    """Our environment as behind a company's proxy: nothing on this machine may be reached through it."""
    return {**os.environ, **DEAD_PROXIES, **more}


def up_from(folder: Path) -> list[str]:
    """The command of `make up`, with its data in another folder."""
    code = f"import pathlib, tools.up; tools.up.ROOT = pathlib.Path({str(folder)!r}); raise SystemExit(tools.up.main())"
    return [sys.executable, "-c", code]


def children_of(pid: int) -> set[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return {int(child) for child in found.stdout.split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except FileNotFoundError:
        return False


def all_gone(pids: set[int], *, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


@dataclass(frozen=True, slots=True)
class Up:
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """A running `make up` of a copy with its own data folder, once it has reported ready."""
    port, log = free_port(), tmp_path / "said"
    with log.open("w") as output:
        process = subprocess.Popen(
            up_from(tmp_path / "data"),
            cwd=ROOT,
            env=environment(PORT=str(port), WORKERS="2", **WITHOUT_MODELS),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Up(process, f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + 60
    while "Ctrl-C" not in running.output() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    yield running
    process.kill()
    process.wait(timeout=10)


def test_it_reports_ready_and_a_signal_stops_all_of_it(up: Up) -> None:
    health = requests.get(f"{up.url}/health", timeout=5)
    assert health.status_code == 200
    assert health.json()["workers"] == 2
    children = children_of(up.process.pid)
    assert len(children) >= 5
    up.process.send_signal(signal.SIGTERM)
    code = up.process.wait(timeout=30)
    output = up.output()
    assert code == 0, output
    assert "NO AUTHENTICATION" in output
    assert "stopped; no process is left running" in output
    assert "Traceback" not in output
    assert all_gone(children)


def test_a_killed_supervisor_takes_everything_with_it(up: Up) -> None:
    children = children_of(up.process.pid)
    assert len(children) >= 5
    up.process.kill()
    assert all_gone(children)


def test_two_stacks_cannot_share_a_folder(tmp_path: Path) -> None:
    def stack() -> Stack:
        return Stack(data=tmp_path, port=free_port(), workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)

    with stack(), pytest.raises(StackError, match="another stack is using"):
        stack().__enter__()


def test_a_taken_port_is_named_with_a_free_one_to_try(tmp_path: Path) -> None:
    first = Stack(data=tmp_path / "1", port=free_port(), workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)
    with first:
        first.wait_gateway(20)
        second = Stack(data=tmp_path / "2", port=first.port, workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)
        assert not port_is_free(first.port)
        with pytest.raises(StackError, match=f"port {first.port} is already in use"):
            second.__enter__()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"VULTUS_LEASE": "soon"}, "VULTUS_LEASE is wrong"),
        ({"VULTUS_WORKER_THREDS": "2"}, "did you mean VULTUS_WORKER_THREADS"),
        ({"WORKERS": "none"}, "WORKERS must be a positive integer"),
        ({"VULTUS_LEDGER_URL": "redis://elsewhere/0"}, "starts its own stores"),
        ({"VULTUS_PACK": "no-such-pack"}, "no-such-pack"),
    ],
)
def test_an_invalid_setting_ends_the_start_with_one_line(tmp_path: Path, setting: dict[str, str], words: str) -> None:
    done = subprocess.run(
        up_from(tmp_path),
        cwd=ROOT,
        env=environment(PORT=str(free_port()), **setting),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_the_demo_shows_a_face_and_leaves_no_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env=environment(IMAGE=str(ASTRONAUT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        children: set[int] = set()
        while demo.poll() is None:
            children |= children_of(demo.pid)
            time.sleep(0.05)
        output = demo.stdout.read() if demo.stdout else ""
    assert demo.returncode == 0, output
    assert "1 face in 512x512 pixels" in output
    assert "succeeded" in output
    assert "signature valid" in output
    found = re.search(r"picture +(\S+)", output)
    assert found
    assert (ROOT / found[1]).stat().st_size > 10_000
    assert children
    assert all_gone(children)


def test_the_demo_reports_what_is_wrong_with_a_photo(tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.jpg", tmp_path / "letter.jpg"
    text.write_text("Dear reader", encoding="utf-8")
    for path, words in ((missing, "file not found"), (text, "unsupported_image_type")):
        done = subprocess.run(
            [sys.executable, "-m", "tools.demo"],
            cwd=ROOT,
            env=environment(IMAGE=str(path)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
