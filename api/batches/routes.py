"""Batch routes: submit, read, wait, list jobs, cancel, delete."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.backend.backend import Backend
from api.backend.waiting import Watch
from api.batches.schemas import BATCH_BODY, BatchBody, BatchJobs, BatchPart, batch_content, batch_path, jobs_content
from api.batches.submit import FORM_FIELDS, BatchOrder, from_form, from_manifest, new_id, submit
from api.deps import BackendDep, JobsReader, JobsWriter, SettingsDep
from api.http.forms import MAX_PARTS, media_type, read_form, refuse_media_type
from api.http.headers import granted_wait, read_idempotency_key, read_prefer
from api.http.openapi import BATCH_READ_CODES, IDEMPOTENCY_KEY, JOB_HEADERS, PREFER, REPLAYED, problem_responses
from api.http.responses import json_answer
from api.jobs.idempotency import fingerprint, replayed_id, reserved
from api.settings.api import ApiSettings
from shared.errors import ErrorCode, RequestError
from shared.jobs import Batch, BatchStatus, is_batch_id
from shared.ledger.idempotency import NO_KEY, Reservation

ROUTE: Final = "POST /v1/batches"

router = APIRouter(prefix="/v1", tags=["batches"])


async def _batch_id(batch_id: str) -> str:
    if not is_batch_id(batch_id):
        raise no_such_batch()
    return batch_id


BatchIdDep = Annotated[str, Depends(_batch_id)]


@router.post(
    "/batches",
    status_code=202,
    summary="Submit a batch",
    response_model=BatchBody,
    response_description="The batch is stored. Some of its jobs have not ended yet.",
    responses={
        200: {
            "model": BatchBody,
            "description": "The batch is completed: within the requested wait or before this response.",
            "headers": {name: JOB_HEADERS[name] for name in ("Location", "Preference-Applied")} | REPLAYED,
        },
        202: {"headers": JOB_HEADERS | REPLAYED},
        **problem_responses(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.MALFORMED_JSON,
            ErrorCode.MALFORMED_FORM,
            ErrorCode.INVALID_EMBEDDING,
            ErrorCode.WEBHOOKS_OFF,
            ErrorCode.WEBHOOK_URL_REFUSED,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.REQUEST_TOO_LARGE,
            ErrorCode.REQUEST_TIMEOUT,
            ErrorCode.GATEWAY_BUSY,
            ErrorCode.IDEMPOTENCY_MISMATCH,
            ErrorCode.IDEMPOTENCY_IN_PROGRESS,
            ErrorCode.BATCH_NOT_FOUND,
            ErrorCode.QUEUE_FULL,
            ErrorCode.QUOTA_EXCEEDED,
            ErrorCode.STORE_UNAVAILABLE,
            ErrorCode.INTERNAL_ERROR,
        ),
    },
    openapi_extra={**BATCH_BODY, "parameters": [PREFER, IDEMPOTENCY_KEY]},
)
async def submit_batch(request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep) -> Response:
    """Submit many jobs in one step. An invalid item becomes a failed job and does not affect the other items.

    The whole batch is rejected only if the request itself is invalid, or if the service accepts no jobs at the moment.
    """
    key = read_idempotency_key(request.headers.getlist("idempotency-key"))
    wait = granted_wait(read_prefer(request.headers.getlist("prefer")).wait, settings.wait_limit)
    async with reserved(backend.stores.idempotency, tenant=caller.tenant, route=ROUTE, key=key) as reservation:
        parse = await _receive(request, settings)
        batch_id = _new_or_known_id(reservation, backend)

        def accept() -> bool:
            """Parse and submit; False if the submission is a repeat."""
            order = parse()
            mark = fingerprint(order.content) if key is not None else ""
            if replayed_id(reservation, mark):
                return False
            submit(
                order,
                batch_id=batch_id,
                batches=backend.stores.batches,
                doorbell=backend.doorbell,
                settings=settings,
                tenant=caller.tenant,
                grant=caller.grant,
                quality_policy=caller.quality_policy,
                under=reservation.sealed(mark),
            )
            backend.wake_fetcher()
            return True

        with backend.waiting.watch(batch_id, tenant=caller.tenant) as watch:
            accepted = await to_thread.run_sync(accept)
            batch = await _end(backend, watch, caller.tenant, wait=wait)
    headers = {"Location": batch_path(batch.id)} | ({} if accepted else {"Idempotent-Replayed": "true"})
    return _answer(batch, status=200 if batch.status is BatchStatus.COMPLETED else 202, wait=wait, headers=headers)


def _new_or_known_id(reservation: Reservation, backend: Backend) -> str:
    """The id of the batch: under a key the one that it led to before, else a new one on the shard of the key."""
    if reservation.known:
        return reservation.known.id
    return new_id(backend.stores.jobs.shards, shard=None if reservation is NO_KEY else reservation.shard)


async def _receive(request: Request, settings: ApiSettings) -> Callable[[], BatchOrder]:
    """Receive the body. The returned function parses it and may block.

    Raises:
        RequestError: `unsupported_media_type`, or the form cannot be read.
    """
    most, hooks = settings.max_batch_items, settings.webhook_policy
    kind = media_type(request)
    if kind == "multipart/form-data":
        form = await read_form(request, FORM_FIELDS, max_parts=most + MAX_PARTS)
        return partial(from_form, form, most=most, hooks=hooks)
    if kind != "application/json":
        refuse_media_type("multipart/form-data", "application/json")
    return partial(from_manifest, await request.body(), most=most, hooks=hooks)


@router.get(
    "/batches/{batch_id}",
    summary="Read a batch",
    response_model=BatchBody,
    response_description="The current state of the batch.",
    openapi_extra={"parameters": [PREFER]},
    responses={
        200: {"headers": {name: JOB_HEADERS[name] for name in ("Retry-After", "Preference-Applied")}},
        **problem_responses(*BATCH_READ_CODES, ErrorCode.INVALID_REQUEST),
    },
)
async def read_batch(
    request: Request,
    caller: JobsReader,
    batch_id: BatchIdDep,
    backend: BackendDep,
    settings: SettingsDep,
    wait: Annotated[
        int | None, Query(ge=0, description="Wait up to this many seconds for the batch to complete.")
    ] = None,
) -> Response:
    """Read a batch, immediately or, with `wait`, when it is completed. Closing the connection does not cancel it."""
    requested = read_prefer(request.headers.getlist("prefer")).wait if wait is None else wait
    granted = granted_wait(requested, settings.wait_limit)
    with backend.waiting.watch(batch_id, tenant=caller.tenant) as watch:
        return _answer(await _end(backend, watch, caller.tenant, wait=granted), status=200, wait=granted)


@router.get(
    "/batches/{batch_id}/jobs",
    summary="List the jobs of a batch",
    response_model=BatchJobs,
    response_description="Jobs of the batch with their results, in the order of the items.",
    responses=problem_responses(*BATCH_READ_CODES, ErrorCode.INVALID_REQUEST),
)
async def list_batch_jobs(
    request: Request,
    caller: JobsReader,
    batch_id: BatchIdDep,
    backend: BackendDep,
    part: Annotated[BatchPart, Query()],
) -> Response:
    """List the jobs of a batch with their results. Deleted and expired jobs are omitted."""

    def read() -> dict[str, Any]:
        batch = backend.stores.batches.read(batch_id, tenant=caller.tenant)
        if batch is None:
            raise no_such_batch()
        jobs = backend.stores.batches.jobs(batch_id, start=part.start, count=part.limit)
        after = part.start + part.limit
        request.state.discloses = any(job.result is not None for _, job in jobs)
        return jobs_content(jobs, next_start=after if after < batch.total else None)

    return json_answer(await to_thread.run_sync(read))


@router.post(
    "/batches/{batch_id}/cancel",
    summary="Cancel a batch",
    response_model=BatchBody,
    response_description="The batch, with its unfinished jobs canceled.",
    responses=problem_responses(*BATCH_READ_CODES),
)
async def cancel_batch(caller: JobsWriter, batch_id: BatchIdDep, backend: BackendDep) -> Response:
    """Cancel every job of the batch that has not ended. Jobs that have ended do not change."""
    batch = await to_thread.run_sync(partial(backend.stores.batches.cancel, batch_id, tenant=caller.tenant))
    if batch is None:
        raise no_such_batch()
    return _answer(batch, status=200)


@router.delete(
    "/batches/{batch_id}",
    status_code=204,
    summary="Delete a batch",
    response_description="Deleted, with its jobs.",
    responses=problem_responses(*BATCH_READ_CODES),
)
async def delete_batch(caller: JobsWriter, batch_id: BatchIdDep, backend: BackendDep) -> Response:
    """Delete a batch and all its jobs, in any state."""
    if not await to_thread.run_sync(partial(backend.stores.batches.delete, batch_id, tenant=caller.tenant)):
        raise no_such_batch()
    return Response(status_code=204)


async def _end(backend: Backend, watch: Watch, tenant: str, *, wait: int | None) -> Batch:
    """Wait for the batch to complete; the batch at that time or when the wait is over."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + (wait or 0)
    while True:
        watch.forget()
        batch = await to_thread.run_sync(partial(backend.stores.batches.read, watch.job_id, tenant=tenant))
        if batch is None:
            raise no_such_batch()
        left = min(deadline, backend.waiting.last_call or deadline) - clock()
        if batch.status is BatchStatus.COMPLETED or left <= 0:
            return batch
        await watch.happened(within=timedelta(seconds=left))


def _answer(
    batch: Batch, *, status: int, wait: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    all_headers = dict(headers or {})
    if batch.status is not BatchStatus.COMPLETED:
        all_headers["Retry-After"] = "1"
    if wait is not None:
        all_headers["Preference-Applied"] = f"wait={wait}"
    return json_answer(batch_content(batch), status=status, headers=all_headers)


def no_such_batch() -> RequestError:
    """The error for an unknown batch id."""
    return RequestError(ErrorCode.BATCH_NOT_FOUND, "Batch not found. It may have expired or been deleted.")
