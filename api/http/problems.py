"""Error responses: the table from error code to HTTP status, and RFC 9457 problem documents."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from shared.errors import ErrorCode, FieldError, RequestError, UnavailableError, VultusError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:vultus:error:"
MAX_FIELDS: Final = 20
"""Maximum number of invalid fields in one response. A vector of 512 strings must not yield 512 entries."""
MAX_FIELD_NAME: Final = 100


class Kind(NamedTuple):
    """The HTTP status and title of an error code."""

    status: int
    title: str


TABLE: Final[Mapping[ErrorCode, Kind]] = {
    ErrorCode.INVALID_REQUEST: Kind(422, "Invalid request"),
    ErrorCode.MALFORMED_JSON: Kind(400, "Malformed JSON"),
    ErrorCode.MALFORMED_FORM: Kind(400, "Malformed form"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Kind(415, "Unsupported content type"),
    ErrorCode.REQUEST_TOO_LARGE: Kind(413, "Request too large"),
    ErrorCode.MALFORMED_REQUEST: Kind(400, "Malformed HTTP request"),
    ErrorCode.HEADERS_TOO_LARGE: Kind(431, "Request headers too large"),
    ErrorCode.REQUEST_TIMEOUT: Kind(408, "Request timed out"),
    ErrorCode.HOST_REFUSED: Kind(421, "Unknown host name"),
    ErrorCode.CORS_REFUSED: Kind(403, "Cross-origin request refused"),
    ErrorCode.GATEWAY_BUSY: Kind(503, "Gateway at capacity"),
    ErrorCode.EMPTY_IMAGE: Kind(400, "Empty image"),
    ErrorCode.INVALID_IMAGE: Kind(400, "Invalid image"),
    ErrorCode.UNSUPPORTED_IMAGE_TYPE: Kind(415, "Unsupported image type"),
    ErrorCode.ANIMATED_IMAGE: Kind(415, "Animated images are not supported"),
    ErrorCode.IMAGE_TOO_LARGE: Kind(413, "Image file too large"),
    ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE: Kind(413, "Image dimensions too large"),
    ErrorCode.INVALID_EMBEDDING: Kind(422, "Invalid embedding"),
    ErrorCode.EMBEDDING_CONTRACT_MISMATCH: Kind(422, "Embedding made by another model"),
    ErrorCode.LIVENESS_UNAVAILABLE: Kind(501, "The model pack has no liveness model"),
    ErrorCode.ATTRIBUTE_UNAVAILABLE: Kind(501, "The model pack has no model for this attribute"),
    ErrorCode.CALIBRATION_UNAVAILABLE: Kind(501, "The model pack has no false-match rate table"),
    ErrorCode.FMR_OUT_OF_RANGE: Kind(422, "False-match rate out of range"),
    ErrorCode.UNAUTHENTICATED: Kind(401, "Authentication required"),
    ErrorCode.FORBIDDEN: Kind(403, "Permission denied"),
    ErrorCode.AUTH_UNAVAILABLE: Kind(503, "Authentication temporarily unavailable"),
    ErrorCode.RATE_LIMITED: Kind(429, "Rate limit exceeded"),
    ErrorCode.QUOTA_EXCEEDED: Kind(429, "Tenant job quota exceeded"),
    ErrorCode.NOT_FOUND: Kind(404, "Path not found"),
    ErrorCode.JOB_NOT_FOUND: Kind(404, "Job not found"),
    ErrorCode.KEY_NOT_FOUND: Kind(404, "API key not found"),
    ErrorCode.TENANT_NOT_FOUND: Kind(404, "Tenant not found"),
    ErrorCode.TENANT_EXISTS: Kind(409, "Tenant already exists"),
    ErrorCode.BATCH_NOT_FOUND: Kind(404, "Batch not found"),
    ErrorCode.ENDPOINT_NOT_FOUND: Kind(404, "Webhook endpoint not found"),
    ErrorCode.TOO_MANY_ENDPOINTS: Kind(409, "Too many webhook endpoints"),
    ErrorCode.DELIVERY_NOT_FOUND: Kind(404, "Delivery not found"),
    ErrorCode.WEBHOOKS_OFF: Kind(422, "Per-job webhook URLs are disabled"),
    ErrorCode.WEBHOOK_URL_REFUSED: Kind(422, "Webhook URL not allowed"),
    ErrorCode.SESSION_NOT_FOUND: Kind(404, "Liveness session not found"),
    ErrorCode.SESSION_ENDED: Kind(409, "The liveness session has ended"),
    ErrorCode.FRAME_IN_WORK: Kind(409, "Another frame is being analyzed"),
    ErrorCode.SESSIONS_OFF: Kind(422, "Liveness sessions are disabled"),
    ErrorCode.CLIENT_TOKEN_INVALID: Kind(401, "Invalid client token"),
    ErrorCode.JOB_ENDED: Kind(409, "The job has already ended"),
    ErrorCode.NOT_RETRYABLE: Kind(409, "The job cannot be retried"),
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: Kind(409, "A request with this idempotency key is in progress"),
    ErrorCode.IDEMPOTENCY_MISMATCH: Kind(422, "Idempotency key used for another request"),
    ErrorCode.IMAGE_URLS_OFF: Kind(422, "Images by URL are disabled"),
    ErrorCode.IMAGE_URL_REFUSED: Kind(422, "Image URL not allowed"),
    ErrorCode.IMAGE_UNREACHABLE: Kind(422, "The image could not be fetched"),
    ErrorCode.PRECONDITION_FAILED: Kind(412, "The resource has changed"),
    ErrorCode.METHOD_NOT_ALLOWED: Kind(405, "Method not allowed"),
    ErrorCode.QUEUE_FULL: Kind(503, "The queue is full"),
    ErrorCode.NO_WORKER: Kind(503, "No worker available"),
    ErrorCode.STORE_UNAVAILABLE: Kind(503, "Job store unavailable"),
    ErrorCode.WAIT_TIMEOUT: Kind(504, "Timed out waiting for the job"),
    ErrorCode.MODEL_FAILURE: Kind(500, "The model returned an invalid result"),
    ErrorCode.WORKER_LOST: Kind(500, "Worker lost during the job"),
    ErrorCode.TIMED_OUT: Kind(500, "Job timed out"),
    ErrorCode.INTERNAL_ERROR: Kind(500, "Internal error"),
}
"""Covers every code, which a test checks."""

RETRY_AFTER: Final[Mapping[ErrorCode, timedelta]] = {
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: timedelta(seconds=1),
    ErrorCode.FRAME_IN_WORK: timedelta(seconds=1),
}
"""When to repeat the same request, for codes whose errors do not carry a delay of their own."""

HEADERS: Final[Mapping[ErrorCode, Mapping[str, str]]] = {
    ErrorCode.UNAUTHENTICATED: {"WWW-Authenticate": 'Bearer realm="vultus"'}
}
"""Additional headers of a code's responses."""

_BY_STATUS: Final = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.REQUEST_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
_DETAILS: Final = {
    ErrorCode.NOT_FOUND: "No endpoint has this path.",
    ErrorCode.METHOD_NOT_ALLOWED: "This path does not support this method. See the Allow header for supported methods.",
}


def request_id(scope: Scope) -> str:
    """Return the id that `RequestContextMiddleware` assigned to this request."""
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
    """Return the response for one error, and store its code for the request's log line."""
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
    """Return a field name as sent by the client, truncated. Values are never repeated."""
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_FIELD_NAME])


def from_error(error: VultusError, *, scope: Scope) -> Response:
    """Return the response for an expected error."""
    return problem(
        error.code,
        error.detail,
        scope=scope,
        fields=error.fields if isinstance(error, RequestError) else (),
        retry_after=error.retry_after if isinstance(error, UnavailableError) else RETRY_AFTER.get(error.code),
    )


def internal_error(scope: Scope) -> Response:
    """Return the response for an unexpected error. The log has the cause, under the same request id."""
    detail = "An unexpected server error occurred. Include the request_id when you report it."
    return problem(ErrorCode.INTERNAL_ERROR, detail, scope=scope)


async def answer_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for `VultusError`."""
    assert isinstance(error, VultusError)  # noqa: S101 - registered for this class
    return from_error(error, scope=request.scope)


async def answer_validation(request: Request, error: Exception) -> Response:
    """Starlette's handler for FastAPI's own validation of path, query, and body."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    violations = error.errors()
    if any(violation["type"] == "json_invalid" for violation in violations):
        return problem(ErrorCode.MALFORMED_JSON, "The body is not valid JSON.", scope=request.scope)
    if any(violation["loc"] == ("body",) for violation in violations) and not _is_json(request):
        detail = "This endpoint accepts application/json."
        return problem(ErrorCode.UNSUPPORTED_MEDIA_TYPE, detail, scope=request.scope)
    fields = (
        FieldError(field=".".join(str(part) for part in violation["loc"][1:]), detail=violation["msg"])
        for violation in violations
    )
    return problem(
        ErrorCode.INVALID_REQUEST, "A parameter of the request is not valid.", scope=request.scope, fields=fields
    )


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_preflight(method: str, headers: Headers) -> bool:
    """True for a CORS preflight request."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's handler for the framework's own errors: unknown paths and unsupported methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    code = _BY_STATUS.get(error.status_code, ErrorCode.INVALID_REQUEST)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        allowed = _methods(request.app.state.routes, request.scope["path"]) or headers["Allow"].split(", ")
        headers["Allow"] = ", ".join(sorted({*allowed, "OPTIONS", *(["HEAD"] if "GET" in allowed else [])}))
        if is_preflight(request.method, request.headers):
            detail = "Cross-origin requests are disabled: VULTUS_CORS_ORIGINS is empty."
            return problem(ErrorCode.CORS_REFUSED, detail, scope=request.scope)
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    return problem(code, _DETAILS.get(code, TABLE[code].title + "."), scope=request.scope, headers=headers)


def _methods(routes: Sequence[APIRoute], path: str) -> set[str]:
    """Return every method of this path; the framework names only those of one route."""
    return {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
