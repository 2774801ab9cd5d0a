"""The `webhooks` section of the OpenAPI document: the callbacks that receivers get. Documentation only."""

from typing import Any, Final, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from api.http.schemas import Time
from api.jobs.schemas import JobBody
from shared.errors import ErrorCode
from shared.jobs import Status
from shared.liveness_sessions import Reason, SessionStatus
from shared.operations import Operation
from shared.webhooks.schemas import EventType


class ThinJob(BaseModel):
    """A job in a thin callback."""

    id: str
    operation: Operation
    status: Status
    finished_at: Time
    error_code: ErrorCode | None = Field(description="Why the job failed.")
    url: str = Field(description="URL of the job.")
    full: Literal[False]
    reason: str | None = Field(default=None, description="Why the payload is thin although `full` was requested.")


class FullJob(JobBody):
    """A job in a full callback, as `GET` returns it. Embeddings are omitted unless requested."""

    url: str
    full: Literal[True]


class CompletedBatch(BaseModel):
    """A batch in a callback."""

    id: str
    status: Literal["completed"]
    total: int
    counts: dict[Status, int]
    url: str


class CompletedSession(BaseModel):
    """A liveness session in a callback."""

    id: str
    status: SessionStatus
    reason: Reason | None = Field(description="Why the session did not pass.")
    url: str = Field(description="URL of the session, with the evidence of each step.")


class TestData(BaseModel):
    """The data of a test callback."""

    __test__ = False
    id: str = Field(description="Id of the endpoint.")
    message: str


class JobCallback(BaseModel):
    """The body of a callback about a job."""

    type: EventType
    timestamp: Time = Field(description="When the job ended.")
    data: ThinJob | FullJob


class BatchCallback(BaseModel):
    """The body of a callback about a batch."""

    type: Literal["batch.completed"]
    timestamp: Time
    data: CompletedBatch


class SessionCallback(BaseModel):
    """The body of a callback about a liveness session."""

    type: Literal["liveness_session.completed"]
    timestamp: Time
    data: CompletedSession


class TestCallback(BaseModel):
    """The body of a test callback."""

    __test__ = False
    type: Literal["webhook.test"]
    timestamp: Time
    data: TestData


_HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": name,
        "in": "header",
        "required": True,
        "description": meaning,
        "schema": {"type": "string"},
        "example": example,
    }
    for name, meaning, example in (
        ("webhook-id", "Id of the event, the same for every attempt. Use it to recognize duplicates.", "evt_0001..."),
        ("webhook-timestamp", "Time of this attempt, in seconds since the epoch.", "1790000000"),
        (
            "webhook-signature",
            "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`. During a rotation, several separated by spaces.",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        ),
    )
]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "2XX": {"description": "Received. Respond within 15 s; anything else is retried."},
    410: {"description": "Gone. The endpoint is disabled and receives nothing more."},
}
_BODIES: Final = {
    EventType.BATCH_COMPLETED: BatchCallback,
    EventType.SESSION_COMPLETED: SessionCallback,
    EventType.TEST: TestCallback,
}
_SUMMARIES: Final = {
    EventType.JOB_SUCCEEDED: "A job succeeded",
    EventType.JOB_FAILED: "A job failed",
    EventType.JOB_CANCELED: "A job was canceled",
    EventType.JOB_EXPIRED: "A job expired before it started",
    EventType.BATCH_COMPLETED: "Every job of a batch has ended",
    EventType.SESSION_COMPLETED: "A liveness session ended",
    EventType.TEST: "A test that you requested",
}


def document(app: FastAPI) -> None:
    """Add every event to the document."""
    for event, summary in _SUMMARIES.items():
        app.webhooks.post(
            event.value,
            name=f"on_{event.value.replace('.', '_')}",
            summary=summary,
            status_code=204,
            tags=["webhooks"],
            responses=_RESPONSES,
            openapi_extra={"parameters": _HEADERS},
        )(_receiver(_BODIES.get(event, JobCallback)))


def _receiver(body: Any) -> Any:
    async def receive(callback: Any) -> None:
        """Verify the signature, store the event, and respond with 2xx."""

    receive.__annotations__ = {"callback": body, "return": None}
    return receive
