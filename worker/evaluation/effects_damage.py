"""Measure how damage affects verification: strangers that match, and pairs of one person that do not."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from shared.faces import Embedding
from worker.engine.degradations import DEGRADATIONS, KINDS, Kind, degraded
from worker.evaluation.effects_laboratory import Laboratory, Row, Sample, percent, similarities, whole

HEADINGS: Final = (
    f"{'both pictures':<48}{'faces':>8}{'strangers that match':>26}{'pairs of one person':>26}",
    f"{'':<48}{'found':>8}{'before':>14}{'after':>12}{'match':>12}{'inconclusive':>14}",
)
LEGEND: Final = (
    "Before: share of the pairs of different people above the threshold. After: share that still matches if pairs with",
    "an unrecognizable face are inconclusive. Pairs of one person: share that matches after, and share that is",
    "inconclusive.",
)


def damage(laboratory: Laboratory) -> Iterator[str]:
    """Yield one row for each kind of damage, applied to both pictures of a pair."""
    match = laboratory.engine.info.thresholds.match
    strangers, pairs = (int(np.triu(each).sum()) for each in (laboratory.people.different, laboratory.people.same))
    yield (
        f"VERIFICATION of damaged pictures at {match:g}: {len(laboratory.samples)} pictures, {strangers} pairs of "
        f"different people, {pairs} of one person"
    )
    yield ""
    yield from HEADINGS
    kinds: tuple[Kind | None, ...] = (None, *KINDS)
    for kind in kinds:
        row = laboratory.each(partial(_embedding, laboratory, kind), laboratory.samples)
        yield _line("undamaged" if kind is None else DEGRADATIONS[kind].description, row, laboratory, match=match)
    yield ""
    yield from LEGEND


def _embedding(laboratory: Laboratory, kind: Kind | None, sample: Sample) -> Embedding | None:
    image = sample.copy if kind is None else degraded(sample.copy, sample.face, kind)
    return laboratory.embedding(whole(image))


def _line(name: str, row: Row, laboratory: Laboratory, *, match: float) -> str:
    strangers, strangers_sure = similarities(row, laboratory.people.different)
    own, own_sure = similarities(row, laboratory.people.same)
    detected = [embedding is not None for embedding in row]
    return (
        f"{name:<48}{percent(np.array(detected)):>8}{percent(strangers > match):>14}"
        f"{percent((strangers > match) & strangers_sure):>12}{percent((own > match) & own_sure):>12}"
        f"{percent(~own_sure):>14}"
    )
