"""Deliveries: what was sent, what was answered, and once more."""

from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Depends
from starlette.responses import Response

from api.batches.routes import BatchIdDep, no_such_batch
from api.deps import BackendDep, JobIdDep, JobsReader, WebhooksAdmin
from api.http.openapi import BATCH_READ_CODES, READ_CODES, problem_responses
from api.http.responses import json_answer
from api.webhooks.schemas import DeliveryBody, DeliveryWithLog, SubjectDeliveries, attempt_content, delivery_content
from shared.deliveries import is_delivery_id
from shared.errors import ErrorCode, RequestError
from shared.ledger.jobs.store import no_such_job

CODES: Final = (ErrorCode.DELIVERY_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

router = APIRouter(prefix="/v1", tags=["webhooks"])


def _delivery_id(delivery_id: str) -> str:
    if not is_delivery_id(delivery_id):
        raise no_such_delivery()
    return delivery_id


DeliveryIdDep = Annotated[str, Depends(_delivery_id)]


@router.get(
    "/jobs/{job_id}/deliveries",
    summary="List the deliveries of a job",
    response_model=SubjectDeliveries,
    response_description="Who was told of its end, and how that went.",
    responses=problem_responses(*READ_CODES),
)
async def list_job_deliveries(caller: JobsReader, job_id: JobIdDep, backend: BackendDep) -> Response:
    """List the deliveries of the job's end; none as long as it has not ended."""

    def read() -> list[dict[str, object]]:
        found = backend.stores.deliveries.of_subject(job_id, tenant=caller.tenant)
        job = None if found else backend.stores.jobs.read(job_id)
        if not found and (job is None or job.tenant != caller.tenant):
            raise no_such_job()
        return [delivery_content(each) for each in found]

    return json_answer({"deliveries": await to_thread.run_sync(read)})


@router.get(
    "/batches/{batch_id}/deliveries",
    summary="List the deliveries of a batch",
    response_model=SubjectDeliveries,
    response_description="Who was told of its completion, and how that went.",
    responses=problem_responses(*BATCH_READ_CODES),
)
async def list_batch_deliveries(caller: JobsReader, batch_id: BatchIdDep, backend: BackendDep) -> Response:
    """List the deliveries of the batch's completion; those of its jobs are with the jobs."""

    def read() -> list[dict[str, object]]:
        found = backend.stores.deliveries.of_subject(batch_id, tenant=caller.tenant)
        if not found and backend.stores.batches.read(batch_id, tenant=caller.tenant) is None:
            raise no_such_batch()
        return [delivery_content(each) for each in found]

    return json_answer({"deliveries": await to_thread.run_sync(read)})


@router.get(
    "/webhook-deliveries/{delivery_id}",
    summary="Read a delivery",
    response_model=DeliveryWithLog,
    response_description="The delivery with its last attempts.",
    responses=problem_responses(*CODES),
)
async def read_delivery(caller: JobsReader, delivery_id: DeliveryIdDep, backend: BackendDep) -> Response:
    """Read a delivery with its last 20 attempts: what was sent, what was answered, how long it took."""

    def read() -> dict[str, object]:
        found = backend.stores.deliveries.read(delivery_id, tenant=caller.tenant)
        if found is None:
            raise no_such_delivery()
        log = [attempt_content(each) for each in backend.stores.deliveries.attempts(delivery_id)]
        return {**delivery_content(found), "log": log}

    return json_answer(await to_thread.run_sync(read))


@router.post(
    "/webhook-deliveries/{delivery_id}/resend",
    status_code=202,
    summary="Send a delivery again",
    response_model=DeliveryBody,
    response_description="It is due now.",
    responses=problem_responses(*CODES),
)
async def resend_delivery(caller: WebhooksAdmin, delivery_id: DeliveryIdDep, backend: BackendDep) -> Response:
    """Send a delivery now, in whatever state it is, under its old `webhook-id`; its schedule begins anew."""
    found = await to_thread.run_sync(partial(backend.stores.deliveries.resend, delivery_id, tenant=caller.tenant))
    if found is None:
        raise no_such_delivery()
    return json_answer(delivery_content(found), status=202)


def no_such_delivery() -> RequestError:
    """What is said of an id that no delivery has."""
    return RequestError(ErrorCode.DELIVERY_NOT_FOUND, "There is no delivery with this id, or it has expired.")
