"""Request and response bodies of jobs, with their OpenAPI descriptions and examples."""

from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    model_validator,
)

from api.http.schemas import Time, only_rfc3339
from shared.errors import ErrorCode
from shared.faces import MAX_DIMENSIONS, Recognisability
from shared.jobs import Priority, Status
from shared.net.urls import MAX_URL
from shared.operations import MAX_IMAGES, DetectionWay, Operation
from shared.results import Result
from shared.submitted import Submitted
from shared.webhooks.schemas import SUBSCRIBABLE, EventType, PayloadForm

MAX_METADATA_BYTES: Final = 2048
MAX_PAGE: Final = 200
"""Maximum number of jobs on one page of a list."""

Vector = Annotated[list[float], FailFast(), Field(max_length=MAX_DIMENSIONS)]

JOB_ID: Final = "job_00019b8d3c1a386d5a7c90e1d24f68ab0c"


def _subscribable(events: list[EventType]) -> list[EventType]:
    unsupported = [event.value for event in events if event not in SUBSCRIBABLE]
    if unsupported:
        msg = f"{unsupported[0]} cannot be subscribed to; it is sent only on request"
        raise ValueError(msg)
    return events


class ImageSource(Submitted):
    """An image in a JSON body: exactly one of `base64` and `url`."""

    base64: str | None = Field(
        default=None,
        description="The image file in base64. The URL-safe alphabet, line breaks, missing padding, and a `data:` "
        "prefix are accepted.",
    )
    url: str | None = Field(
        default=None,
        max_length=MAX_URL,
        description="URL to fetch the image from. Must be `https://`, and the operator must have allowed the host.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.base64 is None) == (self.url is None):
            msg = "give exactly one of base64 and url"
            raise ValueError(msg)
        return self


class ReferenceVector(Submitted):
    """An existing embedding. The `embedding` of an earlier result is accepted unchanged."""

    vector: Vector = Field(
        description="The vector. It must have the dimension of the model pack's embeddings; any length is accepted."
    )
    contract: str | None = Field(
        default=None,
        max_length=200,
        description="Contract that came with the vector. If set, the job fails under any other contract.",
    )
    length: float | None = Field(default=None, gt=0, le=1e6, description="Raw length that came with the vector.")
    recognisability: Recognisability | None = Field(
        default=None,
        description="Recognizability that came with the vector. A face that is not recognizable matches nobody.",
    )


class ReferenceSource(Submitted):
    """What to compare the face with: exactly one of `base64`, `url`, and `embedding`."""

    base64: str | None = Field(default=None, description="A second image file, in base64.")
    url: str | None = Field(default=None, max_length=MAX_URL, description="URL to fetch a second image from.")
    embedding: ReferenceVector | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.base64, self.url, self.embedding)) != 1:
            msg = "give exactly one of base64, url, and embedding"
            raise ValueError(msg)
        return self


WebhookEvents = Annotated[list[EventType], Field(min_length=1, max_length=10), AfterValidator(_subscribable)]
"""Event types that can be subscribed to."""


class WebhookSpec(Submitted):
    """Where to deliver the result of this request, in addition to the registered endpoints."""

    url: str = Field(
        min_length=1, max_length=MAX_URL, description="URL that receives the callback. Must be `https://`."
    )
    events: WebhookEvents | None = Field(default=None, description="Event types to send. All by default.")
    payload: PayloadForm = Field(
        default=PayloadForm.THIN, description="`thin` sends the URL of the job, `full` the complete job."
    )
    include_embeddings: bool = Field(default=False, description="Whether a full payload includes embeddings.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers to send with the callback, at most 10. Their values are never returned.",
    )


class JobSubmission(Submitted):
    """The JSON form of `POST /v1/jobs`. Exactly one of `image` and `images` is required."""

    operation: Operation
    image: ImageSource | None = Field(default=None, description="The image to analyze.")
    images: list[ImageSource] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_IMAGES,
        description="Several images of one person, for `register`, instead of `image`. Only the first may be a URL.",
    )
    reference: ReferenceSource | None = Field(
        default=None, description="Required for `verify`, rejected for other operations."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the operation.")
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Your own data, returned with the job. At most {MAX_METADATA_BYTES} bytes as JSON.",
    )
    priority: Priority = Field(
        default=Priority.NORMAL, description="Higher priority starts first. Low-priority jobs are never starved."
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Where the result is delivered, in addition to the registered endpoints."
    )


class JobError(BaseModel):
    """Why a job failed."""

    code: ErrorCode
    detail: str
    retryable: bool = Field(description="True if the same image may succeed when it is submitted again.")


class JobMetrics(BaseModel):
    """Time per stage in milliseconds; null if the operation does not have the stage."""

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
        default=False,
        description="True if the result was reused from an earlier identical job, without running a model.",
    )
    detection: DetectionWay | None = Field(
        default=None,
        description="How faces were detected: `coarse_to_fine`, `full`, or `mixed` if the pictures of the job were not "
        "all searched in the same way. Null if the job failed before detection.",
    )


class JobWebhook(BaseModel):
    """Where the result of the job is delivered."""

    origin: str = Field(description="Scheme and host of the URL. The rest of the URL is never returned.")
    events: list[EventType]
    payload: PayloadForm


class JobUrls(BaseModel):
    """Related URLs."""

    self: str
    events: str = Field(description="Server-sent events: every transition, then the finished job.")
    cancel: str
    retry: str | None = Field(description="Set if the job failed, can be retried, and has not been retried yet.")
    deliveries: str = Field(description="The webhook deliveries of the job.")


class JobSummary(BaseModel):
    """A job without its result, as in lists."""

    id: str = Field(examples=[JOB_ID])
    operation: Operation
    status: Status
    priority: Priority
    created_at: Time
    started_at: Time | None = Field(description="Start of the latest attempt.")
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the finished job is deleted.")
    start_by: Time | None = Field(
        description="The job expires if no worker has started it by this time (`Cancel-After`)."
    )
    attempts: int = Field(ge=0, description="Number of times that a worker has started the job.")
    params: dict[str, Any] = Field(
        description="The effective parameters. A reference embedding is reduced to its `dimensions` and `contract`."
    )
    metadata: dict[str, Any]
    image_origin: str | None = Field(
        description="Scheme and host of the URL that the image is fetched from. The rest of the URL is never returned."
    )
    reference_origin: str | None = Field(description="The same for the reference image.")
    error: JobError | None = Field(description="Set if the job has failed.")
    metrics: JobMetrics
    provenance: JobProvenance | None
    webhook: JobWebhook | None = Field(
        description="Where the result is delivered, in addition to the registered endpoints."
    )
    batch_id: str | None = Field(description="The batch that the job belongs to.")
    retry_of: str | None = Field(description="The failed job that this job retries.")
    retried_as: str | None = Field(description="The job that retries this failed job.")
    urls: JobUrls


class JobBody(JobSummary):
    """A job."""

    result: Result | None = Field(description="Set if the job has succeeded. `kind` determines its shape.")


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class JobQuery(BaseModel):
    """Filters for the list of jobs. A job must match all of them."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    operation: Operation | None = None
    created_after: Annotated[AwareDatetime, BeforeValidator(only_rfc3339)] | None = Field(
        default=None, description="Only jobs created after this time (RFC 3339, exclusive)."
    )
    dead_lettered: bool = Field(
        default=False, description="Only jobs that failed because every worker that started them died."
    )
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Maximum number of jobs on a page.")
    cursor: str | None = Field(
        default=None, description="`next_cursor` of the previous page. The filters must be the same."
    )


class TransitionEvent(BaseModel):
    """The data of one event in the event stream of a job."""

    number: int = Field(ge=1, description="Sequence number of the transition within the job; also the id of the event.")
    status: Status
    at: Time
