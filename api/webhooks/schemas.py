"""Request and response bodies of webhook endpoints and their deliveries."""

from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api.http.schemas import Time, only_rfc3339
from api.jobs.schemas import WebhookEvents
from shared.deliveries import Attempt, Delivery, DeliveryStatus
from shared.job_content import rfc3339
from shared.net.urls import MAX_URL
from shared.submitted import Submitted
from shared.webhooks.schemas import DisabledReason, Endpoint, EventType, PayloadForm, Secret

ENDPOINT_ID: Final = "we_5f2c0e9a7b1d4c3e8f60a1b2c3d4e5f6"
DELIVERY_ID: Final = "dlv_00019b8d3c1a386d5a7c90e1d24f68ab0c_9f86d081884c7d65"
MAX_OVERLAP: Final = 7 * 86400
MAX_PAGE: Final = 100


class EndpointSubmission(Submitted):
    """An endpoint to register."""

    url: str = Field(
        min_length=1, max_length=MAX_URL, description="URL that receives the callbacks. Must be `https://`."
    )
    description: str = Field(default="", max_length=200)
    events: WebhookEvents | None = Field(default=None, description="Event types to send. All by default.")
    payload: PayloadForm = Field(
        default=PayloadForm.THIN, description="`thin` sends the URL of the job, `full` the complete job."
    )
    include_embeddings: bool = Field(default=False, description="Whether a full payload includes embeddings.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers to send with every callback, at most 10. Their values are never returned.",
    )


class EndpointChange(Submitted):
    """Changes to an endpoint. Missing fields keep their values."""

    url: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    description: str | None = Field(default=None, max_length=200)
    events: WebhookEvents | None = None
    payload: PayloadForm | None = None
    include_embeddings: bool | None = None
    headers: dict[str, str] | None = Field(default=None, description="Replaces all headers.")


class Rotation(Submitted):
    """Options of a secret rotation."""

    overlap_seconds: int = Field(
        default=86400, ge=0, le=MAX_OVERLAP, description="How long callbacks are also signed with the previous secrets."
    )


class SecretInfo(BaseModel):
    """Information about a secret, without the secret itself."""

    created_at: Time
    expires_at: Time | None = Field(description="When the secret stops signing; null for the newest.")


class EndpointBody(BaseModel):
    """A registered endpoint."""

    id: str = Field(examples=[ENDPOINT_ID])
    url: str
    description: str
    events: list[EventType]
    payload: PayloadForm
    include_embeddings: bool
    header_names: list[str] = Field(description="Names of the headers sent with every callback.")
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`by_request`; `gone`: the endpoint returned 410; `failing`: every attempt failed for too long."
    )
    disabled_at: Time | None
    failing_since: Time | None = Field(description="Time of the first failure since the last success.")
    created_at: Time
    secrets: list[SecretInfo] = Field(description="Secrets that sign callbacks, newest first.")


class EndpointWithSecret(EndpointBody):
    """An endpoint with its newest secret, which is shown only once."""

    secret: str = Field(description="`whsec_...`. Store it; it is not shown again.")


class SigningSecrets(BaseModel):
    """The secrets that sign callbacks to per-job webhook URLs."""

    secrets: list[str] = Field(
        description="`whsec_...`. Every callback is signed with each of them. There are several while the operator "
        "rotates secrets; the first one remains valid."
    )


class EndpointList(BaseModel):
    """Every endpoint, newest first."""

    endpoints: list[EndpointBody]


class DeliveryBody(BaseModel):
    """One event for one receiver."""

    id: str = Field(examples=[DELIVERY_ID])
    webhook_id: str = Field(description="Id of the event, sent as `webhook-id` with every attempt.")
    event: EventType
    subject: str = Field(description="Id of the job, batch, or liveness session; for a test, of the endpoint.")
    endpoint_id: str | None = Field(description="Null if the URL came with the job.")
    status: DeliveryStatus = Field(
        description="`failed`: there are no further automatic attempts. `canceled`: the endpoint was deleted."
    )
    attempts: int = Field(ge=0)
    next_attempt_at: Time | None
    created_at: Time
    ended_at: Time | None
    last_status: int | None = Field(description="HTTP status of the latest attempt.")
    last_error: str | None = Field(
        description="Why the latest attempt got no HTTP status, or a note about what followed it."
    )


class AttemptBody(BaseModel):
    """One attempt: the request and the response."""

    number: int = Field(ge=1)
    at: Time
    milliseconds: float
    status: int | None
    error: str | None
    response: str = Field(description="The first 1,024 bytes of the response body.")
    request_headers: dict[str, str] = Field(
        description="Headers of the request, without the values of the endpoint's own headers."
    )


class DeliveryWithLog(DeliveryBody):
    """A delivery with its latest 20 attempts, oldest first."""

    log: list[AttemptBody]


class SubjectDeliveries(BaseModel):
    """Every delivery about one job or batch."""

    deliveries: list[DeliveryBody]


class DeliveryList(BaseModel):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryBody]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class DeliveryQuery(BaseModel):
    """Filters for the list of deliveries."""

    model_config = ConfigDict(extra="forbid")

    status: DeliveryStatus | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(default=None, description="`next_cursor` of the previous page.")


class ResendFailed(Submitted):
    """Which failed deliveries to resend."""

    since: Annotated[AwareDatetime, BeforeValidator(only_rfc3339)] = Field(
        description="Resend the failed deliveries created since this time (RFC 3339)."
    )


class Resent(BaseModel):
    """The number of deliveries that are due again."""

    resent: int = Field(ge=0)


def endpoint_content(endpoint: Endpoint, *, secret: str | None = None) -> dict[str, Any]:
    """The JSON content of an `EndpointBody`; with `secret`, of an `EndpointWithSecret`."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": [event.value for event in endpoint.events],
        "payload": endpoint.payload.value,
        "include_embeddings": endpoint.include_embeddings,
        "header_names": sorted(endpoint.headers),
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason and endpoint.disabled_reason.value,
        "disabled_at": rfc3339(endpoint.disabled_at),
        "failing_since": rfc3339(endpoint.failing_since),
        "created_at": rfc3339(endpoint.created_at),
        "secrets": [_secret(each) for each in endpoint.secrets],
        **({} if secret is None else {"secret": secret}),
    }


def _secret(secret: Secret) -> dict[str, Any]:
    return {"created_at": rfc3339(secret.created_at), "expires_at": rfc3339(secret.expires_at)}


def delivery_content(delivery: Delivery) -> dict[str, Any]:
    """The JSON content of a `DeliveryBody`."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.event.id,
        "event": delivery.event.type.value,
        "subject": delivery.event.subject,
        "endpoint_id": delivery.endpoint,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "next_attempt_at": rfc3339(delivery.next_at),
        "created_at": rfc3339(delivery.created_at),
        "ended_at": rfc3339(delivery.ended_at),
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    }


def attempt_content(attempt: Attempt) -> dict[str, Any]:
    """The JSON content of an `AttemptBody`."""
    return {
        "number": attempt.number,
        "at": rfc3339(attempt.at),
        "milliseconds": attempt.milliseconds,
        "status": attempt.status,
        "error": attempt.error,
        "response": attempt.response,
        "request_headers": dict(attempt.request_headers),
    }
