"""One hostile image: its name, how to build it, and its allowed outcomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

TAKEN: Final = "taken"
"""The outcome of a file that is decoded to a picture."""
INVALID: Final = frozenset({"invalid_image"})
OTHER_KIND: Final = frozenset({"unsupported_image_type"})
TOO_WIDE: Final = frozenset({"image_dimensions_too_large"})
STILL: Final = frozenset({TAKEN})
EITHER: Final = frozenset({TAKEN, "invalid_image"})
"""Odd, but a viewer would show it: the decoder may decode or refuse it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case builds its file on demand: some have megabytes."""

    name: str
    make: Callable[[], bytes] = field(repr=False)
    outcomes: frozenset[str]
    """Error codes, or `taken`."""
