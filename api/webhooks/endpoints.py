"""Webhook endpoints: register, change, rotate, enable, disable, test, and send again what failed."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Query, Request
from starlette.responses import Response

from api.deps import BackendDep, SettingsDep, WebhooksAdmin
from api.http.headers import etag, read_if_match
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
    found = backend.stores.endpoints.read(endpoint_id) if is_endpoint_id(endpoint_id) else None
    if found is None or found.tenant != caller.tenant:
        raise no_such_endpoint()
    return found


EndpointDep = Annotated[Endpoint, Depends(_endpoint)]
"""The caller's endpoint that the path names; whose it is never changes, so what follows is done to its own."""


@router.post(
    "",
    status_code=201,
    summary="Register an endpoint",
    response_model=EndpointWithSecret,
    response_description="Registered. The secret is shown this once.",
    responses=problem_responses(
        *BODY_CODES,
        ErrorCode.WEBHOOK_URL_REFUSED,
        ErrorCode.TOO_MANY_ENDPOINTS,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.INTERNAL_ERROR,
    ),
)
async def register_endpoint(
    asked: EndpointSubmission, caller: WebhooksAdmin, backend: BackendDep, settings: SettingsDep
) -> Response:
    """Register a receiver. It is told of what ends from now on, signed with the secret of the answer."""
    policy = settings.webhook_policy
    policy.check_url(asked.url, field="url")
    policy.check_headers(asked.headers, field="headers")
    secret = new_secret()
    endpoint = Endpoint(
        id=new_endpoint_id(),
        url=asked.url,
        events=tuple(dict.fromkeys(asked.events or SUBSCRIBABLE)),
        secrets=(Secret(secret, created_at=0),),
        tenant=caller.tenant,
        description=asked.description,
        payload=asked.payload,
        include_embeddings=asked.include_embeddings,
        headers=asked.headers,
    )
    created = await to_thread.run_sync(partial(backend.stores.endpoints.create, endpoint, grant=caller.grant))
    return json_answer(endpoint_content(created, secret=secret), status=201, headers=etag(created.version))


@router.get(
    "",
    summary="List endpoints",
    response_model=EndpointList,
    response_description="Every endpoint, the newest first.",
    responses=problem_responses(ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_endpoints(caller: WebhooksAdmin, backend: BackendDep) -> Response:
    """List every endpoint of your tenant, without its secrets."""
    found = await to_thread.run_sync(partial(backend.stores.endpoints.all, tenant=caller.tenant))
    return json_answer({"endpoints": [endpoint_content(each) for each in found]})


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
    summary="Change an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint as it is now.",
    responses=problem_responses(*CODES, *BODY_CODES, ErrorCode.WEBHOOK_URL_REFUSED, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def change_endpoint(
    request: Request, endpoint: EndpointDep, asked: EndpointChange, backend: BackendDep, settings: SettingsDep
) -> Response:
    """Change the given fields and no other. Callbacks that are still to be sent follow the new values."""
    policy = settings.webhook_policy
    if asked.url is not None:
        policy.check_url(asked.url, field="url")
    if asked.headers is not None:
        policy.check_headers(asked.headers, field="headers")
    given = asked.model_dump(exclude_none=True)
    if "events" in given:
        given["events"] = tuple(dict.fromkeys(given["events"]))
    versions = read_if_match(request.headers.getlist("if-match"))
    return await _found(lambda: backend.stores.endpoints.change(endpoint.id, given, versions=versions))


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    summary="Delete an endpoint",
    response_description="It is gone, with its secrets.",
    responses=problem_responses(*CODES, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def delete_endpoint(request: Request, endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Delete an endpoint. Callbacks that are still to be sent to it are dropped."""
    versions = read_if_match(request.headers.getlist("if-match"))
    if not await to_thread.run_sync(partial(backend.stores.endpoints.delete, endpoint.id, versions=versions)):
        raise no_such_endpoint()
    return Response(status_code=204)


@router.post(
    "/{endpoint_id}/rotate-secret",
    summary="Rotate the secret",
    response_model=EndpointWithSecret,
    response_description="The new secret is shown this once.",
    responses=problem_responses(*CODES, *BODY_CODES),
)
async def rotate_secret(
    endpoint: EndpointDep,
    backend: BackendDep,
    asked: Annotated[Rotation | None, Body()] = None,
) -> Response:
    """Sign with a new secret from now on; until the overlap ends, with those before too."""
    secret = new_secret()
    overlap = timedelta(seconds=(asked or Rotation()).overlap_seconds)
    return await _found(lambda: backend.stores.endpoints.rotate(endpoint.id, secret, overlap=overlap), secret=secret)


@router.post(
    "/{endpoint_id}/enable",
    summary="Enable an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint, enabled.",
    responses=problem_responses(*CODES),
)
async def enable_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Tell it of what ends from now on. What failed meanwhile is sent where `resend` asks for it."""
    return await _found(lambda: backend.stores.endpoints.enable(endpoint.id))


@router.post(
    "/{endpoint_id}/disable",
    summary="Disable an endpoint",
    response_model=EndpointBody,
    response_description="The endpoint, disabled.",
    responses=problem_responses(*CODES),
)
async def disable_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Send it nothing more. What is still to be sent fails, and can be sent again once it is enabled."""
    return await _found(lambda: backend.stores.endpoints.disable(endpoint.id, DisabledReason.BY_REQUEST))


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    summary="Send a test",
    response_model=DeliveryBody,
    response_description="The delivery of the test; read it to see what came of it.",
    responses=problem_responses(*CODES),
)
async def test_endpoint(endpoint: EndpointDep, backend: BackendDep) -> Response:
    """Send `webhook.test` to the endpoint, also to one that is disabled."""
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
    """List what was, and is to be, sent to an endpoint, the newest first."""
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
    summary="Send again what failed",
    response_model=Resent,
    response_description="They are due now.",
    responses=problem_responses(*CODES, *BODY_CODES),
)
async def resend_failed(
    endpoint: EndpointDep, asked: ResendFailed, caller: WebhooksAdmin, backend: BackendDep
) -> Response:
    """Send every failed delivery made since then again, each under its old `webhook-id`."""
    resend = partial(backend.stores.deliveries.resend_failed, endpoint.id, tenant=caller.tenant)
    return json_answer({"resent": await to_thread.run_sync(partial(resend, since=asked.since.timestamp()))}, status=202)


async def _found(read: Callable[[], Endpoint | None], *, secret: str | None = None) -> Response:
    endpoint = await to_thread.run_sync(read)
    if endpoint is None:
        raise no_such_endpoint()
    return json_answer(endpoint_content(endpoint, secret=secret), headers=etag(endpoint.version))


def no_such_endpoint() -> RequestError:
    """What is said of an id that no endpoint has."""
    return RequestError(ErrorCode.ENDPOINT_NOT_FOUND, "There is no webhook endpoint with this id.")
