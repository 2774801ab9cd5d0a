"""What receivers get, for the `webhooks` part of the OpenAPI document; nothing here is ever called."""

from typing import Any, Final

from fastapi import FastAPI

from api.webhook_schemas import BatchCallback, JobCallback, SessionCallback, TestCallback
from shared.webhooks import EventType

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
