"""What each operation takes: the parameters of a job."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from shared.errors import ErrorCode, FieldError, RequestError
from shared.faces import AttributeName, Recognisability
from shared.quality import Profile, QualityLimits, QualityPolicy
from shared.submitted import Submitted

Share = Annotated[float, Field(ge=0, le=1)]
Select = Literal["prominent", "all", "largest", "center"]


def _listed(value: Any) -> Any:
    """One side as a list; a list of one to three, ascending: what descends is likely meant as a width and a height."""
    sides = value if isinstance(value, list | tuple) else [value]
    whole = all(isinstance(side, int) for side in sides)
    if not 1 <= len(sides) <= MAX_SIDES or (whole and list(sides) != sorted(sides)):
        kind = "sides"
        raise PydanticCustomError(kind, _SIDES)
    return sides


def _in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


MAX_SIDES: Final = 3
_SIDES: Final = (
    "must be the side of a square, such as 640, or a list of up to three sides in ascending order, each a multiple of "
    "32 from 64 to 1920; a list is not a width and a height"
)
MAX_IMAGES: Final = 5
"""Images of one registration."""
MAX_KNOWN: Final = 64
"""Embeddings that one registration is compared with."""
_SIDE: Final = {"type": "integer", "minimum": 64, "maximum": 1920, "multipleOf": 32}
Side = Annotated[int, Field(ge=64, le=1920, multiple_of=32, strict=True)]
Sides = Annotated[
    tuple[Side, ...],
    AfterValidator(_in_order),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 1, "maxItems": MAX_SIDES}]}),
]
"""One to three sides, ascending and without repeats; a single number will do in their place."""


class Operation(StrEnum):
    """What a job can be asked to do. `frame` cannot be submitted: only a liveness session makes such jobs."""

    DETECT = "detect"
    EMBED = "embed"
    VERIFY = "verify"
    LIVENESS = "liveness"
    REGISTER = "register"
    ANALYZE = "analyze"
    FRAME = "frame"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """As callers see it: those that can be submitted."""
        described: dict[str, Any] = handler(schema)
        handler.resolve_ref_schema(described)["enum"] = [operation.value for operation in SUBMITTABLE]
        return described


SUBMITTABLE: Final = tuple(operation for operation in Operation if operation is not Operation.FRAME)
"""The operations that can be submitted and listed."""


class FindParams(Submitted):
    """How faces are found; the base of every operation's parameters."""

    det_size: Sides | None = Field(
        default=None,
        description="Side in pixels of the square that the image is fitted into for the detector; up to three, whose "
        "finds are merged. Larger ones find smaller faces and cost more, small ones find faces that fill the "
        "image. The pack's own where absent.",
    )
    full_size: bool = Field(
        default=False,
        description="Read a large photo pixel by pixel even where a half or a quarter of its size is enough: slower, "
        "and the same to the last digit whatever `det_size` is.",
    )
    det_threshold: float | None = Field(
        default=None, ge=0.2, le=0.99, description="Least detection score of a face; the pack's own where absent."
    )
    min_face_px: float = Field(
        default=0.0,
        ge=0,
        le=65_535,
        description="Faces whose box has a shorter side below this are left out; pixels of the full upright image.",
    )
    max_faces: int = Field(default=100, ge=1, le=100, description="Keep at most this many faces, the largest first.")
    select: Select = Field(
        default="all",
        description="Which of the faces are meant. `all`: every face; an operation about one person then refuses "
        "several. `prominent`: the face that stands out by size and position, and any face comparable to it. "
        "`largest`: the face with the largest box. `center`: the face with the largest box area minus twice the "
        "squared distance from its center to the image's.",
    )
    auto_orient: bool = Field(
        default=False,
        description="If no face is found, or the largest one cannot be recognized as it is, try the image turned by "
        "90, 180 and 270 degrees and use the orientation whose face can be recognized best. The result says "
        "`orientation`; its positions are in the turned image.",
    )
    clamp_boxes: bool = Field(
        default=False,
        description="Limit boxes to the image. By default, the box of a face at the border may reach outside of it.",
    )


class OneFaceParams(FindParams):
    """How the one face is chosen where an operation is about one person."""

    select: Select = Field(
        default="prominent",
        description="Which face is the person. `prominent`: the face that stands out by size and position; fails with "
        "`multiple_faces` only if another face is comparable, and ignores faces less than 75 % inside the image. "
        "`all`: fails if several faces count. `largest`: the face with the largest box. `center`: the face with the "
        "largest box area minus twice the squared distance from its center to the image's.",
    )
    auto_orient: bool = Field(
        default=True,
        description="If no face is found, or the face cannot be recognized as it is, try the image turned by 90, 180 "
        "and 270 degrees and use the orientation whose face can be recognized best. The result says `orientation`; "
        "its positions are in the turned image.",
    )
    ignore_below: Share = Field(
        default=0.05,
        description="Faces whose box area is below this share of the largest face's are bystanders and not counted.",
    )


class AnalyzeParams(FindParams):
    """Parameters of `analyze`."""

    attributes: Annotated[tuple[AttributeName, ...], AfterValidator(_in_order)] | None = Field(
        default=None,
        description="Attributes to add to each face; all that the pack has where absent. Naming one that it does not "
        "have fails the job.",
    )


class ReferenceEmbedding(Submitted):
    """A reference that was embedded before. An embedding of an earlier result is accepted as it is."""

    vector: list[float] = Field(min_length=1, max_length=4096)
    contract: str | None = Field(
        default=None, max_length=200, description="Contract of the vector; checked against the pack's where given."
    )
    length: float | None = Field(default=None, gt=0, le=1e6, description="Raw length that came with the vector.")
    recognisability: Recognisability | None = Field(
        default=None, description="What the result said about the face that was embedded."
    )


LivenessMode = Literal["off", "observe", "require"]


class VerifyParams(OneFaceParams):
    """Parameters of `verify`: the reference is a second image, or this embedding."""

    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Match means similarity > threshold. Where neither this nor `fmr` is given: the operator's "
        "(`VULTUS_VERIFY_THRESHOLD`), else the pack's own.",
    )
    fmr: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="In place of `threshold`: the false-match rate to aim at, such as 0.001; the threshold is looked "
        "up in what was measured for the pack, among people in general (see `fmr_bounds`). A rate outside of what was "
        "measured fails the job, and the error names the nearest one.",
    )
    liveness: LivenessMode = Field(
        default="off",
        description="Passive liveness of the face in the image. `observe`: it is reported and decides nothing. "
        "`require`: only a live face can match. Fails the job where the pack has no liveness model.",
    )
    reference_embedding: ReferenceEmbedding | None = None

    @field_validator("fmr")
    @classmethod
    def _alone(cls, fmr: float | None, info: ValidationInfo) -> float | None:
        if fmr is not None and info.data.get("threshold") is not None:
            kind = "two_limits"
            raise PydanticCustomError(kind, "Give a threshold or a false-match rate, not both")
        return fmr


class LivenessParams(OneFaceParams):
    """Parameters of `liveness`."""

    threshold: Share | None = Field(default=None, description="Live means score >= threshold; the pack's where absent.")


class RegisterParams(OneFaceParams):
    """Parameters of `register`."""

    skip_liveness: bool = False
    min_images: int = Field(
        default=1, ge=1, le=MAX_IMAGES, description="Of several images, how many must pass for a registration."
    )
    known_embeddings: list[ReferenceEmbedding] = Field(
        default_factory=list,
        max_length=MAX_KNOWN,
        description="Embeddings of people who are registered already; whoever is one of them is refused: a duplicate.",
    )
    duplicate_threshold: float | None = Field(
        default=None, ge=-1, le=1, description="A duplicate is similarity > threshold; the pack's own where absent."
    )
    quality: Profile | None = Field(
        default=None, description="Which limits a picture is held to; the caller's own, else `standard`, where absent."
    )
    quality_limits: QualityLimits = Field(
        default=QualityLimits(), description="Single limits in place of the profile's, loosened or tightened."
    )

    def held_to(self, policy: QualityPolicy) -> "RegisterParams":
        """The same with the limits of a caller's policy, where it does not say them itself."""
        asked = policy.asked(self.quality, self.quality_limits)
        return self.model_copy(update={"quality": asked.profile, "quality_limits": asked.limits})


class FrameParams(OneFaceParams):
    """Parameters of `frame`. A camera that delivers pictures on their side is set up wrong, so none is turned."""

    auto_orient: bool = False


Params = FindParams | AnalyzeParams | VerifyParams | LivenessParams | RegisterParams

PARAMS: dict[Operation, type[FindParams]] = {
    Operation.DETECT: FindParams,
    Operation.EMBED: FindParams,
    Operation.VERIFY: VerifyParams,
    Operation.LIVENESS: LivenessParams,
    Operation.REGISTER: RegisterParams,
    Operation.ANALYZE: AnalyzeParams,
    Operation.FRAME: FrameParams,
}


def parse_params(operation: Operation, raw: object) -> FindParams:
    """Check the parameters of one operation.

    Raises:
        RequestError: `invalid_request`, with one entry in `fields` for each wrong or unknown field.
    """
    try:
        return PARAMS[operation].model_validate(raw)
    except ValidationError as error:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"The parameters of {operation} are not valid.",
            fields=field_errors(error, prefix="params"),
        ) from None


def field_errors(error: ValidationError, *, prefix: str = "") -> tuple[FieldError, ...]:
    """Every wrong field of a validation error as path and sentence; the input itself is not repeated."""
    return tuple(
        FieldError(field=".".join([*([prefix] if prefix else []), *map(str, problem["loc"])]), detail=problem["msg"])
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )
