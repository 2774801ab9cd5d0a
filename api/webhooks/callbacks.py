"""Callbacks that receivers get, for the `webhooks` section of the OpenAPI document. No code here is called."""

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
    error_code: ErrorCode | None = Field(description="Why it failed.")
    url: str = Field(description="Where it is read.")
    full: Literal[False]
    reason: str | None = Field(default=None, description="Why a full payload is not.")


class FullJob(JobBody):
    """A job in a full callback: as it is read, without its embeddings unless they were asked for."""

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
    reason: Reason | None = Field(description="Why it did not pass.")
    url: str = Field(description="Where it is read, with the evidence of each step.")


class TestData(BaseModel):
    """What a test says."""

    __test__ = False
    id: str = Field(description="The endpoint's id.")
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
    """The body of a test."""

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
        ("webhook-id", "The event's id, the same at every attempt: what to tell repeats by.", "evt_0001..."),
        ("webhook-timestamp", "Seconds since the epoch, of this attempt.", "1790000000"),
        (
            "webhook-signature",
            "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several with spaces between during a rotation.",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        ),
    )
]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "2XX": {"description": "Taken; within 15 s. Anything else is sent again."},
    410: {"description": "Gone for good: nothing more is sent to this endpoint."},
}
_BODIES: Final = {
    EventType.BATCH_COMPLETED: BatchCallback,
    EventType.SESSION_COMPLETED: SessionCallback,
    EventType.TEST: TestCallback,
}
_SUMMARIES: Final = {
    EventType.JOB_SUCCEEDED: "A job has succeeded",
    EventType.JOB_FAILED: "A job has failed",
    EventType.JOB_CANCELED: "A job was canceled",
    EventType.JOB_EXPIRED: "A job has expired before it started",
    EventType.BATCH_COMPLETED: "Every job of a batch has ended",
    EventType.SESSION_COMPLETED: "A liveness session has ended",
    EventType.TEST: "A test that was asked for",
}


def document(app: FastAPI) -> None:
    """Put every event into the document."""
    for event, summary in _SUMMARIES.items():
        app.webhooks.post(
            event.value,
            name=f"on_{event.value.replace('.', '_')}",
            summary=summary,
            status_code=204,
            tags=["webhooks"],
            responses=_RESPONSES,
            openapi_extra={"parameters": _HEADERS},
        )(_told(_BODIES.get(event, JobCallback)))


def _told(body: Any) -> Any:
    async def told(callback: Any) -> None:
        """Answer with 2xx as soon as it is kept; verify the signature first."""

    told.__annotations__ = {"callback": body, "return": None}
    return told
