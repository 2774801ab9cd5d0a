"""Courier settings: timeouts, retries, concurrency and log retention."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import NoDecode

from shared.settings import Seconds, from_text, listed
from shared.webhooks.settings import WebhookSettings

RETRIES = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


class CourierSettings(WebhookSettings):
    """Settings of one courier process. Read once at start."""

    webhook_timeout: Seconds = Field(
        default=timedelta(seconds=15),
        description="Maximum duration of one attempt, in seconds, from DNS lookup to the end of the response.",
    )
    webhook_hold: Seconds = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=2),
        description="Lease on the deliveries that a courier is processing, in seconds. If the courier does not renew "
        "it, another courier takes them over.",
    )
    webhook_retries: Annotated[tuple[Seconds, ...], NoDecode, from_text(listed)] = Field(
        default=tuple(timedelta(seconds=delay) for delay in RETRIES),
        min_length=1,
        max_length=50,
        description="Delays before each retry, in seconds, separated by commas; each gets up to 20 % random jitter.",
    )
    webhook_parallel: int = Field(
        default=512,
        ge=1,
        le=4096,
        description="Concurrent attempts of one courier. A tenant may use at most as many as it leaves free.",
    )
    webhook_per_endpoint: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Concurrent attempts at one destination; only one while its last attempt failed.",
    )
    webhook_per_host: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Concurrent connections of one courier to one host. A tenant may use at most as many as it leaves "
        "free.",
    )
    webhook_max_payload: int = Field(
        default=256 * 1024,
        ge=4096,
        le=4 * 1024 * 1024,
        description="Largest callback body, in bytes. Larger payloads are sent in the thin form.",
    )
    webhook_traceparent: bool = Field(
        default=False,
        description="Send `traceparent` with each callback, so that the receiver's trace continues ours.",
    )
    webhook_log_ttl: Seconds = Field(
        default=timedelta(hours=24), description="How long successful deliveries remain readable, in seconds."
    )
    webhook_failed_ttl: Seconds = Field(
        default=timedelta(days=7),
        le=timedelta(days=30),
        description="How long failed deliveries remain readable and can be resent, in seconds.",
    )
    webhook_disable_after: Seconds = Field(
        default=timedelta(days=5),
        description="How long an endpoint may fail without a single success before it is disabled, in seconds.",
    )
    ready_file: Path | None = Field(
        default=None, description="File that a healthy courier touches regularly, for container health checks."
    )

    @property
    def patience(self) -> timedelta:
        """Maximum time from taking a delivery to recording its outcome."""
        return self.webhook_timeout + self.webhook_hold
