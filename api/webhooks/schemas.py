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

    url: str = Field(min_length=1, max_length=MAX_URL, description="Where callbacks are posted, `https://` only.")
    description: str = Field(default="", max_length=200)
    events: WebhookEvents | None = Field(default=None, description="What it is told of; everything, where left out.")
    payload: PayloadForm = Field(default=PayloadForm.THIN, description="`full` sends the job, not only where it is.")
    include_embeddings: bool = Field(default=False, description="Whether a full payload holds embeddings.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent with every callback, at most 10. Their values are shown nowhere again."
    )


class EndpointChange(Submitted):
    """What is to change of an endpoint; the rest stays."""

    url: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    description: str | None = Field(default=None, max_length=200)
    events: WebhookEvents | None = None
    payload: PayloadForm | None = None
    include_embeddings: bool | None = None
    headers: dict[str, str] | None = Field(default=None, description="Instead of those before.")


class Rotation(Submitted):
    """How a secret is changed."""

    overlap_seconds: int = Field(
        default=86400, ge=0, le=MAX_OVERLAP, description="How long the secrets before sign beside the new one."
    )


class SecretInfo(BaseModel):
    """A secret, without itself."""

    created_at: Time
    expires_at: Time | None = Field(description="When it signs no more; null for the newest.")


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
        description="`by_request`; `gone`: it answered 410; `failing`: nothing but failures for too long."
    )
    disabled_at: Time | None
    failing_since: Time | None = Field(description="The first failure that no success followed.")
    created_at: Time
    secrets: list[SecretInfo] = Field(description="The newest first.")


class EndpointWithSecret(EndpointBody):
    """An endpoint with its newest secret, which is shown this once."""

    secret: str = Field(description="`whsec_...`: keep it; it is not shown again.")


class SigningSecrets(BaseModel):
    """What signs callbacks to addresses that come with jobs."""

    secrets: list[str] = Field(
        description="`whsec_...`; every callback carries a signature of each. More than one: the operator is changing "
        "them, and the first stays."
    )


class EndpointList(BaseModel):
    """Every endpoint, the newest first."""

    endpoints: list[EndpointBody]


class DeliveryBody(BaseModel):
    """One event for one receiver."""

    id: str = Field(examples=[DELIVERY_ID])
    webhook_id: str = Field(description="The `webhook-id` of every attempt: the event's id.")
    event: EventType
    subject: str = Field(description="The job, batch, or, of a test, endpoint.")
    endpoint_id: str | None = Field(description="Null where the address came with the job.")
    status: DeliveryStatus = Field(
        description="`failed`: no attempt follows by itself. `canceled`: its endpoint is gone."
    )
    attempts: int = Field(ge=0)
    next_attempt_at: Time | None
    created_at: Time
    ended_at: Time | None
    last_status: int | None = Field(description="HTTP status of the last attempt.")
    last_error: str | None = Field(description="Why the last attempt had none, or a word about what came after it.")


class AttemptBody(BaseModel):
    """One request, and what was answered."""

    number: int = Field(ge=1)
    at: Time
    milliseconds: float
    status: int | None
    error: str | None
    response: str = Field(description="The first 1,024 bytes of the answer's body.")
    request_headers: dict[str, str] = Field(description="What was sent; values of the endpoint's own headers left out.")


class DeliveryWithLog(DeliveryBody):
    """A delivery with its last 20 attempts, the oldest first."""

    log: list[AttemptBody]


class SubjectDeliveries(BaseModel):
    """Every delivery of the end of one job or batch."""

    deliveries: list[DeliveryBody]


class DeliveryList(BaseModel):
    """Some deliveries, the newest first."""

    deliveries: list[DeliveryBody]
    next_cursor: str | None = Field(description="For the next page; null where this is the last.")


class DeliveryQuery(BaseModel):
    """Which deliveries are listed."""

    model_config = ConfigDict(extra="forbid")

    status: DeliveryStatus | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class ResendFailed(Submitted):
    """What is to be sent again."""

    since: Annotated[AwareDatetime, BeforeValidator(only_rfc3339)] = Field(
        description="RFC 3339: every failed delivery made since then."
    )


class Resent(BaseModel):
    """How many deliveries are due again."""

    resent: int = Field(ge=0)


def endpoint_content(endpoint: Endpoint, *, secret: str | None = None) -> dict[str, Any]:
    """The endpoint as EndpointBody describes it; with `secret`, as EndpointWithSecret does."""
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
    """The delivery as DeliveryBody describes it."""
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
    """The attempt as AttemptBody describes it."""
    return {
        "number": attempt.number,
        "at": rfc3339(attempt.at),
        "milliseconds": attempt.milliseconds,
        "status": attempt.status,
        "error": attempt.error,
        "response": attempt.response,
        "request_headers": dict(attempt.request_headers),
    }
