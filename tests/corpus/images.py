"""The corpus of hostile images: made anew each time, the same each time."""

from collections.abc import Iterator

from tests.corpus import damage, jpegs, others, pngs
from tests.corpus.cases import Case


def crafted() -> Iterator[Case]:
    """Each with an idea behind it."""
    yield Case("empty", lambda: b"", frozenset({"empty_image"}))
    yield from pngs.cases()
    yield from jpegs.cases()
    yield from others.cases()


def corpus(*, changes: int, seed: int = 1) -> Iterator[Case]:
    """All of it, with so many pictures that were damaged by chance."""
    yield from crafted()
    yield from damage.cuts()
    yield from damage.changes(count=changes, seed=seed)
