"""Tenant routes: register, list, read, update, export, erase."""

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
from api.deps import Admin, BackendDep, IfMatchDep
from api.http.headers import etag
from api.http.openapi import BODY_CODES, IF_MATCH, problem_responses
from api.http.responses import json_answer
from api.liveness.schemas import session_content
from api.webhooks.schemas import endpoint_content
from shared.errors import ErrorCode, FieldError, RequestError
from shared.job_content import job_content
from shared.jobs import Batch, Job
from shared.ledger.tenant_data import Record
from shared.liveness_sessions import Session
from shared.operations import field_errors
from shared.quality import QualityPolicy
from shared.tenants import DEFAULT, ApiKey, Quotas, Tenant, check_policy, is_tenant_id

TENANT_CODES: Final = (ErrorCode.TENANT_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
PASSES: Final = 10
"""Maximum number of erasure passes. Requests in progress at the start can still add records to a later pass."""
PAUSE: Final = timedelta(seconds=0.5)
PAGE: Final = 500

router = APIRouter(prefix="/v1/admin/tenants", tags=["admin"])


def _tenant(tenant_id: str, _: Admin, request: Request, backend: BackendDep) -> Tenant:
    tenant = backend.stores.tenants.read(tenant_id) if is_tenant_id(tenant_id) else None
    if tenant is None:
        raise no_such_tenant()
    request.state.subject_tenant = tenant.id
    return tenant


TenantDep = Annotated[Tenant, Depends(_tenant)]


@router.post(
    "",
    status_code=201,
    summary="Register a tenant",
    response_model=TenantBody,
    response_description="The tenant. It has no API key yet.",
    responses=problem_responses(
        *BODY_CODES, ErrorCode.TENANT_EXISTS, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR
    ),
)
async def register_tenant(request: Request, _: Admin, submission: TenantSubmission, backend: BackendDep) -> Response:
    """Register a tenant. Its id never changes, and can be reused only after the tenant is erased."""
    tenant = Tenant(
        submission.id,
        name=submission.name,
        quotas=_quotas(submission.quotas),
        quality_policy=_policy(submission.quality_policy),
    )
    created = None if tenant.id == DEFAULT else await to_thread.run_sync(backend.stores.tenants.create, tenant)
    if created is None:
        raise RequestError(ErrorCode.TENANT_EXISTS, "A tenant with this id already exists.")
    request.state.subject = request.state.subject_tenant = created.id
    return json_answer(tenant_content(created), status=201, headers=etag(created.version))


@router.get(
    "",
    summary="List tenants",
    response_model=TenantList,
    response_description="Every tenant, newest first.",
    responses=problem_responses(ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_tenants(_: Admin, backend: BackendDep) -> Response:
    """List every tenant. The list always includes `default`."""
    tenants = await to_thread.run_sync(backend.stores.tenants.all)
    return json_answer({"tenants": [tenant_content(each) for each in tenants]})


@router.get(
    "/{tenant_id}",
    summary="Read a tenant",
    response_model=TenantBody,
    response_description="The tenant.",
    responses=problem_responses(*TENANT_CODES),
)
async def read_tenant(tenant: TenantDep) -> Response:
    """Read a tenant: its name, quotas, and quality policy."""
    return json_answer(tenant_content(tenant), headers=etag(tenant.version))


@router.patch(
    "/{tenant_id}",
    summary="Update a tenant",
    response_model=TenantBody,
    response_description="The updated tenant.",
    responses=problem_responses(*TENANT_CODES, *BODY_CODES, ErrorCode.PRECONDITION_FAILED),
    openapi_extra={"parameters": [IF_MATCH]},
)
async def change_tenant(tenant: TenantDep, change: TenantChange, versions: IfMatchDep, backend: BackendDep) -> Response:
    """Update only the given fields. The change takes effect at every gateway within 3 seconds."""
    values = change.model_dump(exclude_none=True, exclude={"quotas", "quality_policy"})
    if change.quotas is not None:
        values["quotas"] = _quotas(change.quotas)
    if change.quality_policy is not None:
        values["quality_policy"] = _policy(change.quality_policy)
    changed = await to_thread.run_sync(partial(backend.stores.tenants.change, tenant.id, values, versions=versions))
    if changed is None:
        raise no_such_tenant()
    return json_answer(tenant_content(changed), headers=etag(changed.version))


@router.get(
    "/{tenant_id}/export",
    summary="Export a tenant",
    response_class=Response,
    responses={
        200: {
            "description": "One record per line, as JSON: its `kind`, and its `data` as its own endpoint returns it.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **problem_responses(*TENANT_CODES),
    },
)
async def export_tenant(request: Request, tenant: TenantDep, backend: BackendDep) -> Response:
    """Export all data of a tenant: its record, keys, endpoints, batches, sessions, jobs with results, and audit log.

    The export has no images, which are erased when their job ends, and no secrets.
    """
    request.state.discloses = True
    return StreamingResponse(_lines(backend, tenant), media_type="application/x-ndjson")


@router.post(
    "/{tenant_id}/erase",
    summary="Erase a tenant",
    response_model=Erased,
    response_description="Counts of the erased records.",
    responses=problem_responses(*TENANT_CODES),
)
async def erase_tenant(request: Request, caller: Admin, tenant: TenantDep, backend: BackendDep) -> Response:
    """Erase all data of a tenant: keys, endpoints, batches, sessions, jobs, deliveries, cached results, audit log.

    The tenant is disabled first, and its record is deleted last; `default` itself remains. If `nothing_left` is false,
    records were still being added: repeat the call. The erasure is logged in the audit log of your own tenant.
    """
    request.state.subject_tenant = caller.tenant  # the audit log of the erased tenant is erased too
    await to_thread.run_sync(backend.stores.tenants.change, tenant.id, {"disabled": True})
    await asyncio.sleep(2 * FRESH.total_seconds())  # until every gateway knows that the tenant is disabled
    erased: Counter[str] = Counter()
    left = True
    for _ in range(PASSES):
        counts = await to_thread.run_sync(backend.stores.tenant_data.erase, tenant.id)
        erased += counts
        left = bool(counts)
        if not left:
            break
        await asyncio.sleep(PAUSE.total_seconds())
    await to_thread.run_sync(backend.stores.audit.forget, tenant.id)
    if not left:
        await to_thread.run_sync(backend.stores.tenants.delete, tenant.id)
    return json_answer({"tenant": tenant.id, "erased": dict(erased), "nothing_left": not left})


def _lines(backend: Backend, tenant: Tenant) -> Iterator[bytes]:
    yield _line("tenant", tenant_content(tenant))
    for record in backend.stores.tenant_data.all(tenant.id):
        yield _line(*_exported(record))
    before = None
    while page := backend.stores.audit.page(tenant.id, limit=PAGE, before=before):
        for entry in page:
            yield _line("audit", entry_content(entry))
        before = page[-1].id


def _exported(record: Record) -> tuple[str, dict[str, Any]]:
    if isinstance(record, Job):
        return "job", job_content(record)
    if isinstance(record, Batch):
        return "batch", batch_content(record)
    if isinstance(record, Session):
        return "session", session_content(record)
    if isinstance(record, ApiKey):
        return "key", key_content(record)
    return "endpoint", endpoint_content(record)


def _line(kind: str, data: dict[str, Any]) -> bytes:
    return to_json({"kind": kind, "data": data}) + b"\n"


def _quotas(body: QuotasBody) -> Quotas:
    return Quotas(rate=body.rate, burst=body.burst, jobs=body.jobs)


def _policy(policy: dict[str, Any]) -> dict[str, Any]:
    try:
        check_policy(policy)
        QualityPolicy.model_validate(policy)
    except ValidationError as error:
        errors = field_errors(error, prefix="quality_policy")
        raise RequestError(ErrorCode.INVALID_REQUEST, "The tenant is not valid.", fields=errors) from None
    except ValueError as error:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, "The tenant is not valid.", fields=(FieldError("quality_policy", str(error)),)
        ) from None
    return policy


def no_such_tenant() -> RequestError:
    """The error for an unknown tenant id."""
    return RequestError(ErrorCode.TENANT_NOT_FOUND, "Tenant not found.")
