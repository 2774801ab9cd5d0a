"""The local stack on a misconfigured machine: each fault ends with one line that says what to do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.ports import free_port
from tools.setup import ROOT
from tools.stack import Stack, StackError, own_folder


def silent(_name: str, _line: str) -> None:
    pass


@pytest.mark.parametrize("place", [".", "ledger"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, place: str) -> None:
    data = tmp_path / "data"
    blocked = data / place
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("in the way")
    with pytest.raises(StackError, match="is a file but must be a folder"):
        Stack(data=data, port=free_port(), settings={"VULTUS_ENGINE": "fake"}, sink=silent)


@pytest.mark.parametrize("place", [".", "appendonlydir", "lock"])
def test_a_folder_of_another_user_is_named_with_its_owner(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ledger"
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "lock").touch()
    foreign, access = (folder / place).resolve(), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).resolve() != foreign and access(path, mode))
    with pytest.raises(StackError, match=f"is not writable by this user .it belongs to uid {os.getuid()}"):
        own_folder(folder)


def catches_interrupts(pid: int) -> bool:
    """Whether the process has its own handler for SIGINT."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught & 1 << (signal.SIGINT - 1))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux whether a process handles a signal")
@pytest.mark.parametrize("tool", ["up", "demo"])
@pytest.mark.parametrize("delay", [0, 0.1, 0.2, 0.4])
def test_an_early_interrupt_ends_with_one_line(tool: str, delay: float) -> None:
    environment = {**os.environ, "PORT": str(free_port()), "VULTUS_ENGINE": "fake"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.launch", tool],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # An interpreter that starts while SIGINT is ignored installs no handler: the first one is the launcher's.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 - allocates nothing
    )
    while not catches_interrupts(process.pid):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(delay)  # whatever state it has reached by then
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in output + errors
