"""Liveness session routes: open, read, wait, post frames, cancel, delete."""

import asyncio
import math
import time
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from api.auth.authenticator import Authenticator
from api.backend.backend import Backend
from api.deps import CLIENT_TOKEN, PUBLIC, BackendDep, GateDep, JobsWriter, ReaderOrClient, SettingsDep
from api.http.forms import Form, FormFields, media_type, parse, read_form, refuse_media_type
from api.http.headers import granted_wait, read_prefer
from api.http.openapi import IMAGE_CODES, JOB_HEADERS, PREFER, problem_responses
from api.http.responses import json_answer
from api.liveness.client_tokens import check, issue
from api.liveness.schemas import (
    FRAME_BODY,
    SESSION_BODY,
    ClientSession,
    OpenedSession,
    SessionBody,
    SessionRequest,
    client_content,
    session_content,
    session_path,
)
from api.liveness.sessions import Frame, open_session, read, session_ended, settle, take_frame
from shared.errors import IMAGE_REFUSALS, ErrorCode, FieldError, RequestError
from shared.job_content import rfc3339
from shared.ledger.sessions.store import no_such_session
from shared.liveness_sessions import Session, SessionStatus, is_session_id
from shared.tenants import Grant, Scope

AFTERWARDS: Final = 60
"""Seconds that a client token outlives its session, so that the client can read the outcome."""
FRAME_FIELDS: Final = FormFields(files=frozenset({"image"}), texts=frozenset({"sequence", "taken_at"}))
MOST_SEQUENCE: Final = 2**53
READ_CODES: Final = (ErrorCode.SESSION_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

router = APIRouter(prefix="/v1", tags=["liveness sessions"])


async def _session_id(session_id: str) -> str:
    if not is_session_id(session_id):
        raise no_such_session()
    return session_id


SessionIdDep = Annotated[str, Depends(_session_id)]
"""The `session_id` of the path. A malformed id is reported as `session_not_found`."""
ClientToken = Annotated[str | None, Header(alias=CLIENT_TOKEN, description="The `client_token` of the session.")]


@router.post(
    "/liveness-sessions",
    status_code=201,
    summary="Open a liveness session",
    response_model=OpenedSession,
    response_description="The session. Its time limit starts now.",
    responses={
        201: {"headers": {"Location": JOB_HEADERS["Location"]}},
        **problem_responses(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.MALFORMED_JSON,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.REQUEST_TOO_LARGE,
            ErrorCode.SESSIONS_OFF,
            ErrorCode.INVALID_EMBEDDING,
            ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
            *IMAGE_REFUSALS,
            ErrorCode.LIVENESS_UNAVAILABLE,
            ErrorCode.WEBHOOKS_OFF,
            ErrorCode.WEBHOOK_URL_REFUSED,
            ErrorCode.JOB_ENDED,
            ErrorCode.QUEUE_FULL,
            ErrorCode.QUOTA_EXCEEDED,
            ErrorCode.NO_WORKER,
            ErrorCode.WAIT_TIMEOUT,
            ErrorCode.MODEL_FAILURE,
            ErrorCode.WORKER_LOST,
            ErrorCode.TIMED_OUT,
            ErrorCode.STORE_UNAVAILABLE,
            ErrorCode.INTERNAL_ERROR,
        ),
    },
    openapi_extra=SESSION_BODY,
)
async def open_liveness_session(
    request: Request, caller: JobsWriter, backend: BackendDep, settings: SettingsDep
) -> Response:
    """Open a session with a random challenge. The response has a token for the client at the camera.

    The client sees one step at a time. A reference image is converted to an embedding before the response is sent,
    and is not stored.
    """
    body = await request.body()
    if body and media_type(request) != "application/json":
        refuse_media_type("application/json")
    session_request = parse(SessionRequest, body or b"{}")
    issue("", expires_at=0, secrets=settings.token_secrets)  # fail early if no secret is configured
    session = await open_session(
        session_request, tenant=caller.tenant, grant=caller.grant, backend=backend, settings=settings
    )
    # Tokens are checked against this clock, not the clock of the ledger.
    expires_at = math.ceil(time.time()) + session_request.seconds + AFTERWARDS
    content = {
        **session_content(session),
        "client_token": issue(session.id, expires_at=expires_at, secrets=settings.token_secrets),
        "client_token_expires_at": rfc3339(expires_at),
    }
    return json_answer(content, status=201, headers={"Location": session_path(session.id)})


@router.get(
    "/liveness-sessions/{session_id}",
    summary="Read a liveness session",
    response_model=SessionBody | ClientSession,
    response_description="The current state of the session; with a client token, only what the client may see.",
    openapi_extra={"parameters": [PREFER], "security": [{"bearer": [Scope.JOBS_READ.value]}]},
    responses={
        200: {"headers": {name: JOB_HEADERS[name] for name in ("Retry-After", "Preference-Applied")}},
        **problem_responses(*READ_CODES, ErrorCode.INVALID_REQUEST, ErrorCode.CLIENT_TOKEN_INVALID),
    },
)
async def read_liveness_session(
    session_id: SessionIdDep,
    request: Request,
    caller: ReaderOrClient,
    backend: BackendDep,
    authenticator: GateDep,
    settings: SettingsDep,
    session_token: ClientToken = None,
    wait: Annotated[int | None, Query(ge=0, description="Wait up to this many seconds for the session to end.")] = None,
) -> Response:
    """Read a session, immediately or, with `wait`, when it has ended. Closing the connection does not cancel it."""
    if caller is None:
        check(session_token or "", session_id=session_id, now=time.time(), secrets=settings.token_secrets)
        await _tenant_grant(session_id, backend, authenticator)
    requested = read_prefer(request.headers.getlist("prefer")).wait if wait is None else wait
    granted = granted_wait(requested, settings.wait_limit)
    session = await _end(backend, session_id, tenant=caller.tenant if caller else None, wait=granted or 0)
    headers = {} if granted is None else {"Preference-Applied": f"wait={granted}"}
    if session.status is SessionStatus.RUNNING:
        headers["Retry-After"] = "1"
    content = client_content(session) if caller is None else session_content(session)
    return json_answer(content, headers=headers)


@router.post(
    "/liveness-sessions/{session_id}/frames",
    summary="Post a frame",
    response_model=ClientSession,
    response_description="The session after the frame, with the next step.",
    responses={
        202: {
            "model": ClientSession,
            "description": "The frame was accepted and is not analyzed yet. Read the session after `Retry-After`.",
            "headers": {"Retry-After": JOB_HEADERS["Retry-After"]},
        },
        **problem_responses(
            ErrorCode.SESSION_NOT_FOUND,
            ErrorCode.CLIENT_TOKEN_INVALID,
            ErrorCode.SESSION_ENDED,
            ErrorCode.FRAME_IN_WORK,
            ErrorCode.FORBIDDEN,
            *IMAGE_CODES,
        ),
    },
    openapi_extra={**FRAME_BODY, **PUBLIC},
)
async def post_frame(
    session_id: SessionIdDep,
    request: Request,
    backend: BackendDep,
    authenticator: GateDep,
    settings: SettingsDep,
    session_token: ClientToken = None,
) -> Response:
    """Analyze one camera image with high priority, and return the updated session.

    Only one frame is analyzed at a time: after each response, send the latest camera image. Resending the same image
    with the same `sequence` repeats the request; any other repetition ends the session. Do not mirror the image.
    """
    check(session_token or "", session_id=session_id, now=time.time(), secrets=settings.token_secrets)
    grant = await _tenant_grant(session_id, backend, authenticator)
    form = await read_form(request, FRAME_FIELDS)
    frame = Frame(
        image=form.file("image"),
        sequence=int(_number(form, "sequence", whole=True)),
        taken_at=_number(form, "taken_at") / 1000,
    )
    session, judged = await take_frame(session_id, frame, grant=grant, backend=backend, settings=settings)
    headers = {} if judged else {"Retry-After": "1"}
    return json_answer(client_content(session), status=200 if judged else 202, headers=headers)


@router.post(
    "/liveness-sessions/{session_id}/cancel",
    summary="Cancel a liveness session",
    response_model=SessionBody,
    response_description="The canceled session.",
    responses=problem_responses(*READ_CODES, ErrorCode.SESSION_ENDED),
)
async def cancel_liveness_session(session_id: SessionIdDep, caller: JobsWriter, backend: BackendDep) -> Response:
    """Cancel a running session. A session that ended in any other way is not changed: 409."""

    def cancel() -> Session:
        read(backend, session_id, tenant=caller.tenant)
        backend.stores.sessions.cancel(session_id)
        session = read(backend, session_id, tenant=caller.tenant)
        if session.status is not SessionStatus.CANCELED:
            raise session_ended(session)
        return session

    return json_answer(session_content(await to_thread.run_sync(cancel)))


@router.delete(
    "/liveness-sessions/{session_id}",
    status_code=204,
    summary="Delete a liveness session",
    response_description="Deleted.",
    responses=problem_responses(*READ_CODES),
)
async def delete_liveness_session(session_id: SessionIdDep, caller: JobsWriter, backend: BackendDep) -> Response:
    """Delete a session in any state, with the frame being analyzed. Requests that wait for the session get 404."""

    def delete() -> None:
        read(backend, session_id, tenant=caller.tenant)
        if not backend.stores.sessions.delete(session_id):
            raise no_such_session()

    await to_thread.run_sync(delete)
    return Response(status_code=204)


async def _tenant_grant(session_id: str, backend: Backend, authenticator: Authenticator) -> Grant:
    """The grant of the tenant that owns the session of a client token.

    Raises:
        RequestError: `session_not_found`, or `forbidden` if the tenant is disabled.
    """
    session = await to_thread.run_sync(read, backend, session_id)
    return await authenticator.behind_client(session.tenant)


async def _end(backend: Backend, session_id: str, *, tenant: str | None, wait: int) -> Session:
    """Wait for the session to end; the session at that time or when the wait is over."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait
    with backend.waiting.watch(session_id) as watch:
        while True:
            watch.forget()
            session = await to_thread.run_sync(partial(settle, backend, session_id, tenant=tenant))
            left = min(deadline, backend.waiting.last_call or deadline) - clock()
            if session.status is not SessionStatus.RUNNING or left <= 0:
                return session
            await watch.happened(within=timedelta(seconds=left))


def _number(form: Form, name: str, *, whole: bool = False) -> float:
    text = form.texts.get(name, "")
    try:
        value = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < MOST_SEQUENCE:
        detail = "must be a non-negative integer" if whole else "must be the client's clock in milliseconds, at least 0"
        raise RequestError(
            ErrorCode.INVALID_REQUEST, "The form has invalid fields.", fields=(FieldError(name, detail),)
        )
    return value
