"""Gateway settings: address, limits, and waiting times."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from api.settings.auth import AuthSettings
from api.settings.edge import EdgeSettings
from api.settings.image_urls import HostRule, UrlPolicy, read_hosts
from api.settings.webhook_urls import WebhookPolicy
from shared.settings import Seconds, SecondsOrNever, from_text, listed
from shared.tenants import DEFAULT
from shared.webhooks.settings import WebhookSettings

LEAST_SECRET: Final = 32
"""Minimum length of a session secret, in characters: 128 bits if it is hexadecimal."""


def read_secrets(value: SecretStr) -> tuple[str, ...]:
    """Split a comma-separated setting into secrets, newest first.

    Raises:
        ValueError: a secret is too short. The message does not contain it.
    """
    secrets = listed(value.get_secret_value())
    if any(len(secret) < LEAST_SECRET for secret in secrets):
        msg = f"each secret needs at least {LEAST_SECRET} characters; generate one with `openssl rand -hex 32`"
        raise ValueError(msg)
    return secrets


def _hosts(text: str) -> tuple[HostRule, ...]:
    """Read `photos.example.org, *.example.com`."""
    return read_hosts(listed(text))


class ApiSettings(AuthSettings, EdgeSettings, WebhookSettings):
    """Settings of a gateway process, read once at start."""

    host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the gateway listens on.")
    drain_delay: SecondsOrNever = Field(
        default=timedelta(0),
        description="How long a stopping gateway keeps serving while `/readyz` returns 503, in seconds. Set it longer "
        "than the load balancer takes to notice.",
    )
    max_image_bytes: int = Field(
        default=5 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest image file, in bytes."
    )
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Largest image, in pixels. Gateway and worker both read it."
    )
    queue_limit: int = Field(
        default=1000, ge=1, description="Maximum number of queued jobs. Further submissions get 503."
    )
    queue_age_limit: Seconds = Field(
        default=timedelta(minutes=10),
        description="Maximum age of the oldest queued job, in seconds. If it has waited longer, submissions get 503.",
    )
    max_batch_items: int = Field(default=1000, ge=1, le=10_000, description="Maximum number of items in a batch.")
    max_batch_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="Largest request body of a batch, in bytes.",
    )
    wait_limit: Seconds = Field(
        default=timedelta(seconds=60), description="Longest wait granted to `Prefer: wait` and `?wait=`, in seconds."
    )
    sync_timeout: Seconds = Field(
        default=timedelta(seconds=30), description="How long a classic endpoint waits for its job, in seconds."
    )
    sync_result_ttl: Seconds = Field(
        default=timedelta(minutes=5), description="How long the job of a classic call can be read, in seconds."
    )
    match_threshold: float = Field(
        default=0.5, ge=-1, le=1, description="Cosine similarity above which a classic endpoint reports a match."
    )
    image_url_hosts: Annotated[tuple[HostRule, ...], NoDecode, from_text(_hosts)] = Field(
        default=(),
        description="Hosts that images may be fetched from, such as `photos.example.org, *.example.com`. Add the port "
        "if it is not the default (`photos.example.org:8443`). Empty = images by URL are disabled.",
    )
    image_url_allow_http: bool = Field(
        default=False,
        description="Also fetch images from `http://` URLs. Anyone on the network path can read and change them.",
    )
    image_url_allow_private: bool = Field(
        default=False,
        description="Also fetch images from hosts in private networks: loopback, RFC 1918, carrier-grade NAT, and "
        "unique local IPv6. Metadata and link-local addresses stay blocked.",
    )
    image_url_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        description="Maximum duration of one image fetch, in seconds, from DNS lookup to the last byte.",
    )
    image_url_parallel: int = Field(
        default=16,
        ge=1,
        le=128,
        description="Jobs whose images one gateway fetches concurrently. One host may use at most as many as it leaves "
        "free, and one tenant at most three times as many as it leaves free.",
    )

    session_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="Comma-separated secrets of at least 32 characters that sign the client tokens of liveness "
        "sessions; the same on every gateway. The first one signs, and all of them verify. Empty = liveness sessions "
        "are disabled.",
    )

    demo: bool = Field(
        default=False, description="Serve the page `/demo/liveness`, which runs a liveness session with the camera."
    )

    @field_validator("session_secrets")
    @classmethod
    def _each_is_long_enough(cls, value: SecretStr) -> SecretStr:
        read_secrets(value)
        return value

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """The secrets of client tokens, newest first."""
        return read_secrets(self.session_secrets)

    @property
    def webhook_policy(self) -> WebhookPolicy:
        """Which webhook URLs are allowed."""
        return WebhookPolicy(bool(self.signing_secrets(DEFAULT)), self.webhook_allow_http, self.webhook_allow_private)

    @property
    def url_policy(self) -> UrlPolicy:
        """Which image URLs are allowed."""
        return UrlPolicy(self.image_url_hosts, self.image_url_allow_http, self.image_url_allow_private)
