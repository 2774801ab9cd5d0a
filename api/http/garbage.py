"""Keep Python's cyclic garbage collector from searching the whole process again and again."""

import gc
from typing import Final

YOUNG: Final = 7000
"""New objects after which young objects are searched, ten times Python's default. A request creates some hundred, and
leaves no cycle that holds its body (docs/decisions/0081)."""


def collect_rarely() -> None:
    """Exempt everything that exists from collection, and collect newer objects less often. Call once after start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
