"""Jobs: submit one, read or wait for it, cancel, erase, retry; and list them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.deps import BackendDep, JobIdDep, JobsReader, JobsWriter, SettingsDep
from api.http.forms import media_type, read_form, refuse_media_type
from api.http.headers import granted_wait, read_cancel_after, read_idempotency_key, read_prefer
from api.http.openapi import (
    CANCEL_AFTER,
    IDEMPOTENCY_KEY,
    IMAGE_CODES,
    JOB_HEADERS,
    PREFER,
    READ_CODES,
    REPLAYED,
    problem_responses,
)
from api.http.pagination import read_cursor, write_cursor
from api.http.responses import json_answer
from api.jobs.forms import JOB_BODY
from api.jobs.idempotency import fingerprint, known_as, reserved
from api.jobs.parsing import FORM_FIELDS, check_size, from_form, from_json
from api.jobs.schemas import JobBody, JobList, JobQuery
from api.jobs.submit import limits, new_id, submit
from shared.errors import ErrorCode, UnavailableError
from shared.job_content import job_content, job_path, job_summary
from shared.jobs import Job, shard_of
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import no_such_job
from shared.observability import request_context
from shared.operations import RegisterParams, VerifyParams

ROUTE: Final = "POST /v1/jobs"
"""What an idempotency key is good for: the same key at another call is another key."""
RETRY_AFTER: Final = {"Retry-After": "1"}

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.post(
    "/jobs",
    status_code=202,
    summary="Submit a job",
    response_model=JobBody,
    response_description="On record; it has not ended yet.",
    responses={
        200: {
            "model": JobBody,
            "description": "Ended: within the wait that was asked for, or before, where the submission is repeated.",
            "headers": {name: JOB_HEADERS[name] for name in ("Location", "Preference-Applied")} | REPLAYED,
        },
        202: {"headers": JOB_HEADERS | REPLAYED},
        **problem_responses(
            *IMAGE_CODES,
            ErrorCode.MALFORMED_JSON,
            ErrorCode.INVALID_EMBEDDING,
            ErrorCode.IMAGE_URLS_OFF,
            ErrorCode.IMAGE_URL_REFUSED,
            ErrorCode.WEBHOOKS_OFF,
            ErrorCode.WEBHOOK_URL_REFUSED,
            ErrorCode.IDEMPOTENCY_MISMATCH,
            ErrorCode.IDEMPOTENCY_IN_PROGRESS,
            ErrorCode.JOB_NOT_FOUND,
        ),
    },
    openapi_extra={**JOB_BODY, "parameters": [PREFER, IDEMPOTENCY_KEY, CANCEL_AFTER]},
)
async def submit_job(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> Response:
    """Put a job on record and answer at once, or, with `Prefer: wait=N`, once it has ended.

    Once this answers 200 or 202 the job is kept: it will be done even if every process restarts meanwhile.
    With an `Idempotency-Key`, the same submission sent again is answered with the first job. Where that job was
    erased while it was waited for, or has expired, the answer is 404.
    """
    start_within = read_cancel_after(request.headers.getlist("cancel-after"))
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    asked = read_prefer(request.headers.getlist("prefer"))
    wait = granted_wait(asked.wait, settings.wait_limit)
    policy, hooks = settings.url_policy, settings.webhook_policy
    async with reserved(backend.stores.idempotency, tenant=caller.tenant, route=ROUTE, key=key) as reservation:
        kind = media_type(request)
        if kind == "multipart/form-data":
            form = await read_form(request, FORM_FIELDS)
            read = partial(from_form, form, policy=policy, hooks=hooks)
        elif kind == "application/json":
            read = partial(from_json, await request.body(), policy=policy, hooks=hooks)
        else:
            refuse_media_type("multipart/form-data", "application/json")
        job_id = (
            reservation.known.id
            if reservation.known
            else new_id(backend.stores.jobs, shard=reservation.shard if key is not None else None)
        )

        def accept() -> Job | None:
            submission = replace(
                read(),
                start_within=start_within,
                tenant=caller.tenant,
                grant=caller.grant,
                quality_policy=caller.quality_policy,
            )
            mark = fingerprint(submission.content) if key is not None else ""
            if known_as(reservation, mark):
                return None
            params = submission.params
            if isinstance(params, VerifyParams) and params.reference_embedding is not None:
                check_size(params.reference_embedding.vector, backend.workers.alive(), name="The reference embedding")
            if isinstance(params, RegisterParams):
                for index, known in enumerate(params.known_embeddings):
                    check_size(known.vector, backend.workers.alive(), name=f"Known embedding {index}")
            job = submit(
                submission,
                job_id=job_id,
                ledger=backend.stores.jobs,
                doorbell=backend.doorbell,
                settings=settings,
                result_ttl=settings.result_ttl,
                under=reservation.sealed(mark),
            )
            backend.wake_fetcher()
            return job

        # The watch begins before the job is there: no end of it is missed, and none has to be looked for.
        with backend.waiting.watch(job_id, tenant=caller.tenant) as watch:
            accepted = await to_thread.run_sync(accept)
            job = accepted or await watch.read()
            if wait:
                with suppress(UnavailableError):  # on record: an error now would make the client submit it twice
                    job = await watch.end(job, timeout=timedelta(seconds=wait))
    more = {"Location": job_path(job.id)} | ({} if accepted else {"Idempotent-Replayed": "true"})
    ended = job.status.is_terminal
    applied = ["respond-async"] if asked.respond_async and not ended else []
    return _answer(job, status=200 if ended else 202, applied=[*applied, *_waited(wait)], headers=more)


@router.get(
    "/jobs",
    summary="List jobs",
    response_model=JobList,
    response_description="A page of jobs, without their results.",
    responses=problem_responses(ErrorCode.INVALID_REQUEST, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_jobs(caller: JobsReader, backend: BackendDep, query: Annotated[JobQuery, Query()]) -> Response:
    """List your tenant's jobs, the newest first. A list entry is a job without its `result`: read the job for that.

    `next_cursor` leads to the next page. Jobs that come or go meanwhile shift nothing: no page shows a job twice.
    """
    wanted = JobFilter(
        status=query.status,
        operation=query.operation,
        created_after=query.created_after.timestamp() if query.created_after else None,
        dead_lettered=query.dead_lettered,
        tenant=caller.tenant,
    )
    after = read_cursor(query.cursor, wanted) if query.cursor else None
    page = await to_thread.run_sync(partial(backend.stores.listing.page, wanted, limit=query.limit, after=after))
    content = {
        "jobs": [job_summary(job) for job in page.jobs],
        "next_cursor": write_cursor(page.next, wanted) if page.next else None,
    }
    return json_answer(content)


@router.get(
    "/jobs/{job_id}",
    summary="Read a job",
    response_model=JobBody,
    response_description="The job as it is now.",
    openapi_extra={"parameters": [PREFER]},
    responses={
        200: {"headers": {name: JOB_HEADERS[name] for name in ("Retry-After", "Preference-Applied")}},
        **problem_responses(*READ_CODES, ErrorCode.INVALID_REQUEST),
    },
)
async def read_job(
    request: Request,
    caller: JobsReader,
    job_id: JobIdDep,
    backend: BackendDep,
    settings: SettingsDep,
    wait: Annotated[int | None, Query(ge=0, description="Wait up to this many seconds for the end of the job.")] = None,
) -> Response:
    """Read a job, at once or, with `wait`, when it has ended. Hanging up cancels nothing."""
    asked = read_prefer(request.headers.getlist("prefer")).wait if wait is None else wait
    granted = granted_wait(asked, settings.wait_limit)
    within = timedelta(seconds=granted or 0)
    job = await backend.waiting.wait_for_end(job_id, tenant=caller.tenant, timeout=within)
    request.state.discloses = job.result is not None
    return _answer(job, status=200, applied=_waited(granted))


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job",
    response_model=JobBody,
    response_description="The job, canceled now or before.",
    responses=problem_responses(*READ_CODES, ErrorCode.JOB_ENDED),
)
async def cancel_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep) -> Response:
    """End a job that waits or runs, now. Its images are erased in the same step; a result that comes later is dropped.

    A job that has been canceled is answered again; one with another end is not changed: 409.
    """
    job = await to_thread.run_sync(partial(backend.stores.jobs.cancel, job_id, tenant=caller.tenant))
    return _answer(job, status=200)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Erase a job",
    response_description="Nothing is left of it.",
    responses=problem_responses(*READ_CODES),
)
async def delete_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep) -> Response:
    """Erase a job in any state, now: images, result, metadata, and a result kept for repeated images.

    Whoever waits for it is answered 404. Its `Idempotency-Key` is free again.
    """
    if not await to_thread.run_sync(partial(backend.stores.jobs.delete, job_id, tenant=caller.tenant)):
        raise no_such_job()
    return Response(status_code=204)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    summary="Retry a failed job",
    response_model=JobBody,
    response_description="The new job.",
    responses={
        200: {
            "model": JobBody,
            "description": "The job was retried before; the job that came of it has ended.",
            "headers": {"Location": JOB_HEADERS["Location"]},
        },
        202: {"headers": {name: JOB_HEADERS[name] for name in ("Location", "Retry-After")}},
        **problem_responses(*READ_CODES, ErrorCode.NOT_RETRYABLE, ErrorCode.QUEUE_FULL, ErrorCode.QUOTA_EXCEEDED),
    },
)
async def retry_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep, settings: SettingsDep) -> Response:
    """Put a job that failed in line again, as a new job with the same images, parameters and metadata.

    The failed job stays as it is, and names the new one in `retried_as`. Asked again, it is the same new job.
    Only a job whose error is `retryable` can be retried, as long as its images are kept (`VULTUS_RETRY_WINDOW`).
    """

    def retry() -> Job:
        most = limits(settings, tenant=caller.tenant, grant=caller.grant)
        fresh = new_id(backend.stores.jobs, shard=shard_of(job_id))
        job = backend.stores.jobs.retry(
            job_id, new_id=fresh, limits=most, tenant=caller.tenant, context=request_context.current()
        )
        if job.id == fresh:
            backend.doorbell.ring()
            backend.wake_fetcher()
        return job

    job = await to_thread.run_sync(retry)
    return _answer(job, status=200 if job.status.is_terminal else 202, headers={"Location": job_path(job.id)})


def _answer(
    job: Job, *, status: int, applied: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Response:
    more = dict(headers or {})
    if not job.status.is_terminal:
        more |= RETRY_AFTER
    if applied:
        more["Preference-Applied"] = ", ".join(applied)
    # pydantic's writer takes a tenth of the standard one's time on embeddings
    return json_answer(job_content(job), status=status, headers=more)


def _waited(granted: int | None) -> list[str]:
    return [] if granted is None else [f"wait={granted}"]
