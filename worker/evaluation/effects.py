"""The table of measured effects: how damage, quality gates and rules change decisions on labelled pictures."""

from collections.abc import Callable, Iterator
from typing import Final

from worker.evaluation.effects_damage import damage
from worker.evaluation.effects_framing import orientation, selection
from worker.evaluation.effects_laboratory import Laboratory
from worker.evaluation.effects_registration import registration

Section = Callable[[Laboratory], Iterator[str]]
SECTIONS: Final[tuple[Section, ...]] = (damage, registration, selection, orientation)
"""The sections of the table, in order."""


def effects(laboratory: Laboratory, sections: tuple[Section, ...] = SECTIONS) -> Iterator[str]:
    """Yield the lines of the table, with an empty line before each section."""
    for section in sections:
        yield ""
        yield from section(laboratory)
