"""A forked service starts like one with an interpreter of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.forking.client import SKEWED, Forked, ForkServer, Launcher
from tools.setup import ROOT

STANDARD = [0, 1, 2, 3]
"""Input, output, errors, and the folder that lists them."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer("worker")
    yield server
    server.stop()


def launched(server: ForkServer, *arguments: str) -> Forked:
    command = [sys.executable, "-m", "tests.forking.echo", *arguments]
    return server.fork(command, {"ONLY": "this"})


def said(process: Forked) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def closed(process: Forked) -> None:
    assert process.stdout is not None
    process.stdout.close()


def test_a_forked_service_starts_as_a_module_of_its_own_would(server: ForkServer) -> None:
    process = launched(server, "0", "--option")
    started = said(process)
    assert process.wait(20) == 0
    closed(process)
    assert started["name"] == "__main__"
    assert started["arguments"] == ["0", "--option"]
    assert started["variables"] == ["ONLY"]
    assert started["leads_session"]
    assert started["descriptors"] == STANDARD
    assert started["libraries"] == ["celery", "cv2"]
    assert started["clocks_off"] == [0, 0]


def test_the_clock_of_a_service_can_be_shifted_even_where_a_library_kept_it(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("3600")
    server = ForkServer("worker", skewed=True)
    command = [sys.executable, "-m", SKEWED, "tests.forking.echo", "0"]
    process = server.fork(command, {"CHAOS_CLOCK": str(tmp_path / "clock")})
    assert said(process)["clocks_off"] == [3600, 3600]
    assert process.wait(20) == 0
    closed(process)
    server.stop()


def test_two_forked_services_draw_different_random_numbers(server: ForkServer) -> None:
    processes = [launched(server, "0") for _ in range(2)]
    first, second = (said(process)["random"] for process in processes)
    for process in processes:
        process.wait(20)
        closed(process)
    assert first != second


@pytest.mark.parametrize("status", [0, 2, 70])
def test_the_exit_status_is_reported(server: ForkServer, status: int) -> None:
    process = launched(server, str(status))
    assert process.wait(20) == process.poll() == status
    closed(process)


def test_a_running_service_has_no_exit_status_until_a_signal_ends_it(server: ForkServer) -> None:
    process = launched(server, "wait")
    said(process)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    closed(process)


def test_forked_services_end_with_their_server() -> None:
    server = ForkServer("courier")
    process = launched(server, "wait")
    said(process)
    server.stop()
    assert process.wait(20) == -signal.SIGKILL
    closed(process)


@pytest.mark.parametrize("command", [["true"], [sys.executable, "-m", "tests.forking.echo", "0"]])
def test_other_commands_start_a_process_of_their_own(command: list[str]) -> None:
    process = Launcher().launch(command, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    assert isinstance(process, subprocess.Popen)
    assert process.wait(20) == 0
