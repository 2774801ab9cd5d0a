"""`make up` and `make demo` as a person runs them: ready, readable, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.photos import ASTRONAUT
from tools.setup import ROOT
from tools.stack import Stack, StackError, free_port, port_is_free

WITHOUT_MODELS = {"VULTUS_ENGINE": "fake"}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


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


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running `make up` of a copy that keeps its data elsewhere, and its address."""
    port = free_port()
    process = subprocess.Popen(
        up_from(tmp_path),
        cwd=ROOT,
        env=environment(PORT=str(port), WORKERS="2", **WITHOUT_MODELS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=2).json().get("workers") == 2:
                break
        except requests.RequestException:
            pass
        time.sleep(0.1)
    yield process, url
    process.kill()
    process.communicate(timeout=10)


def test_it_is_ready_says_so_and_a_signal_stops_all_of_it(up: tuple["subprocess.Popen[str]", str]) -> None:
    process, url = up
    assert requests.get(f"{url}/health", timeout=5).status_code == 200
    children = children_of(process.pid)
    assert len(children) >= 5
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "NO AUTHENTICATION" in output
    assert "stopped; nothing is left running" in output
    assert "Traceback" not in output
    assert all_gone(children)


def test_a_killed_supervisor_takes_everything_with_it(up: tuple["subprocess.Popen[str]", str]) -> None:
    process, _ = up
    children = children_of(process.pid)
    process.kill()
    assert all_gone(children)


def test_two_stacks_do_not_share_a_folder(tmp_path: Path) -> None:
    def stack() -> Stack:
        return Stack(data=tmp_path, port=free_port(), workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)

    with stack(), pytest.raises(StackError, match="another stack runs"):
        stack().__enter__()


def test_a_taken_port_is_named_with_a_free_one_to_try(tmp_path: Path) -> None:
    first = Stack(data=tmp_path / "1", port=free_port(), workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)
    with first:
        first.wait_gateway(20)
        second = Stack(data=tmp_path / "2", port=first.port, workers=0, settings=WITHOUT_MODELS, sink=lambda *_: None)
        assert not port_is_free(first.port)
        with pytest.raises(StackError, match=f"port {first.port} is taken"):
            second.__enter__()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"VULTUS_LEASE": "soon"}, "VULTUS_LEASE is wrong"),
        ({"VULTUS_WORKER_THREDS": "2"}, "did you mean VULTUS_WORKER_THREADS"),
        ({"WORKERS": "none"}, "WORKERS must be a whole number"),
        ({"VULTUS_LEDGER_URL": "redis://elsewhere/0"}, "brings its own stores"),
        ({"VULTUS_PACK": "no-such-pack"}, "no-such-pack"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line(tmp_path: Path, setting: dict[str, str], words: str) -> None:
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
    found = re.search(r"picture +(\S+)", output)
    assert found
    assert (ROOT / found[1]).stat().st_size > 10_000
    assert children
    assert all_gone(children)


def test_the_demo_says_what_is_wrong_with_a_photo(tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.jpg", tmp_path / "letter.jpg"
    text.write_text("Dear reader", encoding="utf-8")
    for path, words in ((missing, "there is no such file"), (text, "unsupported_image_type")):
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
