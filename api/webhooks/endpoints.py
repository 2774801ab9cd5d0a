"""Webhook endpoint routes: register, list, read, update, delete, rotate, enable, disable, test, resend."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Query
from starlette.responses import Response

from api.deps import BackendDep, IfMatchDep, SettingsDep, WebhooksAdmin
from api.http.headers import etag
from api.http.openapi import BODY_CODES, IF_MATCH, problem_responses
from api.http.pagination import read_delivery_cursor, write_delivery_cursor
from api.http.responses import json_answer
from api.webhooks.schemas import (
    DeliveryBody,
    DeliveryList,
    DeliveryQuery,
    EndpointBody,
    EndpointChange,
    EndpointList,
    EndpointSubmission,
    EndpointWithSecret,
    ResendFailed,
    Resent,
    Rotation,
    delivery_content,
    endpoint_content,
)
from shared.errors import ErrorCode, RequestError
from shared.webhooks.schemas import SUBSCRIBABLE, DisabledReason, Endpoint, Secret, is_endpoint_id, new_endpoint_id
from shared.webhooks.signing import new_secret

CODES: Final = (ErrorCode.ENDPOINT_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"])


def _endpoint(endpoint_id: str, caller: WebhooksAdmin, backend: BackendDep) -> Endpoint:
    endpoint = backend.stores.endpoints.read(endpoint_id) if is_endpoint_id(endpoint_id) else None
    if endpoint is None or endpoint.tenant != caller.tenant:
        raise no_such_endpoint()
    return endpoint


EndpointDep = Annotated[Endpoint, Depends(_endpoint)]
"""The endpoint of the path, which belongs to the caller's tenant. An endpoint never changes its tenant."""


@router.post(
    "",
    status_code=201,
    summary="Register an endpoint",
    response_model=EndpointWithSecret,
    response_description="The endpoint. Its secret is shown only once.",
    responses=problem_responses(
        *BODY_CODES,
        ErrorCode.WEBHOOK_URL_REFUSED,
        ErrorCode.TOO_MANY_ENDPOINTS,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.INTERNAL_ERROR,
    ),
)
async def register_endpoint(
    submission: EndpointSubmission, caller: WebhooksAdmin, backend: BackendDep, settings: SettingsDep
) -> Response:
    """Register an endpoint. It receives events from now on, signed with the secret in the response."""
    policy = settings.webhook_policy
    policy.check_url(submission.url, field="url")
    policy.check_headers(submission.headers, field="headers")
    secret = new_secret()
    endpoint = Endpoint(
        id=new_endpoint_id(),
        url=submission.url,
        events=tuple(dict.fromkeys(submission.events or SUBSCRIBABLE)),
        secrets=(Secret(secret, created_at=0),),
        tenant=caller.tenant,
        description=submission.description,
        payload=submission.payload,
        include_embeddings=submission.include_embeddings,
        headers=submission.headers,
    )
    created = await to_thread.run_sync(partial(backend.stores.endpoints.create, endpoint, grant=caller.grant))
    return json_answer(endpoint_content(created, secret=secret), status=201, headers=etag(created.version))


@router.get(
    "",
    summary="List endpoints",
    response_model=EndpointList,
    response_description="Every endpoint, newest first.",
    responses=problem_responses(ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_endpoints(caller: WebhooksAdmin, backend: BackendDep) -> Response:
    """List every endpoint of your tenant, without secrets."""
    endpoints = await to_thread.run_sync(partial(backend.stores.endpoints.all, tenant=caller.tenant))
    return json_answer({"endpoints": [endpoint_content(each) for each in endpoints]})


@router.get(
    "/{endpoint_id}",
    summary="Read an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint.",
    responses=problem_responses(*CODES),
)
async def read_endpoint(endpoint: EndpointDep) -> Response:
    """Read an endpoint, without its secrets."""
    return json_answer(endpoint_content(endpoint), headers=etag(endpoint.version))


@router.patch(
    "/{endpoint_id}",
    summary="Update an endpoint",
    response_model=EndpointBody,
    response_description="The updated endpoint.",
    responses=problem_responses(*CODES, *BODY_CODES, ErrorCode.WEBHOOK_URL_REFUSED, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def change_endpoint(
    endpoint: EndpointDep, change: EndpointChange, versions: IfMatchDep, backend: BackendDep, settings: SettingsDep
) -> Response:
    """Update only the given fields. Pending callbacks use the new values."""
    policy = settings.webhook_policy
    if change.url is not None:
        policy.check_url(change.url, field="url")
    if change.headers is not None:
        policy.check_headers(change.headers, field="headers")
    values = change.model_dump(exclude_none=True)
    if "events" in values:
        values["events"] = tuple(dict.fromkeys(values["events"]))
    return await _changed(lambda: backend.stores.endpoints.change(endpoint.id, values, versions=versions))


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    summary="Delete an endpoint",
    response_description="Deleted, with its secrets.",
    responses=problem_responses(*CODES, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def delete_endpoint(endpoint: EndpointDep, versions: IfMatchDep, backend: BackendDep) -> Response:
    """Delete an endpoint. Its pending callbacks are discarded."""
    if not await to_thread.run_sync(partial(backend.stores.endpoints.delete, endpoint.id, versions=versions)):
        raise no_such_endpoint()
    return Response(status_code=204)


@router.post(
    "/{endpoint_id}/rotate-secret",
    summary="Rotate the secret",
    response_model=EndpointWithSecret,
    response_description="The endpoint. Its new secret is shown only once.",
    responses=problem_responses(*CODES, *BODY_CODES),
)
async def rotate_secret(
    endpoint: EndpointDep,
    backend: BackendDep,
    rotation: Annotated[Rotation | None, Body()] = None,
) -> Response:
    """Create a new secret. Until the overlap ends, callbacks are also signed with the previous secrets."""
    secret = new_secret()
    overlap = timedelta(seconds=(rotation or Rotation()).overlap_seconds)
    return await _changed(lambda: backend.stores.endpoints.rotate(endpoint.id, secret, overlap=overlap), secret=secret)


@router.post(
    "/{endpoint_id}/enable",
    summary="Enable an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint, enabled.",
    responses=problem_responses(*CODES),
)
async def enable_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Enable an endpoint: it receives events from now on. Use `resend` for deliveries that failed in the meantime."""
    return await _changed(lambda: backend.stores.endpoints.enable(endpoint.id))


@router.post(
    "/{endpoint_id}/disable",
    summary="Disable an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint, disabled.",
    responses=problem_responses(*CODES),
)
async def disable_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Disable an endpoint. Pending deliveries fail, and can be resent after the endpoint is enabled again."""
    return await _changed(lambda: backend.stores.endpoints.disable(endpoint.id, DisabledReason.BY_REQUEST))


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    summary="Send a test event",
    response_model=DeliveryBody,
    response_description="The delivery of the test. Read it to see the outcome.",
    responses=problem_responses(*CODES),
)
async def test_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Send a `webhook.test` event to the endpoint, even if the endpoint is disabled."""
    return json_answer(
        delivery_content(await to_thread.run_sync(backend.stores.deliveries.send_test, endpoint)), status=202
    )


@router.get(
    "/{endpoint_id}/deliveries",
    summary="List deliveries",
    response_model=DeliveryList,
    response_description="A page of deliveries.",
    responses=problem_responses(*CODES, ErrorCode.INVALID_REQUEST),
)
async def list_deliveries(
    endpoint: EndpointDep, backend: BackendDep, query: Annotated[DeliveryQuery, Query()]
) -> Response:
    """List the deliveries of an endpoint, sent and pending, newest first."""
    before = read_delivery_cursor(query.cursor, of=endpoint.id) if query.cursor else None

    def read() -> dict[str, object]:
        page = backend.stores.deliveries.of_destination(
            endpoint.id, limit=query.limit, status=query.status, before=before
        )
        cursor = write_delivery_cursor(page.next, of=endpoint.id) if page.next else None
        return {"deliveries": [delivery_content(each) for each in page.deliveries], "next_cursor": cursor}

    return json_answer(await to_thread.run_sync(read))


@router.post(
    "/{endpoint_id}/resend",
    status_code=202,
    summary="Resend failed deliveries",
    response_model=Resent,
    response_description="The number of deliveries that are due again.",
    responses=problem_responses(*CODES, *BODY_CODES),
)
async def resend_failed(
    endpoint: EndpointDep, selection: ResendFailed, caller: WebhooksAdmin, backend: BackendDep
) -> Response:
    """Resend every failed delivery created since the given time, each with the same `webhook-id`."""
    resend = partial(backend.stores.deliveries.resend_failed, endpoint.id, tenant=caller.tenant)
    count = await to_thread.run_sync(partial(resend, since=selection.since.timestamp()))
    return json_answer({"resent": count}, status=202)


async def _changed(change: Callable[[], Endpoint | None], *, secret: str | None = None) -> Response:
    endpoint = await to_thread.run_sync(change)
    if endpoint is None:
        raise no_such_endpoint()
    return json_answer(endpoint_content(endpoint, secret=secret), headers=etag(endpoint.version))


def no_such_endpoint() -> RequestError:
    """The error for an unknown endpoint id."""
    return RequestError(ErrorCode.ENDPOINT_NOT_FOUND, "Webhook endpoint not found.")
