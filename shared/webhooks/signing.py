"""Signatures of webhooks, as Standard Webhooks 1.0.0 has them: HMAC-SHA256 over `id.timestamp.body`."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
BYTES: Final = range(24, 65)
"""How many random bytes a secret may hold."""


def new_secret() -> str:
    """A fresh secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secret(text: str) -> bytes:
    """The key in a secret.

    Raises:
        ValueError: it is not `whsec_` and base64 of 24 to 64 bytes; the message repeats nothing of it.
    """
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in BYTES:
        msg = f"a secret is {PREFIX} and base64 of {BYTES.start} to {BYTES.stop - 1} random bytes"
        raise ValueError(msg)
    return key


def secret_of_tenant(tenant: str, secret: str) -> str:
    """The secret that signs for a tenant, out of the operator's; neither that nor another tenant's follows from it.

    HMAC-SHA256 as the pseudorandom function of a key derivation (NIST SP 800-108); what is signed for receivers begins
    with `evt_`, and so is never what is hashed here.
    """
    digest = hmac.digest(read_secret(secret), f"vultus webhooks of tenant {tenant}".encode(), "sha256")
    return PREFIX + base64.b64encode(digest).decode()


def sign(event_id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> str:
    """The value of `webhook-signature`: one signature for each secret, by spaces; a receiver needs only one to match.

    Args:
        event_id: `webhook-id`.
        timestamp: `webhook-timestamp`, in whole seconds since the epoch: the time of this attempt.
        body: the bytes that are sent, exactly.
        keys: the secrets that are valid now.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(read_secret(secret), signed, hashlib.sha256).digest() for secret in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
