"""A chosen port is still free when its server binds it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.ports import FEWEST, HIGHEST, LOWEST, candidates, free_port, free_ports, port_is_free


def test_ports_are_outside_the_ephemeral_range(tmp_path: Path) -> None:
    ephemeral = tmp_path / "range"
    ephemeral.write_text("20000\t60999\n", encoding="ascii")
    assert candidates(ephemeral) == range(LOWEST, 20_000)


def test_ports_are_available_for_any_ephemeral_range(tmp_path: Path) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n", encoding="ascii")
    for ephemeral in (everything, tmp_path / "absent"):
        assert candidates(ephemeral) == range(LOWEST, HIGHEST + 1)
        assert len(candidates(ephemeral)) > FEWEST


def test_chosen_port_can_be_bound() -> None:
    port = free_port()
    assert port in candidates()
    assert port_is_free(port)


def test_several_ports_are_not_returned_again() -> None:
    ports = free_ports(3)
    assert len(ports) == 3
    assert free_port() not in ports


def test_processes_choose_different_ports() -> None:
    program = "from tools.ports import free_port; print(*(free_port() for _ in range(50)))"

    def choose(_: int) -> list[str]:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()

    with ThreadPoolExecutor(4) as threads:
        chosen = [port for ports in threads.map(choose, range(4)) for port in ports]
    assert len(set(chosen)) == 200
