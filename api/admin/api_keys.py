"""API keys: make, list, follow by another, revoke."""

import time
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from api.admin.schemas import KeyList, KeyRotation, KeySubmission, KeyWithSecret, key_content
from api.admin.tenants import TENANT_CODES, no_such_tenant
from api.backend.backend import Backend
from api.deps import Admin, BackendDep
from api.http.openapi import BODY_CODES, problem_responses
from api.http.responses import json_answer
from shared.errors import ErrorCode, RequestError
from shared.tenants import DEFAULT, ApiKey, is_key_id, is_tenant_id, new_key

KEY_CODES: Final = (ErrorCode.KEY_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

router = APIRouter(prefix="/v1/admin/keys", tags=["admin"])


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    response_model=KeyWithSecret,
    response_description="Made. The key is shown this once.",
    responses=problem_responses(*TENANT_CODES, *BODY_CODES),
)
async def create_key(request: Request, _: Admin, asked: KeySubmission, backend: BackendDep) -> Response:
    """Make a key for a tenant. What is kept of it opens nothing: it cannot be shown again."""
    expires = None if asked.expires_in is None else time.time() + asked.expires_in
    made = partial(_make, backend, asked.tenant, asked, expires)
    key, whole = await to_thread.run_sync(made)
    request.state.subject, request.state.subject_tenant = key.id, key.tenant
    return json_answer(key_content(key, whole=whole), status=201)


@router.get(
    "",
    summary="List keys",
    response_model=KeyList,
    response_description="Every key of the tenant, the newest first.",
    responses=problem_responses(ErrorCode.INVALID_REQUEST, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_keys(
    _: Admin, backend: BackendDep, tenant: Annotated[str, Query(max_length=40, description="Whose.")] = DEFAULT
) -> Response:
    """List the keys of a tenant by their public parts, those whose time is over among them."""
    found = await to_thread.run_sync(backend.stores.api_keys.of, tenant) if is_tenant_id(tenant) else []
    return json_answer({"keys": [key_content(key) for key in found]})


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    summary="Rotate a key",
    response_model=KeyWithSecret,
    response_description="The key that follows it, shown this once.",
    responses=problem_responses(*KEY_CODES, *BODY_CODES),
)
async def rotate_key(
    request: Request,
    _: Admin,
    key_id: str,
    backend: BackendDep,
    asked: Annotated[KeyRotation | None, Body()] = None,
) -> Response:
    """Make a key with the same tenant, scopes and name; the old one stays good until the overlap ends."""

    def rotate() -> tuple[ApiKey, str]:
        old = _read(backend, key_id)
        made = _make(backend, old.tenant, old, old.expires_at)
        backend.stores.api_keys.expire(old.id, at=time.time() + (asked or KeyRotation()).overlap_seconds)
        return made

    key, whole = await to_thread.run_sync(rotate)
    request.state.subject_tenant = key.tenant
    return json_answer(key_content(key, whole=whole), status=201)


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke a key",
    response_description="It opens nothing any more, within seconds.",
    responses=problem_responses(*KEY_CODES),
)
async def revoke_key(request: Request, _: Admin, key_id: str, backend: BackendDep) -> Response:
    """Erase a key. Every gateway refuses it within 3 seconds."""

    def revoke() -> ApiKey:
        key = _read(backend, key_id)
        if not backend.stores.api_keys.revoke(key):
            raise no_such_key()
        return key

    request.state.subject_tenant = (await to_thread.run_sync(revoke)).tenant
    return Response(status_code=204)


def _make(backend: Backend, tenant: str, like: KeySubmission | ApiKey, expires: float | None) -> tuple[ApiKey, str]:
    public, whole, digest = new_key()
    key = ApiKey(public, tenant, frozenset(like.scopes), digest, name=like.name, expires_at=expires)
    made = backend.stores.api_keys.create(key)
    if made is None:
        raise no_such_tenant()
    return made, whole


def _read(backend: Backend, key_id: str) -> ApiKey:
    key = backend.stores.api_keys.read(key_id) if is_key_id(key_id) else None
    if key is None:
        raise no_such_key()
    return key


def no_such_key() -> RequestError:
    """What is said of a public part that no key has."""
    return RequestError(ErrorCode.KEY_NOT_FOUND, "There is no key with this public part.")
