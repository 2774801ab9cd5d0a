"""Request and response bodies, with the descriptions and examples that OpenAPI shows."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from shared.errors import ErrorCode
from shared.faces import MAX_DIMENSIONS, Strict
from shared.jobs import Job, Status
from shared.operations import Operation, Result

VERSION: Final = "0.1.0"
"""Version of the service; a test holds it to pyproject.toml."""

MAX_METADATA_BYTES: Final = 2048

Vector = Annotated[list[float], FailFast(), Field(max_length=MAX_DIMENSIONS)]

JOB_ID: Final = "job_00019b8d3c1a386d5a7c90e1d24f68ab0c"


class FieldProblem(BaseModel):
    """One wrong field."""

    field: str = Field(description="Where it is, such as `params.threshold`.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it; sent as `application/problem+json`."""

    type: str = Field(description="`urn:vultus:error:` and the code.")
    title: str = Field(description="What the code means, the same for every occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time.")
    code: ErrorCode = Field(description="One of the closed list in docs/errors.md.")
    request_id: str = Field(description="Also in the `X-Request-ID` header and in every log line of the request.")
    errors: list[FieldProblem] | None = Field(default=None, description="The wrong fields, where there are any.")


class ImageSource(Strict):
    """An image inside a JSON body."""

    base64: str = Field(description="The image file, base64 (RFC 4648 section 4), without a `data:` prefix.")

    @model_validator(mode="before")
    @classmethod
    def _no_url(cls, value: Any) -> Any:
        return _refuse_url(value)


class ReferenceVector(Strict):
    """An embedding that was made before."""

    vector: Vector = Field(
        description="As many numbers as the model pack's embeddings have; need not be a unit vector."
    )
    contract: str | None = Field(
        default=None,
        max_length=200,
        description="Contract that came with the vector. Where given, another contract fails the job.",
    )


class ReferenceSource(Strict):
    """What the face is compared with: exactly one of a second image and an embedding."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"oneOf": [{"required": ["base64"]}, {"required": ["embedding"]}]},
    )

    base64: str | None = Field(default=None, description="A second image file, base64.")
    embedding: ReferenceVector | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_url(cls, value: Any) -> Any:
        return _refuse_url(value)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.base64 is None) == (self.embedding is None):
            msg = "give exactly one of base64 and embedding"
            raise ValueError(msg)
        return self


def _refuse_url(value: Any) -> Any:
    if isinstance(value, dict) and "url" in value:
        msg = "images by URL are off on this service; send the file, or its bytes as base64"
        raise ValueError(msg)
    return value


class JobSubmission(Strict):
    """What to do with which image; the JSON form of `POST /v1/jobs`."""

    operation: Operation
    image: ImageSource
    reference: ReferenceSource | None = Field(default=None, description="Needed by `verify`, refused elsewhere.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the operation.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description=f"Yours; given back with the job. At most {MAX_METADATA_BYTES} bytes as JSON."
    )


class JobError(BaseModel):
    """Why a job failed."""

    code: ErrorCode
    detail: str
    retryable: bool = Field(description="True where the same image may succeed when it is submitted again.")


class JobMetrics(BaseModel):
    """Where the time went, in milliseconds; null for a stage that the operation does not have."""

    model_config = ConfigDict(extra="allow")

    queue_ms: float | None = None
    decode_ms: float | None = None
    detect_ms: float | None = None
    align_ms: float | None = None
    embed_ms: float | None = None
    liveness_ms: float | None = None
    attributes_ms: float | None = None
    total_ms: float | None = None


class JobProvenance(BaseModel):
    """What produced the result."""

    model_pack: str
    embedding_contract: str
    provider: str
    worker: str
    cached: bool = Field(
        default=False, description="True where the result of an equal job before was given again, and no model ran."
    )


class JobUrls(BaseModel):
    """Where to go from here."""

    self: str


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC.")]


class JobBody(BaseModel):
    """A job."""

    id: str = Field(examples=[JOB_ID])
    operation: Operation
    status: Status
    created_at: Time
    started_at: Time | None = Field(description="Start of the latest attempt.")
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the finished job can no longer be read.")
    attempts: int = Field(ge=0, description="How often a worker has started it.")
    params: dict[str, Any] = Field(
        description="The parameters in force. A reference embedding is shown by its `dimensions` and `contract` only."
    )
    metadata: dict[str, Any]
    result: Result | None = Field(description="Set once the job has succeeded. Its `kind` tells its shape.")
    error: JobError | None = Field(description="Set once the job has failed.")
    metrics: JobMetrics
    provenance: JobProvenance | None
    urls: JobUrls


def job_content(job: Job) -> dict[str, Any]:
    """The job as JobBody describes it; the result is passed on as the worker wrote it."""
    return {
        "id": job.id,
        "operation": job.operation.value,
        "status": job.status.value,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
        "attempts": job.attempts,
        "params": _without_vector(job.params),
        "metadata": job.metadata,
        "result": job.result,
        "error": None
        if job.error is None
        else {"code": job.error.code.value, "detail": job.error.detail, "retryable": job.error.retryable},
        "metrics": {**dict.fromkeys(JobMetrics.model_fields), **job.metrics},
        "provenance": None
        if job.provenance is None
        else {name: getattr(job.provenance, name) for name in JobProvenance.model_fields},
        "urls": {"self": job_path(job.id)},
    }


def job_path(job_id: str) -> str:
    """Where a job is read."""
    return f"/v1/jobs/{job_id}"


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_vector(params: dict[str, Any]) -> dict[str, Any]:
    reference = params.get("reference_embedding")
    if not reference:
        return params
    shown = {"dimensions": len(reference["vector"]), "contract": reference.get("contract")}
    return {**params, "reference_embedding": shown}


class DetectAnswer(BaseModel):
    """Answer of `POST /detect`."""

    face_detected: bool
    num_faces: int = Field(ge=0)
    confidence: float | None = Field(
        default=None, description="Detection score; null unless there is exactly one face."
    )
    bbox: list[float] | None = Field(
        default=None,
        description="x1, y1, x2, y2 in pixels of the upright image; null unless there is exactly one face.",
    )
    message: str


class EmbeddingAnswer(BaseModel):
    """Answer of `POST /extract-embedding`."""

    success: bool
    embedding: list[float] | None = Field(default=None, description="The recogniser's raw output, not normalised.")
    face_detected: bool
    num_faces: int = Field(ge=0)
    message: str


class CompareRequest(BaseModel):
    """Two embeddings of the same model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"embedding1": [0.1, 0.2], "embedding2": [0.1, 0.3]}]})

    embedding1: Vector
    embedding2: Vector


class CompareAnswer(BaseModel):
    """Answer of `POST /compare`."""

    similarity: float = Field(ge=-1, le=1, description="Raw cosine, 4 decimals.")
    is_match: bool = Field(description="True where the cosine, before rounding, is above the threshold.")
    message: str


class VerifyAnswer(BaseModel):
    """Answer of `POST /verify`: `verified` and `similarity` with a stored embedding, `embedding` without one."""

    success: bool
    verified: bool | None = Field(default=None, description="Absent where no stored embedding was given.")
    similarity: float | None = Field(default=None, ge=-1, le=1, description="Raw cosine, 4 decimals.")
    embedding: list[float] | None = Field(default=None, description="Raw output, where no stored embedding was given.")
    message: str


class LivenessAnswer(BaseModel):
    """Answer of `POST /liveness`."""

    is_live: bool
    confidence: float = Field(ge=0, le=1, description="Chance that the face is live; 0.0 for no face or several.")
    message: str


class RegisterAnswer(BaseModel):
    """Answer of `POST /register`; a refusal has `success`, `message` and, where it ran, `liveness_confidence`."""

    success: bool
    embedding: list[float] | None = Field(default=None, description="The recogniser's raw output, not normalised.")
    message: str
    liveness_confidence: float | None = Field(default=None, ge=0, le=1, description="1.0 where liveness was skipped.")
    detection_confidence: float | None = Field(default=None, ge=0, le=1)
    liveness_skipped: bool | None = None


class ServiceAnswer(BaseModel):
    """Answer of `GET /`."""

    service: Literal["Face Recognition API"] = "Face Recognition API"
    status: Literal["running"] = "running"
    version: str = VERSION


class QueueDepth(BaseModel):
    """How full the queue is."""

    waiting: int = Field(ge=0, description="Jobs that no worker has taken.")
    running: int = Field(ge=0, description="Jobs in work.")


class HealthAnswer(BaseModel):
    """Answer of `GET /health`, with status 200 or 503."""

    status: Literal["healthy", "unhealthy"]
    models_loaded: bool = Field(description="True while at least one worker is alive with its models warmed.")
    workers: int = Field(ge=0, description="Workers alive.")
    queue: QueueDepth | None = Field(description="Null while the job store cannot be reached.")
    model_pack: str | None = Field(description="Pack of the workers; several are joined by commas.")
    reason: str | None = Field(default=None, description="Why it is unhealthy.")


class LiveAnswer(BaseModel):
    """Answer of `GET /livez`: this process answers."""

    status: Literal["alive"] = "alive"
