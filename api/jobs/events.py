"""A job's life as it happens: server-sent events, from its history."""

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
"""A comment goes out after this long without an event, so that no proxy takes the line for dead."""
END: Final = "end"
"""The id of the last event: whoever comes back with it has seen everything."""
HEADERS: Final = {"X-Accel-Buffering": "no"}
_AT: Final = "2026-11-24T09:30:00.125Z"
EVENT_STREAM: Final[dict[str, Any]] = {
    "description": "Named by the status, with the number of the transition as id and a TransitionEvent as data; then "
    "`end` with the whole job (JobBody) as data, or `deleted`.",
    "content": {
        "text/event-stream": {
            "x-item-schema": {  # `itemSchema` of OpenAPI 3.2; 3.1 has no word for it
                "type": "object",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string", "enum": [*Status, "end", "deleted"]},
                    "id": {"type": "string", "description": "The transition's number, or `end`."},
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
        204: {"description": "The caller has had the last event (`Last-Event-ID: end`): nothing more will come."},
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
        Header(description="Id of the last event that the caller has: the stream goes on behind it."),
    ] = None,
) -> Response:
    """Every transition of a job as a server-sent event: those that were at once, the others as they happen.

    The event is named by the status, its id is the number of the transition. The last event is `end`, with the whole
    job, or `deleted` where the job was erased meanwhile; then the stream closes. A comment comes every 15 s.
    """
    job = await backend.waiting.read(job_id, tenant=caller.tenant)
    if last_event_id == END and job.status.is_terminal:
        return Response(status_code=204)
    request.state.discloses = True  # the end comes with the result
    return EventSourceResponse(_stream(job, _seen(last_event_id, job), backend.waiting), headers=HEADERS)


def _seen(last_event_id: str | None, job: Job) -> int:
    """How many events the caller has; an id that was never given out counts as none."""
    text = last_event_id or ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < len("1000000") else 0
    return number if number <= len(job.history) else 0


async def _stream(job: Job, seen: int, waiting: Waiting) -> AsyncIterator[bytes]:
    if job.status.is_terminal:
        yield _events(job, seen)
        return
    with waiting.watch(job.id, tenant=job.tenant, transitions=True) as watch:
        while not waiting.stopping:
            with suppress(UnavailableError):  # the store is away: once it is back the watch hears of it
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
