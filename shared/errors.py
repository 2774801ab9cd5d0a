"""Every error that Vultus raises on purpose, and the closed list of error codes.

VultusError
├── RequestError            the input is wrong, and the caller can correct it
│   ├── ImageError              the bytes are not a supported image
│   └── EmbeddingError          a vector cannot be compared
├── JobError                the worker cannot do the job as requested
├── FetchError              an image cannot be downloaded; `retryable` says whether it may be later
└── UnavailableError        try again later; carries a `retry_after`

SettingsError               a process refuses to start, with one clear message
TriedBeforeError            between ledger and worker: the next job must run alone

A VultusError carries a `code`, a `detail` sentence for the caller, and whether the same request may work later
(`retryable`). HTTP statuses are not defined here but in `api/http/problems.py`.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """The closed list of error codes. docs/errors.md explains each one and what to do about it."""

    INVALID_REQUEST = "invalid_request"
    MALFORMED_JSON = "malformed_json"
    MALFORMED_FORM = "malformed_form"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    REQUEST_TOO_LARGE = "request_too_large"
    MALFORMED_REQUEST = "malformed_request"
    HEADERS_TOO_LARGE = "headers_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    HOST_REFUSED = "host_refused"
    CORS_REFUSED = "cors_refused"
    GATEWAY_BUSY = "gateway_busy"
    EMPTY_IMAGE = "empty_image"
    INVALID_IMAGE = "invalid_image"
    UNSUPPORTED_IMAGE_TYPE = "unsupported_image_type"
    ANIMATED_IMAGE = "animated_image"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_DIMENSIONS_TOO_LARGE = "image_dimensions_too_large"
    INVALID_EMBEDDING = "invalid_embedding"
    EMBEDDING_CONTRACT_MISMATCH = "embedding_contract_mismatch"
    LIVENESS_UNAVAILABLE = "liveness_unavailable"
    ATTRIBUTE_UNAVAILABLE = "attribute_unavailable"
    CALIBRATION_UNAVAILABLE = "calibration_unavailable"
    FMR_OUT_OF_RANGE = "fmr_out_of_range"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    AUTH_UNAVAILABLE = "auth_unavailable"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    NOT_FOUND = "not_found"
    JOB_NOT_FOUND = "job_not_found"
    KEY_NOT_FOUND = "key_not_found"
    TENANT_NOT_FOUND = "tenant_not_found"
    TENANT_EXISTS = "tenant_exists"
    BATCH_NOT_FOUND = "batch_not_found"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    TOO_MANY_ENDPOINTS = "too_many_endpoints"
    DELIVERY_NOT_FOUND = "delivery_not_found"
    WEBHOOKS_OFF = "webhooks_off"
    WEBHOOK_URL_REFUSED = "webhook_url_refused"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_ENDED = "session_ended"
    FRAME_IN_WORK = "frame_in_work"
    SESSIONS_OFF = "sessions_off"
    CLIENT_TOKEN_INVALID = "client_token_invalid"  # noqa: S105 - the name of an error
    JOB_ENDED = "job_ended"
    NOT_RETRYABLE = "not_retryable"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    IMAGE_URLS_OFF = "image_urls_off"
    IMAGE_URL_REFUSED = "image_url_refused"
    IMAGE_UNREACHABLE = "image_unreachable"
    PRECONDITION_FAILED = "precondition_failed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    QUEUE_FULL = "queue_full"
    NO_WORKER = "no_worker"
    STORE_UNAVAILABLE = "store_unavailable"
    WAIT_TIMEOUT = "wait_timeout"
    MODEL_FAILURE = "model_failure"
    WORKER_LOST = "worker_lost"
    TIMED_OUT = "timed_out"
    INTERNAL_ERROR = "internal_error"


IMAGE_REFUSALS: Final = (
    ErrorCode.EMPTY_IMAGE,
    ErrorCode.INVALID_IMAGE,
    ErrorCode.UNSUPPORTED_IMAGE_TYPE,
    ErrorCode.ANIMATED_IMAGE,
    ErrorCode.IMAGE_TOO_LARGE,
    ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE,
)
"""The codes with which an image is refused for what it is."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: a dotted path (`params.threshold`) and a sentence."""

    field: str
    detail: str


class VultusError(Exception):
    """Root of the tree. `detail` is one sentence that is safe to show to the caller."""

    retryable = False

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class RequestError(VultusError):
    """The request is invalid; `fields` names what to correct."""

    def __init__(self, code: ErrorCode, detail: str, *, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(code, detail)
        self.fields = fields


class ImageError(RequestError):
    """The image is empty, damaged, too large, or of an unsupported type."""


class EmbeddingError(RequestError):
    """A vector has the wrong length, is zero, not finite, or comes from another model."""


class JobError(VultusError):
    """The worker cannot do this job; trying again would fail the same way."""


class FetchError(VultusError):
    """An image cannot be downloaded from its URL; `retryable` says whether a later attempt may succeed."""

    def __init__(self, code: ErrorCode, detail: str, *, retryable: bool) -> None:
        super().__init__(code, detail)
        self.retryable = retryable


class UnavailableError(VultusError):
    """A dependency is unavailable; the same request may work after `retry_after`."""

    retryable = True

    def __init__(self, code: ErrorCode, detail: str, *, retry_after: timedelta = timedelta(seconds=2)) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class SettingsError(Exception):
    """A setting or an installation is invalid; the message is the one line that the operator reads."""


class TriedBeforeError(Exception):
    """The next queued job has lost a worker before: only a process that runs no other job may claim it."""
