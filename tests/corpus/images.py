"""The corpus of hostile images, generated each time and always the same."""

from collections.abc import Iterator

from tests.corpus import damage, jpegs, others, pngs
from tests.corpus.cases import Case


def crafted() -> Iterator[Case]:
    """Handmade cases, each with an idea behind it."""
    yield Case("empty", lambda: b"", frozenset({"empty_image"}))
    yield from pngs.cases()
    yield from jpegs.cases()
    yield from others.cases()


def corpus(*, changes: int, seed: int = 1) -> Iterator[Case]:
    """The whole corpus, with this many randomly damaged pictures."""
    yield from crafted()
    yield from damage.cuts()
    yield from damage.changes(count=changes, seed=seed)
