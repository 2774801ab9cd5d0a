"""Request and response bodies of batches, with their OpenAPI descriptions and examples."""

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
"""Jobs in one response: with several embeddings per job, a few megabytes."""


class ItemFields(Submitted):
    """The fields of one item. Missing fields default to those of the batch."""

    operation: Operation | None = None
    reference: ReferenceSource | None = Field(
        default=None, description="Required for `verify`, rejected for other operations."
    )
    params: dict[str, Any] | None = Field(
        default=None, description="Parameters of this item; replaces those of the batch."
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Your own data, returned with the job of this item."
    )


class BatchItem(ItemFields):
    """One item of a JSON batch."""

    image: ImageSource


class BatchSubmission(Submitted):
    """The JSON form of `POST /v1/batches`."""

    operation: Operation | None = Field(default=None, description="Default operation of the items.")
    params: dict[str, Any] = Field(default_factory=dict, description="Default parameters of the items.")
    priority: Priority = Priority.NORMAL
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=f"Your own data, returned with the batch. At most {MAX_METADATA_BYTES} bytes as JSON.",
    )
    webhook: WebhookSpec | None = Field(
        default=None, description="Where to report the completion, in addition to the registered endpoints."
    )
    items: list[BatchItem] = Field(min_length=1)


class BatchForm(FormSchema):
    """The multipart form of `POST /v1/batches`."""

    images: list[File] = Field(min_length=1, description="One image file per item.")
    operation: Operation | None = None
    params: JsonText | None = Field(default=None, description="JSON object with the default parameters of the items.")
    priority: Priority | None = None
    metadata: JsonText | None = Field(default=None, description="JSON object of your own, returned with the batch.")
    webhook: Json[WebhookSpec] | None = Field(
        default=None,
        description="JSON object: where to report the completion, in addition to the registered endpoints.",
    )
    items: JsonText | None = Field(
        default=None,
        description="JSON array with one object per image, in the same order, that sets `operation`, `params`, "
        "`metadata`, and `reference` of that item.",
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
"""Models that only hand-written parts of the OpenAPI document refer to."""


class BatchUrls(BaseModel):
    """Related URLs."""

    self: str
    jobs: str
    cancel: str
    deliveries: str


class BatchBody(BaseModel):
    """A batch."""

    id: str = Field(examples=[BATCH_ID])
    status: BatchStatus = Field(description="`completed` when every job of the batch has ended.")
    created_at: Time
    finished_at: Time | None
    expires_at: Time | None = Field(description="When the completed batch is deleted.")
    total: int = Field(ge=1, description="Number of items.")
    counts: dict[Status, int] = Field(description="Number of jobs by status.")
    metadata: dict[str, Any]
    urls: BatchUrls


class BatchPart(Strict):
    """Which jobs of a batch to list."""

    start: int = Field(default=0, ge=0, le=1_000_000, description="Index of the first item.")
    limit: int = Field(default=MAX_PART, ge=1, le=MAX_PART, description="Maximum number of items.")


class NumberedJob(BaseModel):
    """The job of one item."""

    index: int = Field(ge=0, description="Index of the item, from 0.")
    job: JobBody


class BatchJobs(BaseModel):
    """A page of the jobs of a batch, in the order of its items."""

    jobs: list[NumberedJob]
    next_start: int | None = Field(description="`start` of the next page; null on the last page.")


def batch_path(batch_id: str) -> str:
    """The path of a batch."""
    return f"/v1/batches/{batch_id}"


def batch_content(batch: Batch) -> dict[str, Any]:
    """The JSON content of a `BatchBody`."""
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


def jobs_content(jobs: list[tuple[int, Job]], *, next_start: int | None) -> dict[str, Any]:
    """The JSON content of a `BatchJobs`."""
    return {"jobs": [{"index": index, "job": job_content(job)} for index, job in jobs], "next_start": next_start}
