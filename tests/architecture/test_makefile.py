"""The Makefile passes the caller's names on unchanged, whatever characters they contain."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("models_dir", "expected"),
    [("/srv/my models", "/srv/my models"), ("my models", f"{ROOT}/my models"), ("models", f"{ROOT}/models")],
)
def test_the_path_of_a_models_folder_may_contain_spaces(tmp_path: Path, models_dir: str, expected: str) -> None:
    probe = tmp_path / "probe.mk"
    probe.write_text('probe:\n\t@printf %s "$$VULTUS_MODELS_DIR"\n')
    environment = {**os.environ, "VULTUS_MODELS_DIR": models_dir}
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", str(probe), "probe"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == expected


def test_a_pack_is_passed_as_one_word() -> None:
    command = ["make", "--no-print-directory", "-n", "models", "PACK=own packs/mine.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert 'install "own packs/mine.json"' in done.stdout


def test_every_test_file_belongs_to_a_suite() -> None:
    suites = re.findall(r"^(?:QUICK|REAL) := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    paths = [ROOT / path for suite in suites for path in suite.split()]
    outside = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if not any(file == path or path in file.parents for path in paths)
    ]
    assert outside == []
