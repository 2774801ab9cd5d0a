"""What each operation gives: the shape of its result."""

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from shared.faces import Box, Check, CheckName, Embedding, Face, Liveness, Recognisability, Strict

MAX_OTHER_FACES: Final = 10
"""Faces that a result about one person lists beside it."""
Orientation = Annotated[
    int,
    Field(
        json_schema_extra={"enum": [0, 90, 180, 270]},
        description="Degrees, clockwise, that `auto_orient` turned the image after EXIF orientation was applied. All "
        "positions are in pixels of the turned image.",
    ),
]


class ImageInfo(Strict):
    """The upright image that the boxes refer to."""

    width: int = Field(ge=1, description="Pixels, after EXIF orientation and `orientation`.")
    height: int = Field(ge=1, description="Pixels, after EXIF orientation and `orientation`.")
    orientation: Orientation = 0


class FacesResult(Strict):
    """Result of `detect`, `embed` and `analyze`: the faces, the largest first."""

    kind: Literal["faces"] = "faces"
    image: ImageInfo
    faces: list[Face]


FaceReason = Literal["no_face", "multiple_faces"]
OtherFaceReason = Literal["comparable", "less_prominent", "small", "outside"]


class OtherFace(Strict):
    """A face of the image that was not chosen as the person."""

    box: Box = Field(description="x1, y1, x2, y2 in pixels of the upright image.")
    score: float = Field(ge=0, le=1, description="Detection score.")
    prominence: float = Field(
        ge=0, le=1, description="Its weight by size and position, as a share of the highest in the image."
    )
    reason: OtherFaceReason = Field(
        description="Why it was not chosen. `comparable`: it may be the person as well, so no face was chosen. "
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
"""Why a verification is no match; those with `reference_` are about the reference, the others about the image."""


class PopulationRate(Strict):
    """The false-match rate at the threshold in force, among the people of one population."""

    population: str = Field(description="`general` is the one that `fmr` and `estimated_fmr` refer to.")
    description: str = Field(description="Who the people are.")
    source: str = Field(description="Which pictures, and who measured.")
    people: int | None = Field(description="Null where it is not on record.")
    impostor_pairs: int | None = Field(description="Null where it is not on record.")
    fmr: float = Field(description="Share of pairs of different people who match at this threshold.")
    bound: Literal["estimate", "at_most", "at_least"] = Field(
        description="`estimate`: the threshold lies within what was measured. `at_most`: above it, so the rate is this "
        "or smaller. `at_least`: below it, so the rate is this or larger."
    )


class FmrBounds(Strict):
    """How far the false-match rate of one threshold differs between populations."""

    lowest: float | None = Field(description="Lowest rate of these populations; null where it is not bounded.")
    highest: float | None = Field(description="Highest rate of these populations; null where it is not bounded.")
    note: str = Field(description="What the rates were measured on, and for whom they do not hold.")
    populations: list[PopulationRate]


class VerifyResult(Strict):
    """Result of `verify`. `verified` is true only where the decision is `match`."""

    kind: Literal["verify"] = "verify"
    decision: Decision = Field(
        description="`match`: same person (and live, where required). `no_match`: another person, or a spoof where "
        "liveness is required. `inconclusive`: these pictures do not tell; take another one."
    )
    verified: bool = Field(description="True only for `match`.")
    reason: VerifyReason | None = Field(description="The first of `reasons`; null for `match`.")
    reasons: list[VerifyReason] = Field(description="All that stands against a match; empty for `match`.")
    advice: str | None = Field(description="What the person at the camera can do about `reason`; null for `match`.")
    similarity: float | None = Field(default=None, ge=-1, le=1, description="Raw cosine of the two embeddings.")
    threshold: float = Field(description="A match needs similarity > threshold.")
    threshold_from: ThresholdFrom = Field(
        description="Where it comes from: the job's `threshold`, its `fmr`, the operator's setting, or the model pack."
    )
    estimated_fmr: float | None = Field(
        default=None,
        description="Share of different people in general who match at this threshold; see `fmr_bounds` for others. "
        "Null where a face is missing or unrecognisable, no rates were measured for the pack, or the threshold lies "
        "outside of them.",
    )
    fmr_bounds: FmrBounds | None = Field(
        default=None,
        description="Rates by population. Null where a face is missing or unrecognisable, or the pack has no rates.",
    )
    liveness: Liveness = Field(description="Of the face in the image; `not_evaluated` unless `liveness` asks for it.")
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    face: Face | None = None
    reference_face: Face | None = None
    reference_recognisability: Recognisability | None = Field(
        default=None, description="Of the reference face, or as it came with the reference embedding."
    )
    other_faces: OtherFaces = Field(default_factory=list)
    reference_other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0
    reference_orientation: Orientation = 0


class LivenessResult(Strict):
    """Result of `liveness` for the one face of the image."""

    kind: Literal["liveness"] = "liveness"
    liveness: Liveness
    reason: FaceReason | None
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0


class ImageVerdict(Strict):
    """What one of several images is worth to a registration."""

    index: int = Field(ge=0, description="Its place among the images, from 0.")
    accepted: bool = Field(description="Whether it is part of the embedding.")
    reason: CheckName | None = Field(description="Name of the first check that it failed, or null.")
    checks: list[Check]
    num_faces: int = Field(ge=0, description="Faces counted in it, before one was selected.")
    liveness: Liveness
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0


class Duplicate(Strict):
    """One of the known embeddings that is the same person."""

    index: int = Field(ge=0, description="Its place among `known_embeddings`, from 0.")
    similarity: float = Field(ge=-1, le=1, description="Raw cosine.")


class RegisterResult(Strict):
    """Result of `register`: every check, and the embedding where all of them passed.

    Of several images, `checks`, `num_faces`, `liveness` and `face` are those of the first that was accepted, else of
    the first; `images` has all.
    """

    kind: Literal["register"] = "register"
    registered: bool
    reason: CheckName | Literal["too_few_images"] | None = Field(
        description="Name of the first check that failed; `too_few_images` where fewer than `min_images` passed; "
        "or null."
    )
    checks: list[Check]
    num_faces: int = Field(ge=0, description="Faces counted in the image, before one was selected.")
    liveness: Liveness
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    orientation: Orientation = 0
    embedding: Embedding | None = Field(
        default=None,
        description="Of several images: their mean direction as a unit vector, and the mean of their lengths.",
    )
    accepted: int = Field(default=0, ge=0, description="Images that the embedding is made of.")
    images: list[ImageVerdict] = Field(
        default_factory=list, description="Every image with its verdict, where there are several."
    )
    duplicates: list[Duplicate] = Field(
        default_factory=list, description="Known embeddings of the same person, the most similar first."
    )


class FrameResult(Strict):
    """Result of `frame`: all that a liveness session asks of the one face of a picture."""

    kind: Literal["frame"] = "frame"
    image: ImageInfo
    reason: FaceReason | None
    num_faces: int = Field(ge=0, description="Faces counted in the image.")
    face: Face | None = None
    other_faces: OtherFaces = Field(default_factory=list)
    picture: str = Field(description="Fingerprint of the whole picture: 256 bits as hexadecimal digits.")
    match_threshold: float = Field(description="The same person means similarity > match_threshold.")


Result = Annotated[FacesResult | VerifyResult | LivenessResult | RegisterResult, Field(discriminator="kind")]
RESULT: TypeAdapter[FacesResult | VerifyResult | LivenessResult | RegisterResult | FrameResult] = TypeAdapter(
    Annotated[FacesResult | VerifyResult | LivenessResult | RegisterResult | FrameResult, Field(discriminator="kind")]
)
"""Every result that there is; `Result` are those that callers see."""
