"""Request and response bodies of jobs, with the descriptions and examples that OpenAPI shows."""

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
from shared.operations import MAX_IMAGES, Operation
from shared.results import Result
from shared.submitted import Submitted
from shared.webhooks.schemas import SUBSCRIBABLE, EventType, PayloadForm

MAX_METADATA_BYTES: Final = 2048
MAX_PAGE: Final = 200
"""Jobs on one page of a list."""

Vector = Annotated[list[float], FailFast(), Field(max_length=MAX_DIMENSIONS)]

JOB_ID: Final = "job_00019b8d3c1a386d5a7c90e1d24f68ab0c"


def _subscribable(events: list[EventType]) -> list[EventType]:
    wrong = [event.value for event in events if event not in SUBSCRIBABLE]
    if wrong:
        msg = f"{wrong[0]} is sent only where it is asked for"
        raise ValueError(msg)
    return events


class ImageSource(Submitted):
    """An image of a JSON body: exactly one of `base64` and `url`."""

    base64: str | None = Field(
        default=None,
        description="The image file in base64. The URL-safe alphabet, line breaks, missing padding and a `data:` "
        "prefix are accepted.",
    )
    url: str | None = Field(
        default=None,
        max_length=MAX_URL,
        description="Where the service fetches the image, `https://` only; taken where the operator has allowed the "
        "host.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.base64 is None) == (self.url is None):
            msg = "give exactly one of base64 and url"
            raise ValueError(msg)
        return self


class ReferenceVector(Submitted):
    """An embedding that was made before. The `embedding` of an earlier result is accepted as it is."""

    vector: Vector = Field(
        description="As many numbers as the model pack's embeddings have; need not be a unit vector."
    )
    contract: str | None = Field(
        default=None,
        max_length=200,
        description="Contract that came with the vector. Where given, another contract fails the job.",
    )
    length: float | None = Field(default=None, gt=0, le=1e6, description="Raw length that came with the vector.")
    recognisability: Recognisability | None = Field(
        default=None,
        description="What the result said about the face. One that is not recognisable matches nobody.",
    )


class ReferenceSource(Submitted):
    """What the face is compared with: exactly one of `base64`, `url` and `embedding`."""

    base64: str | None = Field(default=None, description="A second image file, base64.")
    url: str | None = Field(default=None, max_length=MAX_URL, description="Where the service fetches a second image.")
    embedding: ReferenceVector | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(given is not None for given in (self.base64, self.url, self.embedding)) != 1:
            msg = "give exactly one of base64, url and embedding"
            raise ValueError(msg)
        return self


WebhookEvents = Annotated[list[EventType], Field(min_length=1, max_length=10), AfterValidator(_subscribable)]
"""Types of events that may be asked for."""


class WebhookSpec(Submitted):
    """Who is told of the end: an address that comes with the job."""

    url: str = Field(min_length=1, max_length=MAX_URL, description="Where the callback is posted, `https://` only.")
    events: WebhookEvents | None = Field(default=None, description="Which ends it is told of; all, where left out.")
    payload: PayloadForm = Field(default=PayloadForm.THIN, description="`full` sends the job, not only where it is.")
    include_embeddings: bool = Field(default=False, description="Whether a full payload holds embeddings.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent with the callback, at most 10. Their values are shown nowhere again."
    )


class JobSubmission(Submitted):
    """The JSON form of `POST /v1/jobs`. Exactly one of `image` and `images` is required."""

    operation: Operation
    image: ImageSource | None = Field(default=None, description="The image to analyze.")
    images: list[ImageSource] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_IMAGES,
        description="In place of `image`: several of one person, for `register`. Only the first may be an address.",
    )
    reference: ReferenceSource | None = Field(default=None, description="Needed by `verify`, refused elsewhere.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the operation.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description=f"Yours; given back with the job. At most {MAX_METADATA_BYTES} bytes as JSON."
    )
    priority: Priority = Field(
        default=Priority.NORMAL, description="Who goes first. Low ones move too, however many high ones come."
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Who is told of the end, beside the registered endpoints."
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


class JobWebhook(BaseModel):
    """Who is told of the job's end."""

    origin: str = Field(description="Scheme and host of the address; the rest of it is shown nowhere.")
    events: list[EventType]
    payload: PayloadForm


class JobUrls(BaseModel):
    """Where to go from here."""

    self: str
    events: str = Field(description="Server-sent events: every transition, then the end.")
    cancel: str
    retry: str | None = Field(description="Set for a failed job that may be retried, and was not.")
    deliveries: str = Field(description="Who was told of its end, and how that went.")


class JobSummary(BaseModel):
    """A job without its result, as lists have it."""

    id: str = Field(examples=[JOB_ID])
    operation: Operation
    status: Status
    priority: Priority
    created_at: Time
    started_at: Time | None = Field(description="Start of the latest attempt.")
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the finished job can no longer be read.")
    start_by: Time | None = Field(description="A job that no worker has started by then expires (`Cancel-After`).")
    attempts: int = Field(ge=0, description="How often a worker has started it.")
    params: dict[str, Any] = Field(
        description="The parameters in force. A reference embedding is shown by its `dimensions` and `contract` only."
    )
    metadata: dict[str, Any]
    image_origin: str | None = Field(
        description="Scheme and host of the address that the image is fetched from; the rest of it is shown nowhere."
    )
    reference_origin: str | None = Field(description="The same of the reference.")
    error: JobError | None = Field(description="Set once the job has failed.")
    metrics: JobMetrics
    provenance: JobProvenance | None
    webhook: JobWebhook | None = Field(description="Who is told of its end, beside the registered endpoints.")
    batch_id: str | None = Field(description="The batch that it belongs to.")
    retry_of: str | None = Field(description="The failed job that this one repeats.")
    retried_as: str | None = Field(description="The job that repeats this failed one.")
    urls: JobUrls


class JobBody(JobSummary):
    """A job."""

    result: Result | None = Field(description="Set once the job has succeeded. Its `kind` tells its shape.")


class JobList(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[JobSummary]
    next_cursor: str | None = Field(description="For the next page; null where this is the last.")


class JobQuery(BaseModel):
    """Which jobs are listed; every condition must hold."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    operation: Operation | None = None
    created_after: Annotated[AwareDatetime, BeforeValidator(only_rfc3339)] | None = Field(
        default=None, description="RFC 3339; that moment is not included."
    )
    dead_lettered: bool = Field(
        default=False, description="Only those that failed because no worker could finish them."
    )
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Jobs on a page.")
    cursor: str | None = Field(
        default=None, description="`next_cursor` of the page before; the conditions must be the same."
    )


class TransitionEvent(BaseModel):
    """The data of one event of a job's stream."""

    number: int = Field(ge=1, description="The how-manieth transition of the job; also the event's id.")
    status: Status
    at: Time
