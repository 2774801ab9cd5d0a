"""Webhook signatures by Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
BYTES: Final = range(24, 65)
"""Valid lengths of a decoded secret, in bytes."""


def new_secret() -> str:
    """Return a new secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secret(text: str) -> bytes:
    """Decode a secret to its key.

    Raises:
        ValueError: the text is not `whsec_` and base64 of 24 to 64 bytes. The message does not repeat it.
    """
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in BYTES:
        msg = f"a secret must be {PREFIX} and base64 of {BYTES.start} to {BYTES.stop - 1} random bytes"
        raise ValueError(msg)
    return key


def secret_of_tenant(tenant: str, secret: str) -> str:
    """Derive a tenant's signing secret from the operator's. It reveals neither that nor another tenant's secret.

    HMAC-SHA256 is the pseudorandom function of a key derivation (NIST SP 800-108). Messages that are signed for
    receivers start with `evt_` and so never equal the text that is hashed here.
    """
    digest = hmac.digest(read_secret(secret), f"vultus webhooks of tenant {tenant}".encode(), "sha256")
    return PREFIX + base64.b64encode(digest).decode()


def sign(event_id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> str:
    """Return the value of `webhook-signature`: one signature per secret, separated by spaces. One match is enough.

    Args:
        event_id: `webhook-id`.
        timestamp: `webhook-timestamp`, the time of this attempt in whole seconds since the epoch.
        body: the exact bytes that are sent.
        keys: the secrets that are valid now.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(read_secret(secret), signed, hashlib.sha256).digest() for secret in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
