"""Audit log route: who did what to which record, and when."""

import re
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query
from starlette.responses import Response

from api.admin.schemas import AuditPage, entry_content
from api.deps import BackendDep, JobsReader
from api.http.openapi import problem_responses
from api.http.responses import json_answer
from shared.errors import ErrorCode, FieldError, RequestError
from shared.tenants import Scope, is_tenant_id

_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")

router = APIRouter(prefix="/v1", tags=["admin"])


@router.get(
    "/audit",
    summary="Read the audit log",
    response_model=AuditPage,
    response_description="A page of entries, newest first.",
    responses=problem_responses(ErrorCode.INVALID_REQUEST, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def read_audit(
    caller: JobsReader,
    backend: BackendDep,
    tenant: Annotated[
        str | None, Query(max_length=40, description="The tenant. Another tenant than your own requires `admin`.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(max_length=40, description="`next_before` of the previous page.")] = None,
) -> Response:
    """Read who did what in a tenant: every call that changed data or returned results, and every rejected call.

    An entry appears within 0.2 seconds of its call and is kept for `VULTUS_AUDIT_TTL`.
    """
    owner = caller.tenant if tenant is None else tenant
    if owner != caller.tenant:
        caller.require([Scope.ADMIN])
    if before is not None and not _ID.fullmatch(before):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            "A parameter of the request is not valid.",
            fields=(FieldError("before", "must be the next_before of a previous page"),),
        )
    read = partial(backend.stores.audit.page, owner, limit=limit, before=before)
    entries = await to_thread.run_sync(read) if is_tenant_id(owner) else []
    content = {
        "entries": [entry_content(entry) for entry in entries],
        "next_before": entries[-1].id if len(entries) == limit else None,
    }
    return json_answer(content)
