"""Settings about webhooks that gateway and courier must agree on."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.net.addresses import PRIVATE, Network
from shared.settings import SharedSettings, from_text, listed
from shared.tenants import DEFAULT
from shared.webhooks.signing import read_secret, secret_of_tenant


def _networks(text: str) -> tuple[Network, ...]:
    """Read `127.0.0.0/8, 10.1.0.0/16`."""
    found = []
    for each in listed(text):
        try:
            network = ip_network(each)
        except ValueError:
            msg = f"{each!r} is no network; give them as 10.1.0.0/16, fd12::/16"
            raise ValueError(msg) from None
        if not any(network.version == whole.version and network.subnet_of(whole) for whole in PRIVATE):  # type: ignore[arg-type]
            msg = f"{each!r} lies in no private network; public addresses need no leave, and the others have none"
            raise ValueError(msg)
        found.append(network)
    return tuple(found)


class WebhookSettings(SharedSettings):
    """Who may be told, and how it is signed."""

    webhook_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="Secrets (`whsec_...`, commas between them) that sign callbacks to addresses which came with a "
        "job; tenants but `default` have secrets of their own, made from these. All of them sign, so put a new one "
        "before the old to rotate. Empty = no job may bring an address.",
    )
    webhook_allow_http: bool = Field(
        default=False, description="Send to `http://` addresses too: anyone on the way can read and change them."
    )
    webhook_allow_private: Annotated[tuple[Network, ...], NoDecode, from_text(_networks)] = Field(
        default=(),
        description="Private networks that may be sent to, such as `127.0.0.0/8, 10.1.0.0/16`. Metadata and link-local "
        "addresses stay closed.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+[^\s?#/])?$",
        description="What the addresses in callbacks begin with, such as `https://faces.example.org`; empty = they are "
        "paths.",
    )

    @field_validator("webhook_secrets")
    @classmethod
    def _each_is_one(cls, value: SecretStr) -> SecretStr:
        for secret in _split(value):
            read_secret(secret)
        return value

    def signing_secrets(self, tenant: str) -> tuple[str, ...]:
        """What signs callbacks to addresses that came with this tenant's jobs, in the order of the setting.

        The default tenant is the operator's own, and so are its secrets; every other tenant has its own
        (docs/decisions/0048).
        """
        secrets = _split(self.webhook_secrets)
        return secrets if tenant == DEFAULT else tuple(secret_of_tenant(tenant, secret) for secret in secrets)


def _split(value: SecretStr) -> tuple[str, ...]:
    return listed(value.get_secret_value())
