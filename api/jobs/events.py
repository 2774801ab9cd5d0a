"""Server-sent events: the transitions of a job, from its history and as they happen."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic_core import to_json
from starlette.responses import Response

from api.backend.waiting import Waiting
from api.deps import BackendDep, JobIdDep, JobsReader
from api.http.openapi import READ_CODES, problem_responses
from api.http.request_bodies import REF
from api.jobs.schemas import JobBody, TransitionEvent
from shared.errors import RequestError, UnavailableError
from shared.job_content import job_content, transition_content
from shared.jobs import Job, Status

PING: Final = timedelta(seconds=15)
"""Send a comment after this long without an event, so that no proxy closes an idle connection."""
END: Final = "end"
"""Id of the last event. A client that reconnects with it has received everything."""
HEADERS: Final = {"X-Accel-Buffering": "no"}
_AT: Final = "2026-11-24T09:30:00.125Z"
EVENT_STREAM: Final[dict[str, Any]] = {
    "description": "One event per transition: its name is the status, its id the sequence number, and its data a "
    "TransitionEvent. The last event is `end`, with the complete job (JobBody) as data, or `deleted`.",
    "content": {
        "text/event-stream": {
            "x-item-schema": {  # `itemSchema` in OpenAPI 3.2; 3.1 has no equivalent
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string", "enum": [*Status, "end", "deleted"]},
                    "id": {"type": "string", "description": "Sequence number of the transition, or `end`."},
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": {
                            "anyOf": [{"$ref": REF.format(model=kind.__name__)} for kind in (TransitionEvent, JobBody)]
                        },
                    },
                },
            },
            "example": f'event: queued\ndata: {{"number":1,"status":"queued","at":"{_AT}"}}\nid: 1\n\n: ping\n\n',
        }
    },
}

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: EVENT_STREAM,
        204: {"description": "The client already has the last event (`Last-Event-ID: end`). Do not reconnect."},
        **problem_responses(*READ_CODES),
    },
)
async def follow_job(
    request: Request,
    caller: JobsReader,
    job_id: JobIdDep,
    backend: BackendDep,
    last_event_id: Annotated[
        str | None,
        Header(description="Id of the last event received. The stream resumes after it."),
    ] = None,
) -> Response:
    """Stream every transition of a job as server-sent events: past transitions first, then new ones as they happen.

    The event name is the status and the event id is the sequence number of the transition. The last event is `end`,
    with the complete job, or `deleted` if the job was deleted. The stream then closes. A comment is sent after 15 s
    without an event to keep the connection open.
    """
    job = await backend.waiting.read(job_id, tenant=caller.tenant)
    if last_event_id == END and job.status.is_terminal:
        return Response(status_code=204)
    request.state.discloses = True  # the last event contains the result
    return EventSourceResponse(_stream(job, _seen(last_event_id, job), backend.waiting), headers=HEADERS)


def _seen(last_event_id: str | None, job: Job) -> int:
    """The number of events that the client has; 0 for an id that was never sent."""
    text = last_event_id or ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < len("1000000") else 0
    return number if number <= len(job.history) else 0


async def _stream(job: Job, seen: int, waiting: Waiting) -> AsyncIterator[bytes]:
    if job.status.is_terminal:
        yield _events(job, seen)
        return
    with waiting.watch(job.id, tenant=job.tenant, transitions=True) as watch:
        while not waiting.stopping:
            with suppress(UnavailableError):  # the watch is notified when the store is back
                try:
                    job = await watch.read()
                except RequestError:
                    yield format_sse_event(event="deleted", data_str=to_json({"id": job.id}).decode())
                    return
                news = _events(job, seen)
                seen = len(job.history)
                if news:
                    yield news
                if job.status.is_terminal:
                    return
            while not await watch.happened(within=PING):
                yield KEEPALIVE_COMMENT


def _events(job: Job, seen: int) -> bytes:
    news = [
        format_sse_event(event=step.status.value, id=str(step.number), data_str=_text(transition_content(step)))
        for step in job.history[seen:]
    ]
    if job.status.is_terminal:
        news.append(format_sse_event(event=END, id=END, data_str=_text(job_content(job))))
    return b"".join(news)


def _text(content: object) -> str:
    return to_json(content).decode()
