"""Which tool installs the development environment."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import setup

LOCK = """numpy==2.4.6 \\
    --hash=sha256:aa
uv==0.13.9 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
zipp==3.0 \\
    --hash=sha256:dd
"""


class Tools:
    """Stands in for `subprocess.run`: pip's configuration, and the exit status of each tool."""

    def __init__(self) -> None:
        self.configuration = "global.cert='/etc/certificates.pem'"
        self.status = {"pip": 0, "uv": 0}
        self.used: list[str] = []
        self.files: list[str] = []

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        """Note the tool and the file that it installs."""
        if "config" in command:
            return subprocess.CompletedProcess(command, 0, stdout=self.configuration)
        assert "--require-hashes" in command
        self.used.append(command[2])
        self.files.append(Path(command[command.index("-r") + 1]).read_text(encoding="utf-8"))
        return subprocess.CompletedProcess(command, self.status[command[2]])


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools()
    monkeypatch.setattr("tools.setup.subprocess.run", tools.run)
    return tools


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    lock = tmp_path / "dev.txt"
    lock.write_text(LOCK, encoding="utf-8")
    return lock


def test_uv_is_installed_by_its_hashes_and_installs_the_rest(tools: Tools, lock: Path) -> None:
    assert setup._install_with_uv(lock)
    assert tools.used == ["pip", "uv"]
    assert tools.files == ["uv==0.13.9 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n", LOCK]


@pytest.mark.parametrize(
    "configuration",
    [
        "global.index-url='https://packages.example/simple'",
        ":env:.index-url='https://packages.example/simple'",
        "global.no-index='true'",
        "install.proxy='http://proxy.example:3128'",
    ],
)
def test_an_index_or_proxy_that_only_pip_knows_is_left_to_pip(tools: Tools, lock: Path, configuration: str) -> None:
    tools.configuration = configuration
    assert not setup._install_with_uv(lock)
    assert tools.used == []


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_failure_leaves_the_installation_to_pip(tools: Tools, lock: Path, tool: str) -> None:
    tools.status[tool] = 2
    assert not setup._install_with_uv(lock)


def test_a_lock_file_without_uv_is_left_to_pip(tools: Tools, lock: Path) -> None:
    lock.write_text(LOCK.replace("uv==", "uvx=="), encoding="utf-8")
    assert not setup._install_with_uv(lock)
    assert tools.used == []


def test_the_lock_of_the_development_environment_contains_uv() -> None:
    text = (setup.ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    found = setup.LOCKED_UV.search(text)
    assert found is not None
    assert found[0].count("--hash=sha256:") > 1
    assert found[0].count("==") == 1
