"""What an engine is: the protocol that the real and the fake engine share, and what they exchange."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Upright image, shape (height, width, 3), BGR."""

Vectors = NDArray[np.float32]
"""Raw embeddings as the recogniser gives them (not normalised), shape (faces, dimension)."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Decision limits that belong to the models of a pack, with their unit."""

    detection: float
    """Least detection score of a face, 0-1."""
    match: float
    """Verified means cosine > match, -1 to 1."""
    live: float
    """Live means liveness score >= live, 0-1."""
    spoof: float
    """Spoof means liveness score < spoof; between the two it is uncertain."""
    register_score: float
    """Least detection score for a registration, 0-1."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine is, as every result says in its provenance."""

    pack: str
    contract: str
    """Identity of recognition weights and preprocessing; embeddings compare only within one contract."""
    provider: str
    """The device class that really runs the models, such as CPUExecutionProvider."""
    embedding_size: int
    liveness_model: str | None
    """Identity of the passive liveness model, or None where the pack has none."""
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Detection:
    """One face in the pixels of the upright image."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2; may reach over the border."""
    landmarks: tuple[tuple[float, float], ...]
    """Five points: picture-left eye, right eye, nose, left and right mouth corner."""
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x1, y1, x2, y2 = self.box
        return max(0.0, x2 - x1) * max(0.0, y2 - y1)


class Engine(Protocol):
    """Loaded, warmed models. Every method may be called from several threads at once.

    Raises (every method):
        JobError: `model_failure` where a model gives a number that is not finite.
    """

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""

    def detect(self, image: Image, *, threshold: float | None = None) -> list[Detection]:
        """Every face with at least this score (the pack's where None), the largest box first."""

    def embed(self, image: Image, faces: Sequence[Detection]) -> Vectors:
        """Raw embeddings of these faces, in their order; shape (len(faces), dimension), float32."""

    def liveness(self, image: Image, face: Detection) -> float:
        """Chance from 0 to 1 that the face is live.

        Raises:
            JobError: `liveness_unavailable` where the pack has no liveness model.
        """
