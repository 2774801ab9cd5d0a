"""Parts of the OpenAPI document that FastAPI cannot derive from the code: parameters, headers, and problems."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http.headers import MAX_KEY
from api.http.problems import MEDIA_TYPE, RETRY_AFTER, TABLE, TYPE_PREFIX
from api.http.request_bodies import REF
from api.http.schemas import Problem
from shared.errors import IMAGE_REFUSALS, ErrorCode

_EXAMPLE_ID: Final = "req_5f2c0e9a7b1d4c3e8f60a1b2"
_RETRY_AFTER: Final = {"description": "Seconds to wait before retrying.", "schema": {"type": "integer"}}

IMAGE_CODES: Final = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.MALFORMED_FORM,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.GATEWAY_BUSY,
    *IMAGE_REFUSALS,
    ErrorCode.QUEUE_FULL,
    ErrorCode.QUOTA_EXCEEDED,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
)
"""Errors of every endpoint that accepts an image."""
CLASSIC_CODES: Final = (
    *IMAGE_CODES,
    ErrorCode.JOB_ENDED,
    ErrorCode.NO_WORKER,
    ErrorCode.WAIT_TIMEOUT,
    ErrorCode.MODEL_FAILURE,
    ErrorCode.WORKER_LOST,
    ErrorCode.TIMED_OUT,
)
"""Errors of endpoints that also wait for the job."""

READ_CODES: Final = (ErrorCode.JOB_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
"""Errors of endpoints that take the id of a job."""

BODY_CODES: Final = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.REQUEST_TOO_LARGE,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.GATEWAY_BUSY,
)
"""Errors of endpoints with a JSON body."""

SECURED_CODES: Final = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.RATE_LIMITED,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.AUTH_UNAVAILABLE,
)
"""Errors of endpoints that require authentication."""

API_KEY: Final[dict[str, Any]] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key (`vk_...`)."}
}
"""The alternative for clients that cannot set `Authorization`."""

BATCH_READ_CODES: Final = (ErrorCode.BATCH_NOT_FOUND, ErrorCode.STORE_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
"""Errors of endpoints that take the id of a batch."""

JOB_HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "URL of the job.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before polling again.", "schema": {"type": "integer"}},
    "Preference-Applied": {
        "description": "`wait=N`: the wait that was granted. `respond-async`: the response did not wait for the job.",
        "schema": {"type": "string"},
    },
}
REPLAYED: Final[dict[str, Any]] = {
    "Idempotent-Replayed": {
        "description": "`true` if this submission was received before. The response is the job that it created.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N` (RFC 7240): wait up to N seconds for the job to complete. `respond-async`: do not wait, "
    "which is the default.",
    "schema": {"type": "string"},
    "example": "wait=10",
}
IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": f"A unique key for this submission: 1 to {MAX_KEY} printable ASCII characters, with or without "
    "quotes. If you repeat a submission with the same key, the response is the job that was created first. Keys are "
    "kept for 24 hours, or as long as the job if that is longer.",
    "schema": {"type": "string"},
    "example": '"7d9f2c1e-6b1a-4c0e-9f53-1f6f1f0a9b2d"',
}
IF_MATCH: Final[dict[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the version that you read. If the resource has changed since, the request fails with "
    "412 and changes nothing.",
    "schema": {"type": "string"},
    "example": '"3"',
}
CANCEL_AFTER: Final[dict[str, Any]] = {
    "name": "Cancel-After",
    "in": "header",
    "required": False,
    "description": "How long the job may wait to start: `30s`, `500ms`, `2m`, `1h`, or `30` seconds; at most 30 days. "
    "If no worker has started it by then, its status becomes `expired`.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h)?$"},
    "example": "30s",
}


def problem_responses(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can fail with these codes."""
    by_status: dict[int, list[ErrorCode]] = defaultdict(list)
    for code in codes:
        by_status[TABLE[code].status].append(code)
    return {status: _problem_response(by_status[status]) for status in sorted(by_status)}


def _problem_response(codes: list[ErrorCode]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "; ".join(f"{TABLE[code].title} (`{code}`)" for code in codes) + ".",
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": REF.format(model=Problem.__name__)},
                "examples": {code.value: {"value": _example(code)} for code in codes},
            }
        },
    }
    if TABLE[codes[0]].status in {429, 503, 504} or RETRY_AFTER.keys() & set(codes):
        response["headers"] = {"Retry-After": _RETRY_AFTER}
    return response


def _example(code: ErrorCode) -> dict[str, Any]:
    status, title = TABLE[code]
    return {
        "type": TYPE_PREFIX + code.value,
        "title": title,
        "status": status,
        "detail": f"{title}.",
        "code": code.value,
        "request_id": _EXAMPLE_ID,
    }


def _with_refusals(responses: dict[str, Any]) -> dict[str, Any]:
    """Return the responses of an operation, with the authentication errors merged in by status."""
    codes = [
        ErrorCode(code)
        for response in responses.values()
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    ]
    problems = problem_responses(*dict.fromkeys([*codes, *SECURED_CODES]))
    merged = responses | {str(status): response for status, response in problems.items()}
    return dict(sorted(merged.items()))


def add_models(document: dict[str, Any], models: Iterable[type[BaseModel]]) -> None:
    """Add the schemas of models that only hand-written parts of the document refer to."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    documented: tuple[type[BaseModel], ...] = (Problem, *models)
    _, definitions = models_json_schema([(model, "validation") for model in documented], ref_template=REF)
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the authentication errors of each operation, and simplify what client generators cannot read.

    FastAPI documents its own 422 response for every operation with a parameter. The gateway never sends it, so it is
    removed.
    """
    for item in (*document["paths"].values(), *document.get("webhooks", {}).values()):
        for operation in item.values():
            if operation.get("security"):
                # A key is accepted in either header, but FastAPI documents only the declared one.
                operation["security"] += [{"key": scopes} for way in operation["security"] for scopes in way.values()]
                operation["responses"] = _with_refusals(operation["responses"])
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    document["components"]["securitySchemes"] |= API_KEY
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    _unroll_tuples(document)
    return document


def _unroll_tuples(node: Any) -> None:
    """Describe tuples as arrays of a fixed length, because many generators do not support `prefixItems`."""
    if isinstance(node, dict):
        if isinstance(node.get("prefixItems"), list):
            kinds = [dict(item) for item in node.pop("prefixItems")]
            for kind in kinds:
                kind.pop("description", None)
            alternatives = [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]
            node["items"] = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
        for value in node.values():
            _unroll_tuples(value)
    elif isinstance(node, list):
        for value in node:
            _unroll_tuples(value)
