"""The result of each operation."""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from shared.faces import Box, Check, CheckName, Embedding, Face, Liveness, Recognisability, Strict

MAX_OTHER_FACES: Final = 10
"""Maximum number of other faces that the result for a single person lists."""
Orientation = Annotated[
    int,
    Field(
        json_schema_extra={"enum": [0, 90, 180, 270]},
        description="Degrees, clockwise, by which `auto_orient` rotated the image after EXIF orientation was applied. "
        "All positions are in pixels of the rotated image.",
    ),
]


class ImageInfo(Strict):
    """The upright image that all positions refer to."""

    width: int = Field(ge=1, description="Pixels, after EXIF orientation and `orientation`.")
    height: int = Field(ge=1, description="Pixels, after EXIF orientation and `orientation`.")
    orientation: Orientation = 0


class FacesResult(Strict):
    """Result of `detect`, `embed` and `analyze`: all faces, the largest first."""

    kind: Literal["faces"] = "faces"
    image: ImageInfo
    faces: list[Face]


FaceReason = Literal["no_face", "multiple_faces"]
OtherFaceReason = Literal["comparable", "less_prominent", "small", "outside"]


class OtherFace(Strict):
    """A face in the image that was not chosen."""

    box: Box = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    score: float = Field(ge=0, le=1, description="Detection score.")
    prominence: float = Field(
        ge=0, le=1, description="Weight of the face by size and position, relative to the highest in the image."
    )
    reason: OtherFaceReason = Field(
        description="Why it was not chosen. `comparable`: it may equally be the person, so no face was chosen. "
        "`less_prominent`: another face was chosen. `small`: below `ignore_below`. `outside`: less than 75 % of its "
        "box is inside the image."
    )


OtherFaces = Annotated[
    list[OtherFace],
    Field(
        max_length=MAX_OTHER_FACES,
        description=f"Faces that were not chosen, the most prominent first; at most {MAX_OTHER_FACES}.",
    ),
]
ThresholdFrom = Literal["request", "fmr", "setting", "pack"]


Decision = Literal["match", "no_match", "inconclusive"]
VerifyReason = Literal[
    "no_face",
    "multiple_faces",
    "reference_no_face",
    "reference_multiple_faces",
    "unrecognisable",
    "reference_unrecognisable",
    "below_threshold",
    "spoof",
    "liveness_uncertain",
    "liveness_input_rejected",
]
"""Why a verification did not match. `reference_` marks reasons that concern the reference instead of the image."""


class PopulationRate(Strict):
    """False-match rate of one population at the threshold in use."""

    population: str = Field(description="Name of the population. `fmr` and `estimated_fmr` refer to `general`.")
    description: str = Field(description="Description of the people.")
    source: str = Field(description="Data set, and who measured the rate.")
    people: int | None = Field(description="Number of people. Null if unknown.")
    impostor_pairs: int | None = Field(description="Number of pairs of different people. Null if unknown.")
    fmr: float = Field(description="Share of pairs of different people that match at this threshold.")
    bound: Literal["estimate", "at_most", "at_least"] = Field(
        description="`estimate`: the threshold lies within what was measured. `at_most`: above it, so the rate is this "
        "or smaller. `at_least`: below it, so the rate is this or larger."
    )


class FmrBounds(Strict):
    """Range of the false-match rate at one threshold across populations."""

    lowest: float | None = Field(description="Lowest rate of these populations. Null if unbounded.")
    highest: float | None = Field(description="Highest rate of these populations. Null if unbounded.")
    note: str = Field(description="What the rates were measured on, and whom they do not apply to.")
    populations: list[PopulationRate]


class VerifyResult(Strict):
    """Result of `verify`. `verified` is true only if the decision is `match`."""

    kind: Literal["verify"] = "verify"
    decision: Decision = Field(
        description="`match`: same person (and live, if required). `no_match`: another person, or a spoof if liveness "
        "is required. `inconclusive`: the images do not allow a decision; take another one."
    )
    verified: bool = Field(description="True only for `match`.")
    reason: VerifyReason | None = Field(description="The first of `reasons`. Null for `match`.")
    reasons: list[VerifyReason] = Field(description="Every reason against a match. Empty for `match`.")
    advice: str | None = Field(description="What the person at the camera can do about `reason`. Null for `match`.")
    similarity: float | None = Field(default=None, ge=-1, le=1, description="Cosine similarity of the two embeddings.")
    threshold: float = Field(description="The faces match if similarity > threshold.")
    threshold_from: ThresholdFrom = Field(
        description="Source of the threshold: the job's `threshold`, its `fmr`, the operator's setting, or the model "
        "pack."
    )
    estimated_fmr: float | None = Field(
        default=None,
        description="Estimated share of pairs of different people that match at this threshold, among people in "
        "general; see `fmr_bounds` for other populations. Null if a face is missing or unrecognisable, if no rates "
        "were measured for the pack, or if the threshold is outside the measured range.",
    )
    fmr_bounds: FmrBounds | None = Field(
        default=None,
        description="Rates by population. Null if a face is missing or unrecognisable, or if the pack has no rates.",
    )
    liveness: Liveness = Field(
        description="Liveness of the face in the image. `not_evaluated` unless `liveness` requests it."
    )
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    face: Face | None = None
    reference_face: Face | None = None
    reference_recognisability: Recognisability | None = Field(
        default=None, description="Recognisability of the reference face, or as given with the reference embedding."
    )
    other_faces: OtherFaces = Field(default_factory=list)
    reference_other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0
    reference_orientation: Orientation = 0


class LivenessResult(Strict):
    """Result of `liveness` for the single face in the image."""

    kind: Literal["liveness"] = "liveness"
    liveness: Liveness
    reason: FaceReason | None
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0


class ImageVerdict(Strict):
    """Outcome for one of several images in a registration."""

    index: int = Field(ge=0, description="Zero-based position of the image.")
    accepted: bool = Field(description="Whether the image is part of the embedding.")
    reason: CheckName | None = Field(description="Name of the first failed check, or null.")
    checks: list[Check]
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    liveness: Liveness
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0


class Duplicate(Strict):
    """A known embedding of the same person."""

    index: int = Field(ge=0, description="Zero-based position in `known_embeddings`.")
    similarity: float = Field(ge=-1, le=1, description="Cosine similarity.")


class RegisterResult(Strict):
    """Result of `register`: every check, and the embedding if all of them passed.

    With several images, `checks`, `num_faces`, `liveness` and `face` refer to the first accepted image, or to the first
    image if none was accepted; `images` lists all.
    """

    kind: Literal["register"] = "register"
    registered: bool
    reason: CheckName | Literal["too_few_images"] | None = Field(
        description="Name of the first failed check, `too_few_images` if fewer than `min_images` passed, or null."
    )
    checks: list[Check]
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    liveness: Liveness
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0
    embedding: Embedding | None = Field(
        default=None,
        description="With several images: their mean direction as a unit vector, and the mean of their lengths.",
    )
    accepted: int = Field(default=0, ge=0, description="Number of images that the embedding is made of.")
    images: list[ImageVerdict] = Field(
        default_factory=list, description="Outcome for each image, if there are several."
    )
    duplicates: list[Duplicate] = Field(
        default_factory=list, description="Known embeddings of the same person, the most similar first."
    )


class FrameResult(Strict):
    """Result of `frame`: what a liveness session needs to know about the single face in a frame."""

    kind: Literal["frame"] = "frame"
    image: ImageInfo
    reason: FaceReason | None
    num_faces: int = Field(ge=0, description="Faces counted in the image.")
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    picture: str = Field(description="Fingerprint of the whole frame: 256 bits as hexadecimal digits.")
    match_threshold: float = Field(description="The faces match if similarity > match_threshold.")


Result = Annotated[FacesResult | VerifyResult | LivenessResult | RegisterResult, Field(discriminator="kind")]
RESULT: TypeAdapter[FacesResult | VerifyResult | LivenessResult | RegisterResult | FrameResult] = TypeAdapter(
    Annotated[FacesResult | VerifyResult | LivenessResult | RegisterResult | FrameResult, Field(discriminator="kind")]
)
"""Every result, including those that callers never see; `Result` is the public part."""
