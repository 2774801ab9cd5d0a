"""Job routes: submit, list, read, wait, cancel, delete, retry."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.backend.backend import Backend
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
from api.jobs.idempotency import fingerprint, replayed_id, reserved
from api.jobs.parsing import FORM_FIELDS, check_size, embeddings_of, from_form, from_json
from api.jobs.schemas import JobBody, JobList, JobQuery
from api.jobs.submit import Submission, limits, new_id, submit
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, UnavailableError
from shared.job_content import job_content, job_path, job_summary
from shared.jobs import Job, shard_of
from shared.ledger.idempotency import NO_KEY, Reservation
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import no_such_job
from shared.observability import request_context

ROUTE: Final = "POST /v1/jobs"
"""The scope of an idempotency key: the same key on another route is a different key."""
RETRY_AFTER: Final = {"Retry-After": "1"}

router = APIRouter(prefix="/v1", tags=["jobs"])


@router.post(
    "/jobs",
    status_code=202,
    summary="Submit a job",
    response_model=JobBody,
    response_description="The job is stored and has not ended yet.",
    responses={
        200: {
            "model": JobBody,
            "description": "The job has ended: within the requested wait, or earlier if the submission is a repeat.",
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
    """Submit a job. The response is immediate or, with `Prefer: wait=N`, sent when the job ends.

    After a 200 or 202 the job is stored durably: it completes even if every process restarts. If you repeat a
    submission with the same `Idempotency-Key`, the response is the original job. If that job has expired, or is
    deleted while you wait, the response is 404.
    """
    start_within = read_cancel_after(request.headers.getlist("cancel-after"))
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    preferences = read_prefer(request.headers.getlist("prefer"))
    wait = granted_wait(preferences.wait, settings.wait_limit)
    async with reserved(backend.stores.idempotency, tenant=caller.tenant, route=ROUTE, key=key) as reservation:
        parse = await _receive(request, settings)
        job_id = _job_id(reservation, backend)

        def accept() -> Job | None:
            """Parse, check, and submit; None if the submission is a repeat."""
            submission = replace(
                parse(),
                start_within=start_within,
                tenant=caller.tenant,
                grant=caller.grant,
                quality_policy=caller.quality_policy,
            )
            mark = fingerprint(submission.content) if key is not None else ""
            if replayed_id(reservation, mark):
                return None
            for name, vector in embeddings_of(submission.params).items():
                check_size(vector, backend.workers.alive(), name=name)
            return _submit(submission, job_id, backend, settings, reservation.sealed(mark))

        # Watching starts before the job exists, so its end cannot be missed and need not be polled for.
        with backend.waiting.watch(job_id, tenant=caller.tenant) as watch:
            accepted = await to_thread.run_sync(accept)
            job = accepted or await watch.read()
            if wait:
                with suppress(UnavailableError):  # the job is stored: an error now would make the client resubmit
                    job = await watch.end(job, timeout=timedelta(seconds=wait))
    return _submitted(job, replayed=accepted is None, respond_async=preferences.respond_async, wait=wait)


async def _receive(request: Request, settings: ApiSettings) -> Callable[[], Submission]:
    """Receive the body. The returned function parses it and may block.

    Raises:
        RequestError: `unsupported_media_type`, or the form cannot be read.
    """
    policy, hooks = settings.url_policy, settings.webhook_policy
    kind = media_type(request)
    if kind == "multipart/form-data":
        form = await read_form(request, FORM_FIELDS)
        return partial(from_form, form, policy=policy, hooks=hooks)
    if kind != "application/json":
        refuse_media_type("multipart/form-data", "application/json")
    return partial(from_json, await request.body(), policy=policy, hooks=hooks)


def _job_id(reservation: Reservation, backend: Backend) -> str:
    """The id of the job: under a key the one that it led to before, else a new one on the shard of the key."""
    if reservation.known:
        return reservation.known.id
    return new_id(backend.stores.jobs, shard=None if reservation is NO_KEY else reservation.shard)


def _submitted(job: Job, *, replayed: bool, respond_async: bool, wait: int | None) -> Response:
    headers = {"Location": job_path(job.id)} | ({"Idempotent-Replayed": "true"} if replayed else {})
    ended = job.status.is_terminal
    applied = ["respond-async"] if respond_async and not ended else []
    return _answer(job, status=200 if ended else 202, applied=[*applied, *_waited(wait)], headers=headers)


def _submit(
    submission: Submission, job_id: str, backend: Backend, settings: ApiSettings, reservation: Reservation
) -> Job:
    job = submit(
        submission,
        job_id=job_id,
        ledger=backend.stores.jobs,
        doorbell=backend.doorbell,
        settings=settings,
        result_ttl=settings.result_ttl,
        under=reservation,
    )
    backend.wake_fetcher()
    return job


@router.get(
    "/jobs",
    summary="List jobs",
    response_model=JobList,
    response_description="A page of jobs, without their results.",
    responses=problem_responses(ErrorCode.INVALID_REQUEST, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_jobs(caller: JobsReader, backend: BackendDep, query: Annotated[JobQuery, Query()]) -> Response:
    """List your tenant's jobs, newest first. Entries have no `result`; read the job to get it.

    Pass `next_cursor` as `cursor` to get the next page. Jobs that are added or removed while you page do not shift
    the pages: no job appears twice.
    """
    conditions = JobFilter(
        status=query.status,
        operation=query.operation,
        created_after=query.created_after.timestamp() if query.created_after else None,
        dead_lettered=query.dead_lettered,
        tenant=caller.tenant,
    )
    after = read_cursor(query.cursor, conditions) if query.cursor else None
    page = await to_thread.run_sync(partial(backend.stores.listing.page, conditions, limit=query.limit, after=after))
    content = {
        "jobs": [job_summary(job) for job in page.jobs],
        "next_cursor": write_cursor(page.next, conditions) if page.next else None,
    }
    return json_answer(content)


@router.get(
    "/jobs/{job_id}",
    summary="Read a job",
    response_model=JobBody,
    response_description="The current state of the job.",
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
    wait: Annotated[int | None, Query(ge=0, description="Wait up to this many seconds for the job to end.")] = None,
) -> Response:
    """Read a job, immediately or, with `wait`, when it has ended. Closing the connection does not cancel the job."""
    requested = read_prefer(request.headers.getlist("prefer")).wait if wait is None else wait
    granted = granted_wait(requested, settings.wait_limit)
    timeout = timedelta(seconds=granted or 0)
    job = await backend.waiting.wait_for_end(job_id, tenant=caller.tenant, timeout=timeout)
    request.state.discloses = job.result is not None
    return _answer(job, status=200, applied=_waited(granted))


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job",
    response_model=JobBody,
    response_description="The canceled job.",
    responses=problem_responses(*READ_CODES, ErrorCode.JOB_ENDED),
)
async def cancel_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep) -> Response:
    """Cancel a queued or running job. Its images are erased in the same step, and a late result is discarded.

    Canceling a canceled job returns it again. A job that ended in any other way is not changed: 409.
    """
    job = await to_thread.run_sync(partial(backend.stores.jobs.cancel, job_id, tenant=caller.tenant))
    return _answer(job, status=200)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Delete a job",
    response_description="Deleted.",
    responses=problem_responses(*READ_CODES),
)
async def delete_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep) -> Response:
    """Delete a job in any state, with its images, result, metadata, and any cached result for the same image.

    Requests that are waiting for the job get 404. Its `Idempotency-Key` can be used again.
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
            "description": "The job was retried earlier, and the new job has ended.",
            "headers": {"Location": JOB_HEADERS["Location"]},
        },
        202: {"headers": {name: JOB_HEADERS[name] for name in ("Location", "Retry-After")}},
        **problem_responses(*READ_CODES, ErrorCode.NOT_RETRYABLE, ErrorCode.QUEUE_FULL, ErrorCode.QUOTA_EXCEEDED),
    },
)
async def retry_job(caller: JobsWriter, job_id: JobIdDep, backend: BackendDep, settings: SettingsDep) -> Response:
    """Queue a failed job again, as a new job with the same images, parameters, and metadata.

    The failed job does not change, except that `retried_as` names the new job. Repeating the call returns the same
    new job. A job can be retried if its error is `retryable` and its images are still stored (`VULTUS_RETRY_WINDOW`).
    """

    def retry() -> Job:
        retry_id = new_id(backend.stores.jobs, shard=shard_of(job_id))
        job = backend.stores.jobs.retry(
            job_id,
            new_id=retry_id,
            limits=limits(settings, tenant=caller.tenant, grant=caller.grant),
            tenant=caller.tenant,
            context=request_context.current(),
        )
        if job.id == retry_id:
            backend.doorbell.ring()
            backend.wake_fetcher()
        return job

    job = await to_thread.run_sync(retry)
    return _answer(job, status=200 if job.status.is_terminal else 202, headers={"Location": job_path(job.id)})


def _answer(
    job: Job, *, status: int, applied: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Response:
    all_headers = dict(headers or {})
    if not job.status.is_terminal:
        all_headers |= RETRY_AFTER
    if applied:
        all_headers["Preference-Applied"] = ", ".join(applied)
    # On embeddings, pydantic's serializer takes a tenth of the standard library's time.
    return json_answer(job_content(job), status=status, headers=all_headers)


def _waited(granted: int | None) -> list[str]:
    return [] if granted is None else [f"wait={granted}"]
