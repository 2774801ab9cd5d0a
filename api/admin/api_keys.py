"""API key routes: create, list, rotate, revoke."""

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
    summary="Create an API key",
    response_model=KeyWithSecret,
    response_description="The new key. It is shown only once.",
    responses=problem_responses(*TENANT_CODES, *BODY_CODES),
)
async def create_key(request: Request, _: Admin, submission: KeySubmission, backend: BackendDep) -> Response:
    """Create an API key for a tenant. Only a digest of the key is stored, so it cannot be shown again."""
    expires = None if submission.expires_in is None else time.time() + submission.expires_in
    create = partial(_create, backend, submission.tenant, submission, expires)
    key, secret = await to_thread.run_sync(create)
    request.state.subject, request.state.subject_tenant = key.id, key.tenant
    return json_answer(key_content(key, secret=secret), status=201)


@router.get(
    "",
    summary="List API keys",
    response_model=KeyList,
    response_description="Every key of the tenant, newest first.",
    responses=problem_responses(ErrorCode.INVALID_REQUEST, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
)
async def list_keys(
    _: Admin,
    backend: BackendDep,
    tenant: Annotated[str, Query(max_length=40, description="The tenant whose keys to list.")] = DEFAULT,
) -> Response:
    """List the API keys of a tenant by their public parts, including expired keys."""
    keys = await to_thread.run_sync(backend.stores.api_keys.of, tenant) if is_tenant_id(tenant) else []
    return json_answer({"keys": [key_content(key) for key in keys]})


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    summary="Rotate an API key",
    response_model=KeyWithSecret,
    response_description="The replacement key. It is shown only once.",
    responses=problem_responses(*KEY_CODES, *BODY_CODES),
)
async def rotate_key(
    request: Request,
    _: Admin,
    key_id: str,
    backend: BackendDep,
    rotation: Annotated[KeyRotation | None, Body()] = None,
) -> Response:
    """Create a key with the same tenant, scopes, and name. The old key remains valid until the overlap ends."""

    def rotate() -> tuple[ApiKey, str]:
        old = _read(backend, key_id)
        created = _create(backend, old.tenant, old, old.expires_at)
        backend.stores.api_keys.expire(old.id, at=time.time() + (rotation or KeyRotation()).overlap_seconds)
        return created

    key, secret = await to_thread.run_sync(rotate)
    request.state.subject_tenant = key.tenant
    return json_answer(key_content(key, secret=secret), status=201)


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    response_description="Revoked. Every gateway rejects the key within 3 seconds.",
    responses=problem_responses(*KEY_CODES),
)
async def revoke_key(request: Request, _: Admin, key_id: str, backend: BackendDep) -> Response:
    """Revoke and delete an API key. Every gateway rejects it within 3 seconds."""

    def revoke() -> ApiKey:
        key = _read(backend, key_id)
        if not backend.stores.api_keys.revoke(key):
            raise no_such_key()
        return key

    request.state.subject_tenant = (await to_thread.run_sync(revoke)).tenant
    return Response(status_code=204)


def _create(backend: Backend, tenant: str, like: KeySubmission | ApiKey, expires: float | None) -> tuple[ApiKey, str]:
    """Create a key with the scopes and name of `like`; its record, and the key that the caller gets."""
    public, secret, digest = new_key()
    key = ApiKey(public, tenant, frozenset(like.scopes), digest, name=like.name, expires_at=expires)
    created = backend.stores.api_keys.create(key)
    if created is None:
        raise no_such_tenant()
    return created, secret


def _read(backend: Backend, key_id: str) -> ApiKey:
    key = backend.stores.api_keys.read(key_id) if is_key_id(key_id) else None
    if key is None:
        raise no_such_key()
    return key


def no_such_key() -> RequestError:
    """The error for an unknown key id."""
    return RequestError(ErrorCode.KEY_NOT_FOUND, "API key not found.")
