"""Decide whether a face can be recognized, by the distance of its embedding from those of unrecognizable faces.

A recognition model returns an embedding for any input. Embeddings of dark, blurred, and upside-down faces lie close
together, so that different people match. Their mean direction, a centroid of unrecognizable identities, is a property
of the model; the cosine of an embedding to it measures how well the face can be recognized (Deng et al.,
"Harnessing Unrecognizable Faces for Improving Face Recognition", WACV 2023, arXiv 2106.04112).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.faces import Recognisability, UnrecognisableReason

Raw = NDArray[np.float32] | NDArray[np.float64]
"""Embeddings before normalization, shape (n, dimension)."""

ADVICE: Final[dict[UnrecognisableReason, str]] = {
    "degraded": "Use a sharp, upright picture of the face in even light.",
    "weak": "Uncover the face and face the camera in good light; use a larger picture of the face.",
    "rotated": "Hold the camera and the head upright, or turn the picture.",
}
SCORE_DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Measure:
    """The centroids of one embedding contract and the limits measured with them; None means no limit."""

    centroids: tuple[tuple[float, ...], ...] = ()
    """Directions of unrecognizable faces: unit vectors with the dimension of an embedding."""
    stricter: tuple[float, ...] = ()
    """Values to add to the cosine to each centroid, so that one limit applies to all; empty adds nothing."""
    max_similarity: float | None = None
    """Largest cosine to the nearest centroid, -1 to 1."""
    min_length: float | None = None
    """Minimum length of the raw embedding, on the model's own scale."""
    max_roll: float | None = None
    """Largest rotation in the image plane, from the five landmarks, in degrees to either side."""

    @property
    def limits(self) -> str | None:
        """The conditions for a recognisable face as text; None if there are no limits."""
        parts = []
        if self.centroids and self.max_similarity is not None:
            parts.append(f"score >= {score(self.max_similarity):g}")
        if self.min_length is not None:
            parts.append(f"length >= {self.min_length:g}")
        if self.max_roll is not None:
            parts.append(f"roll {-self.max_roll:g}..{self.max_roll:g}")
        return ", ".join(parts) or None

    def similarities(self, vectors: Raw) -> list[float | None]:
        """Return the cosine of each raw embedding to the nearest centroid, plus `stricter`; None without centroids."""
        if not self.centroids:
            return [None] * len(vectors)
        raw = np.asarray(vectors, np.float64)
        units = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        cosines = units @ np.array(self.centroids).T + np.array(self.stricter or 0.0)
        nearest: list[float | None] = cosines.max(axis=1, initial=-1.0).tolist()
        return nearest

    def judge(self, vectors: Raw, rolls: Sequence[float]) -> list[Recognisability]:
        """Judge each face by its raw embedding and its rotation in the image plane in degrees."""
        lengths = np.linalg.norm(np.asarray(vectors, np.float64), axis=1).tolist()
        return [
            self._verdict(similarity, length, roll)
            for similarity, length, roll in zip(self.similarities(vectors), lengths, rolls, strict=True)
        ]

    def _verdict(self, similarity: float | None, length: float, roll: float) -> Recognisability:
        reasons: list[UnrecognisableReason] = []
        if similarity is not None and self.max_similarity is not None and similarity > self.max_similarity:
            reasons.append("degraded")
        if self.min_length is not None and length < self.min_length:
            reasons.append("weak")
        if self.max_roll is not None and abs(roll) > self.max_roll:
            reasons.append("rotated")
        return Recognisability(
            recognisable=not reasons,
            score=None if similarity is None else score(similarity),
            reasons=reasons,
            advice=ADVICE["rotated" if "rotated" in reasons else reasons[0]] if reasons else None,
        )


def score(similarity: float) -> float:
    """Return the quality for recognition, 0-1: one minus the cosine to the nearest centroid, at least 0."""
    return round(1.0 - min(1.0, max(0.0, similarity)), SCORE_DECIMALS)


UNMEASURED: Final = Measure()
"""Measure of a pack without a measurement: every face counts as recognisable and has no score."""
