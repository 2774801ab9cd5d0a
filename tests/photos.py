"""Photos from installed packages, and the folder of labelled pictures if it is present."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools.setup import ROOT


def _inside(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))).joinpath(*parts)


SIX_FACES = _inside("insightface", "data", "images", "t1.jpg")
ASTRONAUT = _inside("skimage", "data", "astronaut.png")
NO_FACE = _inside("skimage", "data", "brick.png")
LABELLED = Path(os.environ.get("VULTUS_TEST_DATA", ROOT.parent / "shared" / "data"))


def labelled(name: str) -> Path:
    """A file of the labelled pictures; skips the test if they are not present."""
    path = LABELLED / name
    if not path.exists():
        pytest.skip(f"the labelled pictures are not at {LABELLED}; set VULTUS_TEST_DATA to their folder")
    return path
