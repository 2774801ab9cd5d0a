"""Jobs: submit one, read one, wait for one."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from api.backend import Backend
from api.bodies import media_type, read_form, refuse_media_type
from api.deps import BackendDep, SettingsDep
from api.intake import Submission, submit
from api.openapi import IMAGE_CODES, JOB_BODY, problem_responses
from api.schemas import JobBody, job_content, job_path
from api.settings import ApiSettings
from api.submissions import FORM_FIELDS, check_size, from_form, from_json
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, is_job_id
from shared.operations import VerifyParams

RETRY_AFTER: Final = {"Retry-After": "1"}
MAX_PREFER: Final = 1024
"""Characters of a Prefer header that is read; a longer one is no honest preference."""
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DELTA_SECONDS: Final = re.compile(r'"?([0-9]{1,9})"?')

router = APIRouter(prefix="/v1", tags=["jobs"])

_HEADERS: Final = {
    "Location": {"description": "Where the job is read.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which to look again.", "schema": {"type": "integer"}},
    "Preference-Applied": {"description": "`wait=N`: the wait that was granted.", "schema": {"type": "string"}},
}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N` (RFC 7240): wait up to N seconds for the end of the job.",
    "schema": {"type": "string"},
    "example": "wait=10",
}


@router.post(
    "/jobs",
    status_code=202,
    summary="Submit a job",
    response_model=JobBody,
    response_description="On record; it has not ended yet.",
    responses={
        200: {"model": JobBody, "description": "Ended within the wait that was asked for."},
        202: {"headers": _HEADERS},
        **problem_responses(*IMAGE_CODES, ErrorCode.MALFORMED_JSON, ErrorCode.INVALID_EMBEDDING),
    },
    openapi_extra={**JOB_BODY, "parameters": [_PREFER]},
)
async def submit_job(request: Request, backend: BackendDep, settings: SettingsDep) -> Response:
    """Put a job on record and answer at once, or, with `Prefer: wait=N`, once it has ended.

    Once this answers 200 or 202 the job is kept: it will be done even if every process restarts meanwhile.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        read = partial(from_form, await read_form(request, known=FORM_FIELDS))
    elif kind == "application/json":
        read = partial(from_json, await request.body())
    else:
        refuse_media_type("multipart/form-data", "application/json")

    def accept() -> Job:
        submission = read()
        _check_reference(submission, backend)
        return submit(
            submission,
            ledger=backend.ledger,
            doorbell=backend.doorbell,
            settings=settings,
            result_ttl=settings.result_ttl,
        )

    job = await to_thread.run_sync(accept)
    wait = _granted(preferred_wait(request.headers.getlist("prefer")), settings)
    if wait:
        with suppress(UnavailableError):  # it is on record: an error now would make the client submit it twice
            job = await backend.waiting.wait_for_end(job.id, timeout=timedelta(seconds=wait))
    return _answer(job, status=200 if job.status.is_terminal else 202, wait=wait, location=True)


def _check_reference(submission: Submission, backend: Backend) -> None:
    params = submission.params
    if isinstance(params, VerifyParams) and params.reference_embedding is not None:
        check_size(params.reference_embedding.vector, backend.roll.alive(), name="The reference embedding")


@router.get(
    "/jobs/{job_id}",
    summary="Read a job",
    response_model=JobBody,
    response_description="The job as it is now.",
    openapi_extra={"parameters": [_PREFER]},
    responses={
        200: {"headers": {name: _HEADERS[name] for name in ("Retry-After", "Preference-Applied")}},
        **problem_responses(
            ErrorCode.INVALID_REQUEST, ErrorCode.JOB_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR
        ),
    },
)
async def read_job(
    job_id: str,
    request: Request,
    backend: BackendDep,
    settings: SettingsDep,
    wait: Annotated[int | None, Query(ge=0, description="Wait up to this many seconds for the end of the job.")] = None,
) -> Response:
    """Read a job, at once or, with `wait`, when it has ended. Hanging up cancels nothing."""
    if not is_job_id(job_id):
        raise RequestError(ErrorCode.JOB_NOT_FOUND, "There is no job with this id, or it has expired.")
    asked = preferred_wait(request.headers.getlist("prefer")) if wait is None else wait
    granted = _granted(asked, settings)
    job = await backend.waiting.wait_for_end(job_id, timeout=timedelta(seconds=granted or 0))
    return _answer(job, status=200, wait=granted, location=False)


def _answer(job: Job, *, status: int, wait: int | None, location: bool) -> Response:
    headers = {"Location": job_path(job.id)} if location else {}
    if not job.status.is_terminal:
        headers |= RETRY_AFTER
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    # pydantic's writer takes a tenth of the standard one's time on embeddings
    return Response(to_json(job_content(job)), status_code=status, headers=headers, media_type="application/json")


def _granted(asked: int | None, settings: ApiSettings) -> int | None:
    return None if asked is None else min(asked, int(settings.wait_limit.total_seconds()))


def preferred_wait(headers: Sequence[str]) -> int | None:
    """The seconds of the first `wait` preference (RFC 7240), or None; what cannot be read counts as not said."""
    text = ",".join(headers)
    if len(text) > MAX_PREFER:
        return None
    plain = _QUOTED.sub(lambda quoted: quoted[0] if _DELTA_SECONDS.fullmatch(quoted[0]) else '""', text)
    for preference in plain.split(","):
        name, _, value = preference.split(";", 1)[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = _DELTA_SECONDS.fullmatch(value.strip())
            return int(seconds[1]) if seconds else None
    return None
