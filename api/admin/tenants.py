"""Tenants: register, change, give out all that one has, erase it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from api.admin.schemas import (
    Erased,
    QuotasBody,
    TenantBody,
    TenantChange,
    TenantList,
    TenantSubmission,
    entry_content,
    key_content,
    tenant_content,
)
from api.auth.authenticator import FRESH
from api.backend.backend import Backend
from api.batches.schemas import batch_content
from api.deps import Admin, BackendDep
from api.http.headers import etag, read_if_match
from api.http.openapi import BODY_CODES, IF_MATCH, problem_responses
from api.http.responses import json_answer
from api.liveness.schemas import session_content
from api.webhooks.schemas import endpoint_content
from shared.errors import ErrorCode, FieldError, RequestError
from shared.job_content import job_content
from shared.jobs import Batch, Job
from shared.ledger.tenant_data import Belonging
from shared.liveness_sessions import Session
from shared.operations import field_errors
from shared.quality import QualityPolicy
from shared.tenants import DEFAULT, ApiKey, Quotas, Tenant, check_policy, is_tenant_id

TENANT_CODES: Final = (ErrorCode.TENANT_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
PASSES: Final = 10
"""How often an erasure begins anew, until nothing is found: what was in hand when it began comes to light."""
PAUSE: Final = timedelta(seconds=0.5)
PAGE: Final = 500

router = APIRouter(prefix="/v1/admin/tenants", tags=["admin"])


def _tenant(tenant_id: str, _: Admin, request: Request, backend: BackendDep) -> Tenant:
    found = backend.stores.tenants.read(tenant_id) if is_tenant_id(tenant_id) else None
    if found is None:
        raise no_such_tenant()
    request.state.subject_tenant = found.id
    return found


TenantDep = Annotated[Tenant, Depends(_tenant)]


@router.post(
    "",
    status_code=201,
    summary="Register a tenant",
    response_model=TenantBody,
    response_description="Registered; it has no key yet.",
    responses=problem_responses(
        *BODY_CODES, ErrorCode.TENANT_EXISTS, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR
    ),
)
async def register_tenant(request: Request, _: Admin, asked: TenantSubmission, backend: BackendDep) -> Response:
    """Put a tenant on record. Its id never changes, and is free again only once the tenant was erased."""
    tenant = Tenant(
        asked.id, name=asked.name, quotas=_quotas(asked.quotas), quality_policy=_policy(asked.quality_policy)
    )
    made = None if asked.id == DEFAULT else await to_thread.run_sync(backend.stores.tenants.create, tenant)
    if made is None:
        raise RequestError(ErrorCode.TENANT_EXISTS, "There is a tenant of this id already.")
    request.state.subject = request.state.subject_tenant = made.id
    return json_answer(tenant_content(made), status=201, headers=etag(made.version))


@router.get(
    "",
    summary="List tenants",
    response_model=TenantList,
    response_description="Every tenant, the newest first.",
    responses=problem_responses(ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_tenants(_: Admin, backend: BackendDep) -> Response:
    """List every tenant; `default` is always among them."""
    found = await to_thread.run_sync(backend.stores.tenants.all)
    return json_answer({"tenants": [tenant_content(each) for each in found]})


@router.get(
    "/{tenant_id}",
    summary="Read a tenant",
    response_model=TenantBody,
    response_description="The tenant.",
    responses=problem_responses(*TENANT_CODES),
)
async def read_tenant(tenant: TenantDep) -> Response:
    """Read a tenant: its name, quotas and policy."""
    return json_answer(tenant_content(tenant), headers=etag(tenant.version))


@router.patch(
    "/{tenant_id}",
    summary="Change a tenant",
    response_model=TenantBody,
    response_description="The tenant as it is now.",
    responses=problem_responses(*TENANT_CODES, *BODY_CODES, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def change_tenant(request: Request, tenant: TenantDep, asked: TenantChange, backend: BackendDep) -> Response:
    """Change the given fields and no other. The change takes effect at every gateway within 3 seconds."""
    given = asked.model_dump(exclude_none=True, exclude={"quotas", "quality_policy"})
    if asked.quotas is not None:
        given["quotas"] = _quotas(asked.quotas)
    if asked.quality_policy is not None:
        given["quality_policy"] = _policy(asked.quality_policy)
    versions = read_if_match(request.headers.getlist("if-match"))
    change = partial(backend.stores.tenants.change, tenant.id, given, versions=versions)
    changed = await to_thread.run_sync(change)
    if changed is None:
        raise no_such_tenant()
    return json_answer(tenant_content(changed), headers=etag(changed.version))


@router.get(
    "/{tenant_id}/export",
    summary="Export a tenant",
    response_class=Response,
    responses={
        200: {
            "description": "A line of JSON for each thing: its `kind`, and as `data` what its own call answers.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **problem_responses(*TENANT_CODES),
    },
)
async def export_tenant(request: Request, tenant: TenantDep, backend: BackendDep) -> Response:
    """Give out all that a tenant has: its record, keys, endpoints, batches, jobs with their results, and audit log.

    Images are not among it: they are erased when their job ends. Secrets are not shown.
    """
    request.state.discloses = True
    return StreamingResponse(_lines(backend, tenant), media_type="application/x-ndjson")


@router.post(
    "/{tenant_id}/erase",
    summary="Erase a tenant",
    response_model=Erased,
    response_description="Erased, and looked for again.",
    responses=problem_responses(*TENANT_CODES),
)
async def erase_tenant(request: Request, caller: Admin, tenant: TenantDep, backend: BackendDep) -> Response:
    """Erase all that a tenant has, now: keys, endpoints, batches, jobs, deliveries, kept results, audit log.

    It is disabled first, and its record goes last; `default` stays, empty. Where `nothing_left` is false something
    came up to the end: ask again. That it was erased, by whom and when, stays in the audit log of the caller's tenant.
    """
    request.state.subject_tenant = caller.tenant  # the tenant's own log goes with it
    await to_thread.run_sync(backend.stores.tenants.change, tenant.id, {"disabled": True})
    await asyncio.sleep(2 * FRESH.total_seconds())  # until the last gateway has heard of it
    erased: Counter[str] = Counter()
    left = True
    for _ in range(PASSES):
        found = await to_thread.run_sync(backend.stores.tenant_data.erase, tenant.id)
        erased += found
        left = bool(found)
        if not left:
            break
        await asyncio.sleep(PAUSE.total_seconds())
    await to_thread.run_sync(backend.stores.audit.forget, tenant.id)
    if not left:
        await to_thread.run_sync(backend.stores.tenants.delete, tenant.id)
    return json_answer({"tenant": tenant.id, "erased": dict(erased), "nothing_left": not left})


def _lines(backend: Backend, tenant: Tenant) -> Iterator[bytes]:
    yield _line("tenant", tenant_content(tenant))
    for one in backend.stores.tenant_data.all(tenant.id):
        yield _line(*_told(one))
    before = None
    while page := backend.stores.audit.page(tenant.id, limit=PAGE, before=before):
        for entry in page:
            yield _line("audit", entry_content(entry))
        before = page[-1].id


def _told(one: Belonging) -> tuple[str, dict[str, Any]]:
    if isinstance(one, Job):
        return "job", job_content(one)
    if isinstance(one, Batch):
        return "batch", batch_content(one)
    if isinstance(one, Session):
        return "session", session_content(one)
    if isinstance(one, ApiKey):
        return "key", key_content(one)
    return "endpoint", endpoint_content(one)


def _line(kind: str, data: dict[str, Any]) -> bytes:
    return to_json({"kind": kind, "data": data}) + b"\n"


def _quotas(asked: QuotasBody) -> Quotas:
    return Quotas(rate=asked.rate, burst=asked.burst, jobs=asked.jobs)


def _policy(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        check_policy(asked)
        QualityPolicy.model_validate(asked)
    except ValidationError as error:
        wrong = field_errors(error, prefix="quality_policy")
        raise RequestError(ErrorCode.INVALID_REQUEST, "The tenant is not valid.", fields=wrong) from None
    except ValueError as error:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, "The tenant is not valid.", fields=(FieldError("quality_policy", str(error)),)
        ) from None
    return asked


def no_such_tenant() -> RequestError:
    """What is said of an id that no tenant has."""
    return RequestError(ErrorCode.TENANT_NOT_FOUND, "There is no tenant with this id.")
