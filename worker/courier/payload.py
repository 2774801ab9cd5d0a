"""What an event says: thin by default, the job as its reader sees it where that was asked for."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from shared.deliveries import Event
from shared.job_content import job_content, rfc3339
from shared.jobs import Job
from shared.webhooks.schemas import EventType

ERASED = "the job has expired or was erased"
TOO_LARGE = "the job is larger than a callback may be"


def body(event: Event, *, base_url: str, job: Job | None, full: bool, embeddings: bool, most: int) -> bytes:
    """The JSON body of an event, compact; every attempt sends these bytes and signs them.

    Args:
        event: what happened.
        base_url: what the addresses in it begin with; empty, they are paths.
        job: the job as it is now, None where it is gone; of use for a full body alone.
        full: whether the whole job was asked for. Where it cannot be had, the thin data says why.
        embeddings: whether a full body holds embeddings.
        most: bytes that a body may have; a larger one is sent thin.
    """
    thin = _thin(event, base_url)
    if not full or event.type not in _OF_JOBS:
        return _written(event, thin)
    if job is None:
        return _written(event, {**thin, "reason": ERASED})
    shown = job_content(job)
    if not embeddings:  # those of the result alone: metadata belongs to the caller, whatever its keys are called
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
        return {"id": event.subject, "message": "This is a test: nothing has happened."}
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
