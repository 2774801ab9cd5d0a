"""What the courier can be told: how patient it is, how much it does at once, how long its log is kept."""

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
        description="How long one attempt may take, in seconds, from looking the host up to the end of its answer.",
    )
    webhook_hold: Seconds = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=2),
        description="For how long what a courier has in hand is left to it when nothing is heard of it, in seconds.",
    )
    webhook_retries: Annotated[tuple[Seconds, ...], NoDecode, from_text(listed)] = Field(
        default=tuple(timedelta(seconds=delay) for delay in RETRIES),
        min_length=1,
        max_length=50,
        description="Seconds before each further attempt, commas between them; up to a fifth is added by chance.",
    )
    webhook_parallel: int = Field(
        default=512,
        ge=1,
        le=4096,
        description="Attempts of one courier at once; a tenant has at most as many of them as it leaves free.",
    )
    webhook_per_endpoint: int = Field(
        default=8, ge=1, le=256, description="Of those, at one destination; one, where its last attempt failed."
    )
    webhook_per_host: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Connections of one courier to one host at once; a tenant has at most as many as it leaves free.",
    )
    webhook_max_payload: int = Field(
        default=256 * 1024,
        ge=4096,
        le=4 * 1024 * 1024,
        description="Largest body of a callback, in bytes; a larger one is sent thin.",
    )
    webhook_traceparent: bool = Field(
        default=False,
        description="Send `traceparent` with each callback, so that a partner's trace goes on from ours.",
    )
    webhook_log_ttl: Seconds = Field(
        default=timedelta(hours=24), description="How long a delivery that arrived can be read, in seconds."
    )
    webhook_failed_ttl: Seconds = Field(
        default=timedelta(days=7),
        le=timedelta(days=30),
        description="How long a delivery that failed can be read and sent again, in seconds.",
    )
    webhook_disable_after: Seconds = Field(
        default=timedelta(days=5),
        description="How long an endpoint may fail without one success before it is disabled, in seconds.",
    )
    ready_file: Path | None = Field(
        default=None, description="File that is touched while the process does its work, for container health checks."
    )

    @property
    def patience(self) -> timedelta:
        """How long a delivery is tried to be made and put on record, from when it was taken."""
        return self.webhook_timeout + self.webhook_hold
