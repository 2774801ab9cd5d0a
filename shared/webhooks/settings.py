"""Webhook settings that the gateway and the courier must agree on."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.net.addresses import PRIVATE, Network
from shared.settings import SharedSettings, from_text, listed
from shared.tenants import DEFAULT
from shared.webhooks.signing import read_secret, secret_of_tenant


def _networks(text: str) -> tuple[Network, ...]:
    """Parse a list of networks such as `127.0.0.0/8, 10.1.0.0/16`."""
    networks = []
    for each in listed(text):
        try:
            network = ip_network(each)
        except ValueError:
            msg = f"{each!r} is not a network; write networks as 10.1.0.0/16, fd12::/16"
            raise ValueError(msg) from None
        if not any(network.version == whole.version and network.subnet_of(whole) for whole in PRIVATE):  # type: ignore[arg-type]
            msg = f"{each!r} is not in a private network; public addresses are always allowed, all others never"
            raise ValueError(msg)
        networks.append(network)
    return tuple(networks)


class WebhookSettings(SharedSettings):
    """Which receivers are allowed, and how callbacks are signed."""

    webhook_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="Secrets (`whsec_...`, separated by commas) that sign callbacks to URLs submitted with a job. "
        "Tenants other than `default` use secrets derived from these. Every secret signs: to rotate, put the new one "
        "first. Empty = jobs cannot name a webhook URL.",
    )
    webhook_allow_http: bool = Field(
        default=False,
        description="Also send to `http://` URLs. Anyone on the network path can read and change such callbacks.",
    )
    webhook_allow_private: Annotated[tuple[Network, ...], NoDecode, from_text(_networks)] = Field(
        default=(),
        description="Private networks that callbacks may be sent to, such as `127.0.0.0/8, 10.1.0.0/16`. Metadata and "
        "link-local addresses stay blocked.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+[^\s?#/])?$",
        description="Base of the URLs in callbacks, such as `https://faces.example.org`. Empty = callbacks contain "
        "only paths.",
    )

    @field_validator("webhook_secrets")
    @classmethod
    def _each_is_one(cls, value: SecretStr) -> SecretStr:
        for secret in _split(value):
            read_secret(secret)
        return value

    def signing_secrets(self, tenant: str) -> tuple[str, ...]:
        """Return the secrets that sign callbacks to URLs submitted with the tenant's jobs, in the order of the setting.

        The default tenant uses the operator's secrets. Every other tenant has secrets of its own
        (docs/decisions/0048).
        """
        secrets = _split(self.webhook_secrets)
        return secrets if tenant == DEFAULT else tuple(secret_of_tenant(tenant, secret) for secret in secrets)


def _split(value: SecretStr) -> tuple[str, ...]:
    return listed(value.get_secret_value())
