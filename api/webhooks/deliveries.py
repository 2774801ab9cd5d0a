"""Delivery routes: list, read, resend."""

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


async def _delivery_id(delivery_id: str) -> str:
    if not is_delivery_id(delivery_id):
        raise no_such_delivery()
    return delivery_id


DeliveryIdDep = Annotated[str, Depends(_delivery_id)]


@router.get(
    "/jobs/{job_id}/deliveries",
    summary="List the deliveries of a job",
    response_model=SubjectDeliveries,
    response_description="The deliveries of the job.",
    responses=problem_responses(*READ_CODES),
)
async def list_job_deliveries(caller: JobsReader, job_id: JobIdDep, backend: BackendDep) -> Response:
    """List the webhook deliveries of a job. The list is empty until the job ends."""

    def read() -> list[dict[str, object]]:
        deliveries = backend.stores.deliveries.of_subject(job_id, tenant=caller.tenant)
        job = None if deliveries else backend.stores.jobs.read(job_id)
        if not deliveries and (job is None or job.tenant != caller.tenant):
            raise no_such_job()
        return [delivery_content(each) for each in deliveries]

    return json_answer({"deliveries": await to_thread.run_sync(read)})


@router.get(
    "/batches/{batch_id}/deliveries",
    summary="List the deliveries of a batch",
    response_model=SubjectDeliveries,
    response_description="The deliveries of the batch.",
    responses=problem_responses(*BATCH_READ_CODES),
)
async def list_batch_deliveries(caller: JobsReader, batch_id: BatchIdDep, backend: BackendDep) -> Response:
    """List the webhook deliveries of a batch completion. The deliveries of its jobs are listed per job."""

    def read() -> list[dict[str, object]]:
        deliveries = backend.stores.deliveries.of_subject(batch_id, tenant=caller.tenant)
        if not deliveries and backend.stores.batches.read(batch_id, tenant=caller.tenant) is None:
            raise no_such_batch()
        return [delivery_content(each) for each in deliveries]

    return json_answer({"deliveries": await to_thread.run_sync(read)})


@router.get(
    "/webhook-deliveries/{delivery_id}",
    summary="Read a delivery",
    response_model=DeliveryWithLog,
    response_description="The delivery with its latest attempts.",
    responses=problem_responses(*CODES),
)
async def read_delivery(caller: JobsReader, delivery_id: DeliveryIdDep, backend: BackendDep) -> Response:
    """Read a delivery with its latest 20 attempts: the request, the response, and the duration of each."""

    def read() -> dict[str, object]:
        delivery = backend.stores.deliveries.read(delivery_id, tenant=caller.tenant)
        if delivery is None:
            raise no_such_delivery()
        log = [attempt_content(each) for each in backend.stores.deliveries.attempts(delivery_id)]
        return {**delivery_content(delivery), "log": log}

    return json_answer(await to_thread.run_sync(read))


@router.post(
    "/webhook-deliveries/{delivery_id}/resend",
    status_code=202,
    summary="Resend a delivery",
    response_model=DeliveryBody,
    response_description="The delivery, due now.",
    responses=problem_responses(*CODES),
)
async def resend_delivery(caller: WebhooksAdmin, delivery_id: DeliveryIdDep, backend: BackendDep) -> Response:
    """Resend a delivery in any state, with the same `webhook-id`. Its retry schedule starts over."""
    delivery = await to_thread.run_sync(partial(backend.stores.deliveries.resend, delivery_id, tenant=caller.tenant))
    if delivery is None:
        raise no_such_delivery()
    return json_answer(delivery_content(delivery), status=202)


def no_such_delivery() -> RequestError:
    """The error for an unknown delivery id."""
    return RequestError(ErrorCode.DELIVERY_NOT_FOUND, "Delivery not found. It may have expired.")
