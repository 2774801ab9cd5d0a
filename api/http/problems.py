"""Errors as answers: the one table from code to HTTP status, and RFC 9457 problem documents."""

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from shared.errors import ErrorCode, FieldError, RequestError, UnavailableError, VultusError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:vultus:error:"
MAX_FIELDS: Final = 20
"""Wrong fields named in one answer; a vector of 512 strings must not answer with 512 lines."""
MAX_FIELD_NAME: Final = 100


class Kind(NamedTuple):
    """How one code looks in HTTP."""

    status: int
    title: str


TABLE: Final[Mapping[ErrorCode, Kind]] = {
    ErrorCode.INVALID_REQUEST: Kind(422, "The request is not valid"),
    ErrorCode.MALFORMED_JSON: Kind(400, "The JSON cannot be read"),
    ErrorCode.MALFORMED_FORM: Kind(400, "The form cannot be read"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Kind(415, "The content type is not taken here"),
    ErrorCode.REQUEST_TOO_LARGE: Kind(413, "The request is too large"),
    ErrorCode.MALFORMED_REQUEST: Kind(400, "The request is no HTTP"),
    ErrorCode.HEADERS_TOO_LARGE: Kind(431, "The request's head is too large"),
    ErrorCode.REQUEST_TIMEOUT: Kind(408, "The request came too slowly"),
    ErrorCode.HOST_REFUSED: Kind(421, "The gateway has another name"),
    ErrorCode.CORS_REFUSED: Kind(403, "The cross-origin request is refused"),
    ErrorCode.GATEWAY_BUSY: Kind(503, "The gateway has no room"),
    ErrorCode.EMPTY_IMAGE: Kind(400, "The image is empty"),
    ErrorCode.INVALID_IMAGE: Kind(400, "The image is not valid"),
    ErrorCode.UNSUPPORTED_IMAGE_TYPE: Kind(415, "The image type is not taken"),
    ErrorCode.ANIMATED_IMAGE: Kind(415, "Animated images are not taken"),
    ErrorCode.IMAGE_TOO_LARGE: Kind(413, "The image file is too large"),
    ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE: Kind(413, "The image has too many pixels"),
    ErrorCode.INVALID_EMBEDDING: Kind(422, "The embedding cannot be compared"),
    ErrorCode.EMBEDDING_CONTRACT_MISMATCH: Kind(422, "The embedding comes from another model"),
    ErrorCode.LIVENESS_UNAVAILABLE: Kind(501, "The model pack has no liveness model"),
    ErrorCode.ATTRIBUTE_UNAVAILABLE: Kind(501, "The model pack has no model for this attribute"),
    ErrorCode.CALIBRATION_UNAVAILABLE: Kind(501, "The model pack has no table of false-match rates"),
    ErrorCode.FMR_OUT_OF_RANGE: Kind(422, "The false-match rate was not measured"),
    ErrorCode.UNAUTHENTICATED: Kind(401, "The caller is not known"),
    ErrorCode.FORBIDDEN: Kind(403, "The caller may not do this"),
    ErrorCode.AUTH_UNAVAILABLE: Kind(503, "Callers cannot be checked just now"),
    ErrorCode.RATE_LIMITED: Kind(429, "The caller asks too fast"),
    ErrorCode.QUOTA_EXCEEDED: Kind(429, "The tenant has too many jobs open"),
    ErrorCode.NOT_FOUND: Kind(404, "There is nothing at this address"),
    ErrorCode.JOB_NOT_FOUND: Kind(404, "There is no such job"),
    ErrorCode.KEY_NOT_FOUND: Kind(404, "There is no such key"),
    ErrorCode.TENANT_NOT_FOUND: Kind(404, "There is no such tenant"),
    ErrorCode.TENANT_EXISTS: Kind(409, "There is such a tenant already"),
    ErrorCode.BATCH_NOT_FOUND: Kind(404, "There is no such batch"),
    ErrorCode.ENDPOINT_NOT_FOUND: Kind(404, "There is no such webhook endpoint"),
    ErrorCode.TOO_MANY_ENDPOINTS: Kind(409, "There are too many webhook endpoints"),
    ErrorCode.DELIVERY_NOT_FOUND: Kind(404, "There is no such delivery"),
    ErrorCode.WEBHOOKS_OFF: Kind(422, "Jobs bring no addresses of webhooks here"),
    ErrorCode.WEBHOOK_URL_REFUSED: Kind(422, "The webhook's address is not taken"),
    ErrorCode.SESSION_NOT_FOUND: Kind(404, "There is no such liveness session"),
    ErrorCode.SESSION_ENDED: Kind(409, "The liveness session has ended"),
    ErrorCode.FRAME_IN_WORK: Kind(409, "A frame of the session is in work"),
    ErrorCode.SESSIONS_OFF: Kind(422, "Liveness sessions are off"),
    ErrorCode.CLIENT_TOKEN_INVALID: Kind(401, "The client token is not valid"),
    ErrorCode.JOB_ENDED: Kind(409, "The job has ended"),
    ErrorCode.NOT_RETRYABLE: Kind(409, "The job cannot be retried"),
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: Kind(409, "The same submission is being received"),
    ErrorCode.IDEMPOTENCY_MISMATCH: Kind(422, "The idempotency key belongs to another submission"),
    ErrorCode.IMAGE_URLS_OFF: Kind(422, "Images by URL are off"),
    ErrorCode.IMAGE_URL_REFUSED: Kind(422, "The image's address is not taken"),
    ErrorCode.IMAGE_UNREACHABLE: Kind(422, "The image could not be fetched"),
    ErrorCode.PRECONDITION_FAILED: Kind(412, "The resource has changed"),
    ErrorCode.METHOD_NOT_ALLOWED: Kind(405, "The method is not allowed here"),
    ErrorCode.QUEUE_FULL: Kind(503, "The queue is full"),
    ErrorCode.NO_WORKER: Kind(503, "No worker is ready"),
    ErrorCode.STORE_UNAVAILABLE: Kind(503, "The job store cannot be reached"),
    ErrorCode.WAIT_TIMEOUT: Kind(504, "The job took too long"),
    ErrorCode.MODEL_FAILURE: Kind(500, "The model gave no usable answer"),
    ErrorCode.WORKER_LOST: Kind(500, "The workers were lost during the job"),
    ErrorCode.TIMED_OUT: Kind(500, "The job ran too long"),
    ErrorCode.INTERNAL_ERROR: Kind(500, "Something went wrong on our side"),
}
"""Total: a test fails where a code is missing."""

RETRY_AFTER: Final[Mapping[ErrorCode, timedelta]] = {
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: timedelta(seconds=1),
    ErrorCode.FRAME_IN_WORK: timedelta(seconds=1),
}
"""When to come back with the same request, for codes whose errors do not carry that themselves."""

HEADERS: Final[Mapping[ErrorCode, Mapping[str, str]]] = {
    ErrorCode.UNAUTHENTICATED: {"WWW-Authenticate": 'Bearer realm="vultus"'}
}
"""What answers of a code carry besides."""

_BY_STATUS: Final = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.REQUEST_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
_DETAILS: Final = {
    ErrorCode.NOT_FOUND: "No call of this service has this path.",
    ErrorCode.METHOD_NOT_ALLOWED: "This path does not take this method; the Allow header names those that it takes.",
}


def request_id(scope: Scope) -> str:
    """The id that the edge gave this request."""
    return str(scope.get("state", {}).get("request_id", ""))


def problem(
    code: ErrorCode,
    detail: str,
    *,
    scope: Scope,
    fields: Iterable[FieldError] = (),
    retry_after: timedelta | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for one error; its code is also noted for the request's log line."""
    kind = TABLE[code]
    scope.setdefault("state", {})["problem"] = code.value
    content: dict[str, Any] = {
        "type": TYPE_PREFIX + code.value,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code.value,
        "request_id": request_id(scope),
    }
    errors = [{"field": _printable(field.field), "detail": field.detail} for field in fields][:MAX_FIELDS]
    if errors:
        content["errors"] = errors
    more = {**HEADERS.get(code, {}), **(headers or {})}
    if retry_after is not None:
        more["Retry-After"] = str(max(1, math.ceil(retry_after.total_seconds())))
    return JSONResponse(content, status_code=kind.status, headers=more, media_type=MEDIA_TYPE)


def _printable(name: str) -> str:
    """A field name as the client wrote it, cut short; the rest of the input is never repeated."""
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_FIELD_NAME])


def from_error(error: VultusError, *, scope: Scope) -> Response:
    """The answer for an error that was raised on purpose."""
    return problem(
        error.code,
        error.detail,
        scope=scope,
        fields=error.fields if isinstance(error, RequestError) else (),
        retry_after=error.retry_after if isinstance(error, UnavailableError) else RETRY_AFTER.get(error.code),
    )


def internal_error(scope: Scope) -> Response:
    """The answer for everything unforeseen; what happened stands in the log under the same request id."""
    detail = "The request failed for a reason that is not yours. Quote the request_id when you report it."
    return problem(ErrorCode.INTERNAL_ERROR, detail, scope=scope)


async def answer_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for `VultusError`."""
    assert isinstance(error, VultusError)  # noqa: S101 - registered for this class
    return from_error(error, scope=request.scope)


async def answer_validation(request: Request, error: Exception) -> Response:
    """Starlette's handler for FastAPI's own check of path and query."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    wrongs = error.errors()
    if any(wrong["type"] == "json_invalid" for wrong in wrongs):
        return problem(ErrorCode.MALFORMED_JSON, "The body is not valid JSON.", scope=request.scope)
    if any(wrong["loc"] == ("body",) for wrong in wrongs) and not _says_json(request):
        detail = "This call takes application/json."
        return problem(ErrorCode.UNSUPPORTED_MEDIA_TYPE, detail, scope=request.scope)
    fields = (
        FieldError(field=".".join(str(part) for part in wrong["loc"][1:]), detail=wrong["msg"]) for wrong in wrongs
    )
    return problem(
        ErrorCode.INVALID_REQUEST, "A parameter of the request is not valid.", scope=request.scope, fields=fields
    )


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks here if a page of another origin may call."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's handler for the framework's own errors: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    code = _BY_STATUS.get(error.status_code, ErrorCode.INVALID_REQUEST)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        allowed = _methods(request.app.openapi(), request.scope["path"]) or headers["Allow"].split(", ")
        headers["Allow"] = ", ".join(sorted({*allowed, "OPTIONS", *(["HEAD"] if "GET" in allowed else [])}))
        if is_preflight(request.method, request.headers):
            detail = "Pages of other origins may not call: VULTUS_CORS_ORIGINS lists none."
            return problem(ErrorCode.CORS_REFUSED, detail, scope=request.scope)
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    return problem(code, _DETAILS.get(code, TABLE[code].title + "."), scope=request.scope, headers=headers)


def _methods(document: Mapping[str, Any], path: str) -> list[str]:
    """Every method that this path takes; the framework names those of one route only."""
    parts = path.split("/")
    return sorted(
        method.upper()
        for template, item in document["paths"].items()
        for method in item
        if len(names := template.split("/")) == len(parts)
        if all(name == part or (name.startswith("{") and part) for name, part in zip(names, parts, strict=True))
    )
