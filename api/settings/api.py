"""What the gateway can be told: its address, its limits, how long it waits."""

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
"""Characters of a session secret: 128 bits if it is hexadecimal."""


def read_secrets(value: SecretStr) -> tuple[str, ...]:
    """Split the secrets of a setting at commas; the newest comes first.

    Raises:
        ValueError: one is too short; the message repeats nothing of it.
    """
    secrets = listed(value.get_secret_value())
    if any(len(secret) < LEAST_SECRET for secret in secrets):
        msg = f"a secret has at least {LEAST_SECRET} characters, such as `openssl rand -hex 32` gives"
        raise ValueError(msg)
    return secrets


def _hosts(text: str) -> tuple[HostRule, ...]:
    """Read `photos.example.org, *.example.com`."""
    return read_hosts(listed(text))


class ApiSettings(AuthSettings, EdgeSettings, WebhookSettings):
    """Settings of one gateway process. Read once at start."""

    host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the gateway listens on.")
    drain_delay: SecondsOrNever = Field(
        default=timedelta(0),
        description="How long a gateway that was told to stop goes on while `/readyz` says 503, in seconds; longer "
        "than the load balancer in front takes to notice.",
    )
    max_image_bytes: int = Field(
        default=5 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest image file, in bytes."
    )
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Largest image, in pixels, read from its header; also the worker's."
    )
    queue_limit: int = Field(
        default=1000, ge=1, description="Jobs that may wait; above it a submission is answered 503."
    )
    queue_age_limit: Seconds = Field(
        default=timedelta(minutes=10),
        description="How long the first job in line may have waited, in seconds; beyond, a submission is answered 503.",
    )
    max_batch_items: int = Field(default=1000, ge=1, le=10_000, description="Most items of one batch.")
    max_batch_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, le=1024 * 1024 * 1024, description="Largest body of a batch, in bytes."
    )
    wait_limit: Seconds = Field(
        default=timedelta(seconds=60), description="Longest wait that `Prefer: wait` and `?wait=` grant, in seconds."
    )
    sync_timeout: Seconds = Field(
        default=timedelta(seconds=30), description="How long a classic endpoint waits for its job, in seconds."
    )
    sync_result_ttl: Seconds = Field(
        default=timedelta(minutes=5), description="How long the job behind a classic call can be read, in seconds."
    )
    match_threshold: float = Field(
        default=0.5, ge=-1, le=1, description="Classic endpoints: match means similarity > this cosine."
    )
    image_url_hosts: Annotated[tuple[HostRule, ...], NoDecode, from_text(_hosts)] = Field(
        default=(),
        description="Hosts that images may be fetched from, such as `photos.example.org, *.example.com`; a port other "
        "than the usual one is named (`photos.example.org:8443`). Empty = images by URL are off.",
    )
    image_url_allow_http: bool = Field(
        default=False,
        description="Fetch images from `http://` addresses too: anyone on the way can read and change them.",
    )
    image_url_allow_private: bool = Field(
        default=False,
        description="Fetch images from hosts in private networks too: loopback, RFC 1918, carriers' shared space and "
        "unique local IPv6. Metadata and link-local addresses stay closed.",
    )
    image_url_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        description="How long the fetch of one image may take, in seconds, from looking its host up to its last byte.",
    )
    image_url_parallel: int = Field(
        default=16,
        ge=1,
        le=128,
        description="Jobs whose images one gateway fetches at once; a host has at most as many as it leaves free, a "
        "tenant thrice as many.",
    )

    session_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="Secrets (commas between them, 32 characters each at least) that sign client tokens of liveness "
        "sessions, the same on every gateway; the first signs, all are taken. Empty = no liveness sessions.",
    )

    demo: bool = Field(
        default=False, description="Serve the page `/demo/liveness`, which runs a liveness session with a camera."
    )

    @field_validator("session_secrets")
    @classmethod
    def _each_is_long_enough(cls, value: SecretStr) -> SecretStr:
        read_secrets(value)
        return value

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """What signs client tokens, the newest first."""
        return read_secrets(self.session_secrets)

    @property
    def webhook_policy(self) -> WebhookPolicy:
        """Which receivers of webhooks are taken."""
        return WebhookPolicy(bool(self.signing_secrets(DEFAULT)), self.webhook_allow_http, self.webhook_allow_private)

    @property
    def url_policy(self) -> UrlPolicy:
        """Which addresses of images are taken."""
        return UrlPolicy(self.image_url_hosts, self.image_url_allow_http, self.image_url_allow_private)
