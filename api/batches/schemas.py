"""Bodies of batches, with the descriptions and examples that OpenAPI shows."""

from typing import Any, Final

from pydantic import BaseModel, Field, Json

from api.http.request_bodies import BASE64_EXAMPLE, File, FormSchema, JsonText, json_body, multipart, request_body
from api.http.schemas import Time
from api.jobs.schemas import MAX_METADATA_BYTES, ImageSource, JobBody, ReferenceSource, WebhookSpec
from shared.faces import Strict
from shared.job_content import job_content, rfc3339
from shared.jobs import Batch, BatchStatus, Job, Priority, Status
from shared.operations import Operation
from shared.submitted import Submitted

BATCH_ID: Final = "batch_00019b8d3c1a386d5a7c90e1d24f68ab0c"
MAX_PART: Final = 100
"""Jobs in one answer: with embeddings of several faces each they are some megabytes."""


class ItemFields(Submitted):
    """What one item has of its own; where it says nothing, the batch's fields hold."""

    operation: Operation | None = None
    reference: ReferenceSource | None = Field(default=None, description="Needed by `verify`, refused elsewhere.")
    params: dict[str, Any] | None = Field(default=None, description="Instead of the batch's.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Yours; given back with the item's job.")


class BatchItem(ItemFields):
    """One item of a JSON batch."""

    image: ImageSource


class BatchSubmission(Submitted):
    """The JSON form of `POST /v1/batches`."""

    operation: Operation | None = Field(default=None, description="Of every item that names none.")
    params: dict[str, Any] = Field(default_factory=dict, description="Of every item that has none.")
    priority: Priority = Priority.NORMAL
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Yours; given back with the batch. At most {MAX_METADATA_BYTES} bytes as JSON.",
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Who is told of the completion, beside the registered endpoints."
    )
    items: list[BatchItem] = Field(min_length=1)


class BatchForm(FormSchema):
    """The multipart form of `POST /v1/batches`."""

    images: list[File] = Field(min_length=1, description="One file for each item.")
    operation: Operation | None = None
    params: JsonText | None = Field(default=None, description="JSON object: the parameters of every item.")
    priority: Priority | None = None
    metadata: JsonText | None = Field(default=None, description="JSON object: yours, given back with the batch.")
    webhook: Json[WebhookSpec] | None = Field(
        default=None, description="JSON object: where the completion is reported."
    )
    items: JsonText | None = Field(
        default=None,
        description="JSON array with an object for each image, in their order: `operation`, `params`, `metadata`, "
        "`reference` of that item.",
    )


BATCH_BODY: Final = request_body(
    multipart(BatchForm, "images", examples={"detect": {"operation": "detect", "images": ["(file)", "(file)"]}}),
    json_body(
        BatchSubmission,
        {
            "detect": {
                "operation": "detect",
                "items": [
                    {"image": {"base64": BASE64_EXAMPLE}, "metadata": {"row": 1}},
                    {"image": {"base64": BASE64_EXAMPLE}, "params": {"max_faces": 1}},
                ],
            }
        },
    ),
)
DOCUMENTED: Final = (BatchForm, BatchSubmission)
"""The models that only hand-written parts of the OpenAPI document refer to."""


class BatchUrls(BaseModel):
    """Where to go from here."""

    self: str
    jobs: str
    cancel: str
    deliveries: str


class BatchBody(BaseModel):
    """A batch."""

    id: str = Field(examples=[BATCH_ID])
    status: BatchStatus = Field(description="`completed` once every job of it has ended.")
    created_at: Time
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the completed batch can no longer be read.")
    total: int = Field(ge=1, description="Its items.")
    counts: dict[Status, int] = Field(description="Its jobs by status.")
    metadata: dict[str, Any]
    urls: BatchUrls


class BatchPart(Strict):
    """Which jobs of a batch are listed."""

    start: int = Field(default=0, ge=0, le=1_000_000, description="Number of the first item.")
    limit: int = Field(default=MAX_PART, ge=1, le=MAX_PART, description="How many items.")


class NumberedJob(BaseModel):
    """The job of one item."""

    index: int = Field(ge=0, description="Number of the item, from 0.")
    job: JobBody


class BatchJobs(BaseModel):
    """Some jobs of a batch, in the order of its items."""

    jobs: list[NumberedJob]
    next_start: int | None = Field(description="`start` of the next part; null where this is the last.")


def batch_path(batch_id: str) -> str:
    """Where a batch is read."""
    return f"/v1/batches/{batch_id}"


def batch_content(batch: Batch) -> dict[str, Any]:
    """The batch as BatchBody describes it."""
    path = batch_path(batch.id)
    return {
        "id": batch.id,
        "status": batch.status.value,
        "created_at": rfc3339(batch.created_at),
        "finished_at": rfc3339(batch.finished_at),
        "expires_at": rfc3339(batch.expires_at),
        "total": batch.total,
        "counts": {status.value: batch.counts.get(status, 0) for status in Status},
        "metadata": batch.metadata,
        "urls": {"self": path, "jobs": f"{path}/jobs", "cancel": f"{path}/cancel", "deliveries": f"{path}/deliveries"},
    }


def jobs_content(found: list[tuple[int, Job]], *, next_start: int | None) -> dict[str, Any]:
    """Jobs as BatchJobs describes them."""
    return {"jobs": [{"index": index, "job": job_content(job)} for index, job in found], "next_start": next_start}
