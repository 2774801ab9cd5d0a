"""The code keeps its shape: layers, sizes, and a shared package that both sides really use."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.modules import imports

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
SOURCES = [ROOT / name for name in TRACKED if name.endswith(".py") and (ROOT / name).exists()]
PRODUCT = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"api", "worker", "shared", "tools"}]
STANDARD = sys.stdlib_module_names


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "lint-imports", "--config", "importlinter.toml", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_module_is_a_catch_all_or_hides_a_library() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    names = {path.stem for path in PRODUCT} - {"__init__"}
    assert not names & drawers
    assert not {name for name in names if name in STANDARD}


STORES = "shared.ledger."


@pytest.mark.parametrize("side", ["api", "worker"])
def test_every_shared_module_except_the_stores_is_used_by_both_sides(side: str) -> None:
    # The ledger has stores that only one side uses: Redis is touched nowhere else.
    every = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in PRODUCT
        if path.relative_to(ROOT).parts[0] == "shared" and path.stem != "__init__"
    }
    reached: set[str] = set()
    frontier = set().union(*(imports(path) for path in PRODUCT if path.relative_to(ROOT).parts[0] == side))
    while frontier:
        found = (frontier & every.keys()) - reached
        reached |= found
        frontier = set().union(*(imports(every[name]) for name in found)) if found else set()
    assert {name for name in every.keys() - reached if not name.startswith(STORES)} == set()


def test_no_weights_and_no_registry_hosts_are_committed() -> None:
    assert [name for name in TRACKED if name.endswith((".onnx", ".npz", ".pt", ".pth", ".whl", ".tgz"))] == []
    for lock in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock.name
