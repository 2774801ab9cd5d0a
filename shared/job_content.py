"""The JSON form of a job, used in API responses and in callbacks."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from shared.jobs import Job, Provenance, Transition, origin_of
from shared.webhooks.schemas import Webhook

METRICS: Final = (
    "queue_ms",
    "decode_ms",
    "detect_ms",
    "align_ms",
    "embed_ms",
    "liveness_ms",
    "attributes_ms",
    "total_ms",
)
"""Always present; null if the operation does not have the stage."""

EMBEDDINGS: Final = ("reference_embedding", "known_embeddings")
"""Parameters that hold embeddings: biometric data, and up to 64 x 512 numbers."""
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""The last second that RFC 3339 can express."""

_PROVENANCE: Final = tuple(field.name for field in fields(Provenance))


def job_summary(job: Job) -> dict[str, Any]:
    """Return the job without its result: `JobSummary` of the API."""
    return {
        "id": job.id,
        "operation": job.operation.value,
        "status": job.status.value,
        "priority": job.priority.value,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
        "start_by": rfc3339(job.start_by),
        "attempts": job.attempts,
        "params": outlined(job.params),
        "metadata": job.metadata,
        "image_origin": job.image_origin,
        "reference_origin": job.reference_origin,
        "error": None
        if job.error is None
        else {"code": job.error.code.value, "detail": job.error.detail, "retryable": job.error.retryable},
        "metrics": {**dict.fromkeys(METRICS), **(job.metrics or {})},
        "provenance": None if job.provenance is None else {name: getattr(job.provenance, name) for name in _PROVENANCE},
        "webhook": None if job.webhook is None else webhook_content(job.webhook),
        "batch_id": job.batch,
        "retry_of": job.retry_of,
        "retried_as": job.retried_as,
        "urls": _urls(job),
    }


def webhook_content(webhook: Webhook) -> dict[str, Any]:
    """Return where the result is delivered: `JobWebhook` of the API."""
    return {
        "origin": origin_of(webhook.url),
        "events": [event.value for event in webhook.events],
        "payload": webhook.payload.value,
    }


def job_content(job: Job) -> dict[str, Any]:
    """Return the job with its result as the worker wrote it: `JobBody` of the API."""
    return {**job_summary(job), "result": job.result}


def job_path(job_id: str) -> str:
    """Return the path of a job."""
    return f"/v1/jobs/{job_id}"


def _urls(job: Job) -> dict[str, str | None]:
    path = job_path(job.id)
    may_retry = job.error is not None and job.error.retryable and job.retried_as is None
    return {
        "self": path,
        "events": f"{path}/events",
        "cancel": f"{path}/cancel",
        "retry": f"{path}/retry" if may_retry else None,
        "deliveries": f"{path}/deliveries",
    }


def transition_content(transition: Transition) -> dict[str, Any]:
    """Return a transition: `TransitionEvent` of the API."""
    return {"number": transition.number, "status": transition.status.value, "at": rfc3339(transition.at)}


def rfc3339(seconds: float | None) -> str | None:
    """Format seconds since the epoch as RFC 3339 in UTC, to the millisecond, clamped to the years 1970 to 9999."""
    if seconds is None:
        return None
    return (
        datetime.fromtimestamp(min(max(seconds, 0.0), LAST), tz=UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def outlined(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with each embedding replaced by an outline. Outlines are kept unchanged."""
    content = dict(params)
    for name in EMBEDDINGS:
        if value := params.get(name):
            content[name] = [_outline(each) for each in value] if isinstance(value, list) else _outline(value)
    return content


def _outline(embedding: Mapping[str, Any]) -> dict[str, Any]:
    if "vector" not in embedding:
        return dict(embedding)
    return {"dimensions": len(embedding["vector"]), "contract": embedding.get("contract")}
