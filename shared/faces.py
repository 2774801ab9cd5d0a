"""Faces: their fields in a result, and the comparison of two embeddings."""

import math
import operator
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import EmbeddingError, ErrorCode

Pixels = Annotated[float, Field(description="Pixels in the upright image, origin at the top left.")]
Depth = Annotated[float, Field(description="In the same unit as x and y; the model defines its origin and direction.")]
Point = tuple[Pixels, Pixels]
Box = tuple[Pixels, Pixels, Pixels, Pixels]
MAX_DIMENSIONS = 4096
MIN_NORM = 1e-6


class Strict(BaseModel):
    """Base of every wire object: immutable, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quality(Strict):
    """Measured signals of one face. None of them is a verdict."""

    face_width_px: float = Field(description="Width of the box in pixels.")
    sharpness: float = Field(description="Variance of the Laplacian of the gray face at 128x128; below 15 is blurred.")
    brightness: float = Field(ge=0, le=255, description="Mean gray value of the face, 0-255; good is 100-165.")
    contrast: float = Field(ge=0, description="Standard deviation of the gray face; good is 30 and up.")
    face_share: float = Field(ge=0, description="Area of the box as a share of the image area.")
    inside: float = Field(ge=0, le=1, description="Share of the box that lies inside the image.")


class Liveness(Strict):
    """Passive liveness of one face."""

    outcome: Literal["live", "spoof", "uncertain", "not_evaluated", "input_rejected"] = Field(
        description="`input_rejected`: the face cannot be judged in this image."
    )
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Probability that the face is live, 0-1; the mean if the pack has several models. If the input was "
        "rejected, a score may be present but has no effect.",
    )
    threshold: float | None = Field(default=None, ge=0, le=1, description="The face is live if score >= threshold.")
    model: str | None = Field(default=None, description="Identity of the model.")
    reason: str | None = Field(
        default=None,
        description="Why liveness was not evaluated. For `input_rejected`: `cut_by_border`, `too_small` or "
        "`too_oblique`.",
    )


UnrecognisableReason = Literal["degraded", "weak", "rotated"]
"""Why a face cannot be recognised; see `Recognisability.reasons`."""


class Recognisability(Strict):
    """Whether a face can be recognised at all. Two unrecognisable faces match even if they are strangers."""

    recognisable: bool = Field(description="False if any limit was exceeded: the embedding proves nothing.")
    score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Quality of the face for recognition, 0-1, higher is better. Null if the pack has no measure.",
    )
    reasons: list[UnrecognisableReason] = Field(
        default_factory=list,
        max_length=10,
        description="`degraded`: the embedding resembles those of faces that are dark, blurred or upside down. `weak`: "
        "the raw embedding is too short. `rotated`: the head is rotated in the image plane beyond the limit.",
    )
    advice: str | None = Field(
        default=None, max_length=500, description="What the person at the camera can do. Null if recognisable."
    )


class Embedding(Strict):
    """A face as a unit vector, with the data needed to compare it."""

    vector: list[float] = Field(description="Unit vector; 512 numbers with every supported pack.")
    length: float = Field(gt=0, description="Length before normalization: a measure of quality.")
    contract: str = Field(
        description="Identity of weights and preprocessing. Only embeddings of equal contracts can be compared."
    )
    recognisability: Recognisability | None = Field(
        default=None, description="Whether the face can be recognised. Null in results of older versions."
    )


AttributeName = Literal["age_gender", "eyes", "landmarks_106", "landmarks_68", "points_68", "pose"]
"""Attributes that a pack may support in addition to embedding and liveness."""

PoseMethod = Literal["model", "landmarks_68", "five_points"]
"""Source of a pose: a dedicated model, the depth of 68 points, or the five points of the detector."""


class Pose(Strict):
    """Rotation of the head, in degrees; 0, 0, 0 faces the camera."""

    pitch: float = Field(description="Positive if the nose points up.")
    yaw: float = Field(description="Positive if the nose points to the right of the image, which is the person's left.")
    roll: float = Field(description="Positive if the head leans clockwise in the image.")
    method: PoseMethod = Field(description="Source of the pose.")
    error: float | None = Field(
        description="Degrees within which nine of ten readings agree: the model with itself on the mirror image, five "
        "points with the model. Null if not measured."
    )


class Eyes(Strict):
    """Probability that each eye is open: near 1 is open, near 0 is shut. A single image proves little."""

    left: float = Field(ge=0, le=1, description="The eye on the left of the image, which is the person's right eye.")
    right: float = Field(ge=0, le=1, description="The eye on the right of the image, which is the person's left eye.")


class FaceAttributes(Strict):
    """Attributes of a face. An attribute is null if it was not requested or the pack has no model for it."""

    age: float | None = Field(default=None, description="Age in years, estimated from the image. Not a proof of age.")
    gender: Literal["female", "male"] | None = Field(
        default=None, description="The likelier of the two values that the model knows, estimated from the image."
    )
    landmarks_106: list[Point] | None = Field(
        default=None, description="106 points: outline, brows, eyes, nose, mouth."
    )
    landmarks_68: list[tuple[Pixels, Pixels, Depth]] | None = Field(
        default=None, description="68 points as x, y and depth."
    )
    points_68: list[Point] | None = Field(
        default=None, description="68 points in the same order, without depth, from a smaller model."
    )
    pose: Pose | None = Field(default=None, description="Also included with `landmarks_68`.")
    eyes: Eyes | None = Field(default=None, description="Also null if an eye is too small to be read.")


class Face(Strict):
    """One detected face. Fields that the operation does not compute are null."""

    box: Box = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    landmarks: list[Point] = Field(
        description="Left eye, right eye, nose, left and right mouth corner, as seen in the image."
    )
    score: float = Field(ge=0, le=1, description="Detection score.")
    quality: Quality | None = None
    liveness: Liveness | None = None
    embedding: Embedding | None = None
    attributes: FaceAttributes | None = None


CheckName = Literal[
    "one_face",
    "detection_score",
    "face_width",
    "face_share",
    "border",
    "sharpness",
    "brightness",
    "contrast",
    "yaw",
    "pitch",
    "roll",
    "eyes",
    "recognisability",
    "embedding_length",
    "liveness",
    "same_person",
    "duplicate",
]


class Check(Strict):
    """One check of a registration: its value, its limit and whether it passed."""

    name: CheckName
    value: float | None
    limit: str = Field(description='Values that pass, such as ">= 0.65" or "50..215".')
    passed: bool
    advice: str | None = Field(default=None, description="What the person at the camera can do if the check failed.")
    method: str | None = Field(
        default=None, description="How the value was read and how accurate it is, if there is more than one method."
    )


def checked_vector(values: Sequence[float], *, name: str) -> Sequence[float]:
    """Return `values` if they can be compared by cosine similarity.

    Raises:
        EmbeddingError: empty or over-long, a number that is not finite, or a length below `MIN_NORM`.
    """
    unit(values, name=name)
    return values


def unit(values: Sequence[float], *, name: str) -> list[float]:
    """Return the unit vector: the numbers divided by their Euclidean length, computed in float64.

    The largest component is divided out first: otherwise squares of large components overflow (inf / inf is NaN) and
    squares of small ones underflow (Blue, "A Portable Fortran Program to Find the Euclidean Norm", 1978).

    Raises:
        EmbeddingError: empty or over-long, a number that is not finite, or a length below `MIN_NORM`.
    """
    if not 0 < len(values) <= MAX_DIMENSIONS:
        raise EmbeddingError(ErrorCode.INVALID_EMBEDDING, f"{name} must have 1 to {MAX_DIMENSIONS} numbers.")
    if not all(map(math.isfinite, values)):
        raise EmbeddingError(ErrorCode.INVALID_EMBEDDING, f"{name} contains a number that is not finite.")
    largest = max(map(abs, values))
    scaled = [value / largest for value in values] if largest else []
    length = math.hypot(*scaled)
    if largest * length < MIN_NORM:
        detail = f"{name} is too short to have a direction: its length is below {MIN_NORM:g}."
        raise EmbeddingError(ErrorCode.INVALID_EMBEDDING, detail)
    return [value / length for value in scaled]


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the cosine similarity of two vectors, -1 to 1; neither needs to be a unit vector.

    Gateway and worker both use this function. Scaling either vector changes the result only by rounding errors.

    Raises:
        EmbeddingError: unequal lengths, or a vector that cannot be compared.
    """
    if len(first) != len(second):
        raise EmbeddingError(
            ErrorCode.INVALID_EMBEDDING, f"The embeddings differ in length: {len(first)} and {len(second)} numbers."
        )
    one, other = unit(first, name="the first embedding"), unit(second, name="the second embedding")
    # Every product of unit vectors is finite, and only rounding can leave the range.
    return max(-1.0, min(1.0, math.fsum(map(operator.mul, one, other))))
