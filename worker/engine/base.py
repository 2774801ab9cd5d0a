"""The protocol of the engines, real and fake, and its data types."""

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
"""Aligned faces for the recogniser, shape (faces, 112, 112, 3), BGR."""

Vectors = NDArray[np.float32]
"""Raw embeddings, not normalized, shape (faces, dimension)."""


AttributeName = faces.AttributeName
"""What a pack may read from a face besides its embedding and liveness."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Identity of the engine, reported in the provenance of every result."""

    pack: str
    contract: str
    """Identity of recognition weights and preprocessing; only embeddings of one contract are comparable."""
    provider: str
    """The provider that actually runs the models, such as CPUExecutionProvider."""
    embedding_size: int
    liveness_model: str | None
    """Identity of the passive liveness model; None if the pack has none."""
    thresholds: Thresholds
    attributes: tuple[AttributeName, ...] = ()
    """Attributes that the pack supports."""
    largest_side: int = 640
    """Side, in pixels, of the largest square that the pack scales an image into for detection."""
    coarse_to_fine: bool = False
    """Whether the detector takes squares of any size, so that a coarse pass costs less than a full one."""
    calibration: Calibration | None = None
    """False-match rates by threshold for this contract, if the pack has them."""
    recognisability: Measure = UNMEASURED
    """Detects faces that cannot be recognised; without centroids if the pack has none for this contract."""


@dataclass(frozen=True, slots=True)
class Search:
    """Detection parameters; None means the pack's own value."""

    threshold: float | None = None
    """Minimum detection score, 0-1."""
    sizes: tuple[int, ...] | None = None
    """Sides, in pixels, of the squares that the image is scaled into, one per pass; multiples of 32."""
    retry: bool = True
    """Whether to retry with a border if no face is found."""


AS_THE_PACK_SAYS = Search()


@dataclass(frozen=True, slots=True)
class Detection:
    """One face, in pixels of the upright image."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2; may extend beyond the image."""
    landmarks: tuple[tuple[float, float], ...]
    """Five points: picture-left eye, right eye, nose, left and right mouth corner."""
    score: float

    @property
    def area(self) -> float:
        """Area of the box, in square pixels."""
        x1, y1, x2, y2 = self.box
        return max(0.0, x2 - x1) * max(0.0, y2 - y1)


class HeadPose(NamedTuple):
    """Orientation of a head in degrees: up, toward the right of the picture, and clockwise are positive."""

    pitch: float
    yaw: float
    roll: float
    method: faces.PoseMethod
    error: float | None = None
    """Degrees within which nine of ten readings agree, if measured."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of one face; None if not requested or not supported by the pack."""

    age: float | None = None
    """Years."""
    gender: Literal["female", "male"] | None = None
    landmarks_106: tuple[tuple[float, float], ...] | None = None
    """106 points of the outline, brows, eyes, nose and mouth, in pixels of the image."""
    landmarks_68: tuple[tuple[float, float, float], ...] | None = None
    """68 points in pixels of the image, with depth in the same unit."""
    points_68: tuple[tuple[float, float], ...] | None = None
    """68 points in pixels of the image, in the order of `landmarks_68`."""
    pose: HeadPose | None = None
    eyes: tuple[float, float] | None = None
    """Probabilities that the eyes at the left and right of the picture are open."""


class Engine(Protocol):
    """Loaded and warmed-up models. Thread-safe.

    Raises (every method):
        JobError: `model_failure` if a model returns a non-finite number.
    """

    @property
    def info(self) -> EngineInfo:
        """Identity of this engine."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Return all detected faces, the largest box first.

        Raises:
            JobError: `invalid_request` for a size that the pack's detector does not support.
        """

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Return aligned crops of these faces, in order."""

    def embed(self, crops: Crops) -> Vectors:
        """Return raw embeddings of aligned faces, in order; shape (len(crops), dimension), float32."""

    def liveness(self, image: Image, face: Detection) -> float | None:
        """Return the probability that the face is live; None if too little of its surroundings is in the image.

        Raises:
            JobError: `liveness_unavailable` if the pack has no liveness model.
        """

    def attributes(self, image: Image, faces: Sequence[Detection], names: Sequence[AttributeName]) -> list[Attributes]:
        """Return the named attributes of these faces, in order; `names` are a subset of `info.attributes`."""
