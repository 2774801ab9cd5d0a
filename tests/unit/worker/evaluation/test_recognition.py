"""What calibration says about recognisability: refused pictures, the effect on pairs, and limits to use."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from shared.faces import Embedding, Recognisability
from worker.evaluation.comparisons import everyone
from worker.evaluation.labels import Portrait
from worker.evaluation.reading import vectors
from worker.evaluation.recognition import recognition
from worker.packs.recognisability import UNMEASURED, Measure

MEASURE = Measure(centroids=((1.0, 0.0),), max_similarity=0.3, min_length=2.0)


def embedding(degrees: float, *, length: float = 3.0, recognisable: bool = True) -> Embedding:
    angle = np.radians(degrees)
    verdict = Recognisability(
        recognisable=recognisable, score=0.9 if recognisable else 0.2, reasons=[] if recognisable else ["degraded"]
    )
    return Embedding(vector=[np.cos(angle), np.sin(angle)], length=length, contract="c", recognisability=verdict)


def said(embeddings: Mapping[str, Embedding], measure: Measure = MEASURE) -> str:
    """Pictures are named after their person and a number."""
    of = {Path(name): each for name, each in embeddings.items()}
    compare = partial(everyone, [Portrait(path, path.name[0]) for path in of])
    return "\n".join(recognition(of, vectors(of), compare, measure=measure, match=0.5))


def test_good_pictures_lose_nothing_and_give_limits() -> None:
    text = said({"a1": embedding(0, length=2.55), "a2": embedding(10), "b1": embedding(120)})
    assert "score >= 0.7, length >= 2" in text
    assert "pictures refused: 0 [0, 1] (0 of 3)" in text
    assert '"recognisability": {"max_similarity": 0.1, "min_length": 2.5}' in text
    assert "with only 3 pictures, these are guesses: use at least 1,000" in text
    assert "inconclusive" not in text


def test_refused_pictures_are_named_with_their_effect_on_pairs() -> None:
    dark = partial(embedding, 60, recognisable=False)
    text = said({
        "a1": embedding(0), "a2": embedding(10), "a3": dark(), "b1": embedding(120), "b2": embedding(130), "b3": dark(),
    })  # fmt: skip
    assert "a3: degraded (score 0.2, length 3.00)" in text
    assert "become inconclusive: 0.67" in text
    assert "(4 of 6)" in text
    assert "of 9) of all pairs" in text
    assert "(0 of 4) of recognisable faces" in text


def test_too_few_recognisable_faces_are_reported() -> None:
    text = said({"a1": embedding(0), "a2": embedding(10, recognisable=False), "b1": embedding(120)})
    assert "too few pairs of recognisable faces" in text


def test_a_pack_without_a_measure_says_so() -> None:
    plain = Embedding(vector=[1.0, 0.0], length=3.0, contract="c", recognisability=Recognisability(recognisable=True))
    text = said({"a1": plain, "a2": plain, "b1": plain}, UNMEASURED)
    assert "the pack has no limits" in text
    assert '"recognisability": {"min_length": 3}' in text
