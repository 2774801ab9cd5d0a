"""Report how the recognisability limits of a pack affect labelled pictures, and suggest limits for them."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from shared.errors import SettingsError
from shared.faces import Embedding
from worker.evaluation.comparisons import Comparisons
from worker.evaluation.intervals import Rate
from worker.evaluation.rates import Similarities
from worker.packs.recognisability import Measure

ALLOWED: Final = 0.001
"""Share of good pictures that the suggested limits may refuse."""
SHOWN: Final = 10

Compare = Callable[[Mapping[Path, Similarities]], Comparisons]
"""Compares all labelled pairs whose pictures both have a vector."""


def recognition(
    embeddings: Mapping[Path, Embedding],
    vectors: Mapping[Path, Similarities],
    compare: Compare,
    *,
    measure: Measure,
    match: float,
) -> Iterator[str]:
    """Yield the refused pictures, the effect on pairs, and limits that suit these pictures."""
    refused = {path: each for path, each in embeddings.items() if not _recognisable(each)}
    yield f"Recognisability ({measure.limits or 'the pack has no limits'}):"
    yield f"  pictures refused: {Rate(len(refused), len(embeddings))}"
    yield from (f"    {path}: {_why(each)}" for path, each in sorted(refused.items())[:SHOWN])
    if len(refused) > SHOWN:
        yield f"    and {len(refused) - SHOWN} more"
    if refused:
        yield from _effect(refused, vectors, compare, match=match)
    yield from _suggested(list(embeddings.values()))
    yield ""


def _effect(
    refused: Mapping[Path, Embedding], vectors: Mapping[Path, Similarities], compare: Compare, *, match: float
) -> Iterator[str]:
    before = compare(vectors).scores
    try:
        after = compare({path: vector for path, vector in vectors.items() if path not in refused}).scores
    except SettingsError:
        yield "  too few pairs of recognisable faces are left for a comparison"
        return
    total = len(before.genuine)
    yield f"  pairs of the same person that become inconclusive: {Rate(total - len(after.genuine), total)}"
    yield f"  false matches at {match:g}: {before.fmr(match)} of all pairs, {after.fmr(match)} of recognisable faces"


def _suggested(embeddings: list[Embedding]) -> Iterator[str]:
    """Suggest limits that refuse a share of `ALLOWED` of these pictures, or none if there are too few."""
    if not embeddings:
        return
    lengths = sorted(each.length for each in embeddings)
    scores = sorted(
        each.recognisability.score
        for each in embeddings
        if each.recognisability is not None and each.recognisability.score is not None
    )
    spared = int(len(embeddings) * ALLOWED)
    limits = [f'"min_length": {math.floor(lengths[spared] * 10) / 10:g}']
    if scores:
        similarity = 1.0 - scores[min(spared, len(scores) - 1)]
        limits.insert(0, f'"max_similarity": {math.ceil(round(similarity * 100, 6)) / 100:g}')
    yield (
        f"  limits for the manifest that refuse at most {ALLOWED:.1%} of these pictures, if all of them are good: "
        f'"recognisability": {{{", ".join(limits)}}}'
    )
    if len(embeddings) < (needed := round(1 / ALLOWED)):
        yield f"  with only {len(embeddings)} pictures, these are guesses: use at least {needed:,}"


def _recognisable(embedding: Embedding) -> bool:
    return embedding.recognisability is None or embedding.recognisability.recognisable


def _why(embedding: Embedding) -> str:
    verdict = embedding.recognisability
    if verdict is None:
        return "unknown"
    score = "no score" if verdict.score is None else f"score {verdict.score:g}"
    return f"{', '.join(verdict.reasons)} ({score}, length {embedding.length:.2f})"
