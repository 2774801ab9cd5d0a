"""A capped process gets an error where it asks for too much, and goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import numpy as np
from worker.images import decode
from worker.execution.memory import cap, require
from tests.corpus.pngs import png
from tests.pictures import encoded, one_face
bomb, picture = png(6324, 6324, depth=16, colour=6), encoded(one_face())
cap(400)
for size in (50, 5000):
    try:
        require(size * 1024 * 1024)
        print(size, "had")
    except MemoryError:
        print(size, "not had")
try:
    decode(bomb, max_pixels=40_000_000)
except MemoryError:
    print("the bomb is too much")
print(decode(picture, max_pixels=40_000_000).width)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anonymous maps as data")
def test_too_large_a_picture_is_a_memory_error_and_the_next_one_works() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["50 had", "5000 not had", "the bomb is too much", "320"], done.stderr
