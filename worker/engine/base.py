"""What an engine is: the protocol that the real and the fake engine share, and what they exchange."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared import faces
from worker.packs.calibration import Calibration
from worker.packs.recognisability import UNMEASURED, Measure
from worker.packs.thresholds import Thresholds

Image = NDArray[np.uint8]
"""Upright image, shape (height, width, 3), BGR."""

Crops = NDArray[np.uint8]
"""Aligned faces, upright and to scale for the recogniser, shape (faces, 112, 112, 3), BGR."""

Vectors = NDArray[np.float32]
"""Raw embeddings as the recogniser gives them (not normalised), shape (faces, dimension)."""


AttributeName = faces.AttributeName
"""What a pack may tell of a face beyond its embedding and its liveness."""


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
    attributes: tuple[AttributeName, ...] = ()
    """Attributes that the pack has models for."""
    largest_side: int = 640
    """Side in pixels of the largest square that the pack fits an image into for its detector."""
    calibration: Calibration | None = None
    """What the match threshold costs with this contract, where the pack says."""
    recognisability: Measure = UNMEASURED
    """What tells faces that cannot be recognised; without centroids where the pack has none for this contract."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for faces; what is None, the pack decides."""

    threshold: float | None = None
    """Least detection score, 0-1."""
    sizes: tuple[int, ...] | None = None
    """Sides in pixels of the squares that the image is fitted into, one for each pass; multiples of 32."""


AS_THE_PACK_SAYS = Search()


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


class HeadPose(NamedTuple):
    """How a head is turned, in degrees: up, to the picture's right and clockwise are above zero."""

    pitch: float
    yaw: float
    roll: float
    method: faces.PoseMethod
    error: float | None = None
    """Degrees within which nine of ten readings agree, as far as that was measured."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the models of a pack say of one face; None where they were not asked, or the pack has none."""

    age: float | None = None
    """Years."""
    gender: Literal["female", "male"] | None = None
    landmarks_106: tuple[tuple[float, float], ...] | None = None
    """106 points of the outline, brows, eyes, nose and mouth, in the pixels of the image."""
    landmarks_68: tuple[tuple[float, float, float], ...] | None = None
    """68 points in the pixels of the image, with their depth in the same unit."""
    points_68: tuple[tuple[float, float], ...] | None = None
    """68 points in the pixels of the image, in the order of `landmarks_68`."""
    pose: HeadPose | None = None
    eyes: tuple[float, float] | None = None
    """Chances from 0 to 1 that the eye at the picture's left is open, and the one at its right."""


class Engine(Protocol):
    """Loaded, warmed models. Every method may be called from several threads at once.

    Raises (every method):
        JobError: `model_failure` where a model gives a number that is not finite.
    """

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Every face that the search finds, the largest box first.

        Raises:
            JobError: `invalid_request` for a size that the detector of this pack cannot take.
        """

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """These faces cut out, upright and to scale, in their order."""

    def embed(self, crops: Crops) -> Vectors:
        """Raw embeddings of aligned faces, in their order; shape (len(crops), dimension), float32."""

    def liveness(self, image: Image, face: Detection) -> float | None:
        """Chance from 0 to 1 that the face is live; None where too little of its surroundings is in the image.

        Raises:
            JobError: `liveness_unavailable` where the pack has no liveness model.
        """

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """What the models named say of these faces, in their order; `names` come from `info.attributes`."""
