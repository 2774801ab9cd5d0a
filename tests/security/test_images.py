"""Every image of the corpus is decoded, or refused with a code, in bounded memory and time."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.corpus.images import corpus, crafted
from tests.security.isolated import MAX_PIXELS
from tools.setup import ROOT

CHANGES: Final = 300
SEED: Final = 1
MOST_BYTES: Final = 18 * MAX_PIXELS
"""Memory for one file: 16 bits and alpha are 8 bytes a pixel, and twice that during the conversion to 3."""
MOST_SECONDS: Final = 60
"""CPU time for one file: about 20 times the measured worst case, for slow and busy machines."""


@pytest.fixture(scope="module")
def measured() -> Mapping[str, dict[str, Any]]:
    """The outcome of each case by name; the process that reads them must exit normally."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.isolated", str(CHANGES), str(SEED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{done.returncode} at {lines[-1]}: {done.stderr[-2000:]}"
    return {line["name"]: line for line in lines if "name" in line}


def test_every_file_is_decoded_or_refused_with_a_matching_code(
    measured: Mapping[str, dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", len(measured))
    assert [line for line in measured.values() if not line["right"]] == []
    assert len(measured) == sum(1 for _ in corpus(changes=CHANGES, seed=SEED))


def test_no_file_costs_more_than_its_bound(measured: Mapping[str, dict[str, Any]]) -> None:
    assert [line for line in measured.values() if line["bytes"] > MOST_BYTES or line["seconds"] > MOST_SECONDS] == []


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_text_chunks_that_unpack_to_gigabytes_are_never_unpacked(
    measured: Mapping[str, dict[str, Any]], kind: str
) -> None:
    assert measured[f"png: texts of 3 GB ({kind})"]["bytes"] < 64 * 1024 * 1024


def test_the_corpus_is_the_same_each_time() -> None:
    small = [
        case for case in crafted() if not case.name.startswith(("png: 40", "png: the same", "png: 200", "webp: 40"))
    ]
    assert [case.make() for case in small] == [case.make() for case in small]
