"""Event payloads: thin by default, or the full job as the API returns it."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from shared.deliveries import Event
from shared.job_content import job_content, rfc3339
from shared.jobs import Job
from shared.webhooks.schemas import EventType

ERASED = "the job has expired or was erased"
TOO_LARGE = "the job exceeds the maximum size of a callback"


def body(event: Event, *, base_url: str, job: Job | None, full: bool, embeddings: bool, most: int) -> bytes:
    """Return the compact JSON body of an event; these are the bytes that are signed and sent.

    Args:
        event: the event to describe.
        base_url: prefix of the URLs in the body; if empty, they are paths.
        job: the current job, or None if it no longer exists; used for full bodies only.
        full: whether to include the whole job. If that is not possible, the thin body states the reason.
        embeddings: whether a full body includes embeddings.
        most: maximum body size in bytes; a larger body is sent in the thin form.
    """
    thin = _thin(event, base_url)
    if not full or event.type not in _OF_JOBS:
        return _written(event, thin)
    if job is None:
        return _written(event, {**thin, "reason": ERASED})
    shown = job_content(job)
    if not embeddings:  # only those of the result: metadata belongs to the caller, whatever its keys are
        shown = {**shown, "result": _without_embeddings(shown["result"])}
    urls = {name: url and base_url + url for name, url in shown["urls"].items()}
    whole = _written(event, {**shown, "url": thin["url"], "full": True, "urls": urls})
    return whole if len(whole) <= most else _written(event, {**thin, "reason": TOO_LARGE})


_OF_JOBS = frozenset(
    {EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED, EventType.JOB_EXPIRED},
)


def _written(event: Event, data: Mapping[str, Any]) -> bytes:
    return to_json({"type": event.type.value, "timestamp": rfc3339(event.at), "data": data})


def _thin(event: Event, base_url: str) -> dict[str, Any]:
    if event.type is EventType.TEST:
        return {"id": event.subject, "message": "This is a test event."}
    if event.type is EventType.BATCH_COMPLETED:
        counts = {status.value: count for status, count in (event.counts or {}).items()}
        url = f"{base_url}/v1/batches/{event.subject}"
        return {"id": event.subject, "status": "completed", "total": event.total, "counts": counts, "url": url}
    if event.type is EventType.SESSION_COMPLETED:
        url = f"{base_url}/v1/liveness-sessions/{event.subject}"
        return {"id": event.subject, "status": event.status, "reason": event.code, "url": url}
    return {
        "id": event.subject,
        "operation": event.operation,
        "status": event.type.value.partition(".")[2],
        "finished_at": rfc3339(event.at),
        "error_code": event.code,
        "url": f"{base_url}/v1/jobs/{event.subject}",
        "full": False,
    }


def _without_embeddings(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_embeddings(held) for name, held in value.items() if name != "embedding"}
    if isinstance(value, list):
        return [_without_embeddings(held) for held in value]
    return value
