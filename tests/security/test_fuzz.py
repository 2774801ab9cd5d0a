"""A short, seeded fuzzer run on every reader of untrusted bytes; `make fuzz` runs longer."""

from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.runs import fuzz
from tests.fuzz.targets import TARGETS

INPUTS: Final = 4000


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_breaks_a_promise(name: str, tmp_path: Path) -> None:
    run = fuzz(name, limit=f"runs={INPUTS}", seed=1, folder=tmp_path)
    assert run.clean, (run.output, run.found)
    assert run.inputs >= INPUTS
