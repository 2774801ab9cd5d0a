"""The parameters that each operation accepts."""

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
DetectionMode = Literal["coarse_to_fine", "full"]
DetectionWay = Literal["coarse_to_fine", "full", "mixed"]
"""How the pictures of a job were searched; `mixed` if not all in the same way."""
Select = Literal["prominent", "all", "largest", "center"]


def _listed(value: Any) -> Any:
    """Return one to three sides as an ascending list.

    A descending list is refused because it is most likely meant as a width and a height.
    """
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
"""Maximum number of images in one registration."""
MAX_KNOWN: Final = 64
"""Maximum number of embeddings that a registration is compared with."""
_SIDE: Final = {"type": "integer", "minimum": 64, "maximum": 1920, "multipleOf": 32}
Side = Annotated[int, Field(ge=64, le=1920, multiple_of=32, strict=True)]
Sides = Annotated[
    tuple[Side, ...],
    AfterValidator(_in_order),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 1, "maxItems": MAX_SIDES}]}),
]
"""One to three sides, ascending and without repeats; a single number is accepted, too."""


class Operation(StrEnum):
    """What a job does. `frame` cannot be submitted: only a liveness session creates such jobs."""

    DETECT = "detect"
    EMBED = "embed"
    VERIFY = "verify"
    LIVENESS = "liveness"
    REGISTER = "register"
    ANALYZE = "analyze"
    FRAME = "frame"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema that callers see: the operations that can be submitted."""
        described: dict[str, Any] = handler(schema)
        handler.resolve_ref_schema(described)["enum"] = [operation.value for operation in SUBMITTABLE]
        return described


SUBMITTABLE: Final = tuple(operation for operation in Operation if operation is not Operation.FRAME)
"""The operations that can be submitted and listed."""


class FindParams(Submitted):
    """How faces are detected. The base of every operation's parameters."""

    det_size: Sides | None = Field(
        default=None,
        description="Side, in pixels, of the square that the image is scaled into for detection, or up to three sides "
        "whose detections are merged. A large square finds smaller faces and costs more; a small one finds faces that "
        "fill the image. Defaults to the pack's own size.",
    )
    full_size: bool = Field(
        default=False,
        description="Decode a large photo at full resolution even if half or a quarter of its size is enough. Slower, "
        "but the decoded pixels do not depend on `det_size`.",
    )
    det_threshold: float | None = Field(
        default=None, ge=0.2, le=0.99, description="Minimum detection score of a face. Defaults to the pack's own."
    )
    min_face_px: float = Field(
        default=0.0,
        ge=0,
        le=65_535,
        description="Ignore faces whose box has a shorter side below this, in pixels of the full upright image.",
    )
    max_faces: int = Field(default=100, ge=1, le=100, description="Maximum number of faces to keep, the largest first.")
    select: Select = Field(
        default="all",
        description="Which faces to use. `all`: every face; an operation on a single person then fails if there are "
        "several. `prominent`: the face that stands out by size and position, and any face comparable to it. "
        "`largest`: the face with the largest box. `center`: the face with the largest box area minus twice the "
        "squared distance from its center to the image's.",
    )
    auto_orient: bool = Field(
        default=False,
        description="If no face is found, or the largest one cannot be recognized, try the image rotated by 90, 180 "
        "and 270 degrees and use the orientation whose face can be recognized best. The result reports it as "
        "`orientation`, and its positions refer to the rotated image.",
    )
    clamp_boxes: bool = Field(
        default=False,
        description="Clip boxes to the image. By default, the box of a face at the border may extend beyond the image.",
    )


class SelectiveParams(FindParams):
    """How an operation detects faces if it may not need all of them."""

    detection: DetectionMode | None = Field(
        default=None,
        description="How faces are detected. `coarse_to_fine`: a small pass, then a closer look at the face, at less "
        "than half the cost; if the face is small or another one may count, the full pass decides. Small bystanders, "
        "which do not count, may be missing from `other_faces`. `full`: always the full pass. Defaults to the "
        "operator's setting (`VULTUS_DETECTION`), or to `full` if `det_size` is given or if every face counts. "
        "`provenance.detection` reports which one was used.",
    )

    @field_validator("detection")
    @classmethod
    def _without_size(cls, detection: DetectionMode | None, info: ValidationInfo) -> DetectionMode | None:
        if detection == "coarse_to_fine" and info.data.get("det_size") is not None:
            kind = "two_sizes"
            raise PydanticCustomError(kind, "Coarse-to-fine detection chooses its own sizes; omit det_size")
        return detection


class EmbedParams(SelectiveParams):
    """Parameters of `embed`. With `select` set to `all`, the pass is always full."""


class OneFaceParams(SelectiveParams):
    """How an operation on a single person chooses the face."""

    select: Select = Field(
        default="prominent",
        description="Which face to use. `prominent`: the face that stands out by size and position; fails with "
        "`multiple_faces` only if another face is comparable, and ignores faces less than 75 % inside the image. "
        "`all`: fails if more than one face counts. `largest`: the face with the largest box. `center`: the face with "
        "the largest box area minus twice the squared distance from its center to the image's.",
    )
    auto_orient: bool = Field(
        default=True,
        description="If no face is found, or the face cannot be recognized, try the image rotated by 90, 180 and 270 "
        "degrees and use the orientation whose face can be recognized best. The result reports it as `orientation`, "
        "and its positions refer to the rotated image.",
    )
    ignore_below: Share = Field(
        default=0.05,
        description="Do not count faces whose box area is below this share of the largest face's: they are bystanders.",
    )


class AnalyzeParams(FindParams):
    """Parameters of `analyze`."""

    attributes: Annotated[tuple[AttributeName, ...], AfterValidator(_in_order)] | None = Field(
        default=None,
        description="Attributes to add to each face. Defaults to all that the pack supports. The job fails if the pack "
        "does not support one of them.",
    )


class ReferenceEmbedding(Submitted):
    """An embedding used as reference. The `embedding` of an earlier result is accepted unchanged."""

    vector: list[float] = Field(min_length=1, max_length=4096)
    contract: str | None = Field(
        default=None, max_length=200, description="Contract of the vector. If given, it must match the pack's."
    )
    length: float | None = Field(default=None, gt=0, le=1e6, description="Raw length returned with the vector.")
    recognisability: Recognisability | None = Field(
        default=None, description="Recognisability of the embedded face, as returned with the vector."
    )


LivenessMode = Literal["off", "observe", "require"]


class VerifyParams(OneFaceParams):
    """Parameters of `verify`. The reference is a second image or `reference_embedding`."""

    threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="The faces match if similarity > threshold. If neither this nor `fmr` is given, defaults to the "
        "operator's setting (`VULTUS_VERIFY_THRESHOLD`), else to the pack's own.",
    )
    fmr: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Target false-match rate, such as 0.001, instead of `threshold`. The threshold is looked up in the "
        "rates measured for the pack among people in general (see `fmr_bounds`). The job fails if the rate is outside "
        "the measured range; the error names the nearest one.",
    )
    liveness: LivenessMode = Field(
        default="off",
        description="Passive liveness of the face in the image. `observe`: reported, but without effect on the "
        "decision. `require`: only a live face can match. The job fails if the pack has no liveness model.",
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

    threshold: Share | None = Field(
        default=None, description="The face is live if score >= threshold. Defaults to the pack's own."
    )


class RegisterParams(OneFaceParams):
    """Parameters of `register`."""

    skip_liveness: bool = False
    min_images: int = Field(
        default=1, ge=1, le=MAX_IMAGES, description="Minimum number of images that must pass all checks."
    )
    known_embeddings: list[ReferenceEmbedding] = Field(
        default_factory=list,
        max_length=MAX_KNOWN,
        description="Embeddings of people who are already registered. A person who matches one of them is refused as a "
        "duplicate.",
    )
    duplicate_threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="A person is a duplicate if similarity > threshold. Defaults to the pack's own.",
    )
    quality: Profile | None = Field(
        default=None,
        description="Quality profile that images must meet. Defaults to the caller's own, else to `standard`.",
    )
    quality_limits: QualityLimits = Field(
        default=QualityLimits(), description="Individual limits that override the profile's."
    )

    def held_to(self, policy: QualityPolicy) -> "RegisterParams":
        """Return a copy that takes the limits it does not set from a caller's policy."""
        merged = policy.for_request(self.quality, self.quality_limits)
        return self.model_copy(update={"quality": merged.profile, "quality_limits": merged.limits})


class FrameParams(OneFaceParams):
    """Parameters of `frame`. Images are not rotated: a camera that delivers them sideways is set up wrong."""

    auto_orient: bool = False


Params = FindParams | EmbedParams | AnalyzeParams | VerifyParams | LivenessParams | RegisterParams

PARAMS: dict[Operation, type[FindParams]] = {
    Operation.DETECT: FindParams,
    Operation.EMBED: EmbedParams,
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
    """Return path and message of each wrong field of a validation error, without the input itself."""
    return tuple(
        FieldError(field=".".join([*([prefix] if prefix else []), *map(str, problem["loc"])]), detail=problem["msg"])
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )
