"""Client tokens: signed leave to read one liveness session and to post its frames, for as long as it lasts."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final, NoReturn

from pydantic import SecretStr

from shared.errors import ErrorCode, RequestError
from shared.settings import listed

PREFIX: Final = "vlt"
LEAST_SECRET: Final = 32
"""Characters of a secret: 128 bits where it is hexadecimal."""
_PURPOSE: Final = b"vultus: client token of a liveness session, v1"
_TOKEN: Final = re.compile(r"vlt\.(live_[0-9a-f]{34})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def read_secrets(value: SecretStr) -> tuple[str, ...]:
    """The secrets of a setting, by commas, the newest first.

    Raises:
        ValueError: one is too short; the message repeats nothing of it.
    """
    secrets = listed(value.get_secret_value())
    if any(len(secret) < LEAST_SECRET for secret in secrets):
        msg = f"a secret has at least {LEAST_SECRET} characters, such as `openssl rand -hex 32` gives"
        raise ValueError(msg)
    return secrets


def issue(session_id: str, *, expires_at: int, secrets: Sequence[str]) -> str:
    """A token for this session, signed with the newest secret.

    Args:
        session_id: the one session that it is good for.
        expires_at: its last second, since the epoch.
        secrets: the newest first.

    Raises:
        RequestError: `sessions_off` where there is no secret.
    """
    if not secrets:
        raise RequestError(
            ErrorCode.SESSIONS_OFF, "Liveness sessions are off here: no secret is set that signs client tokens."
        )
    return f"{PREFIX}.{session_id}.{expires_at}.{_signature(session_id, expires_at, secrets[0])}"


def check(token: str, *, session_id: str, now: float, secrets: Sequence[str]) -> None:
    """Return where the token is good for this session now. Every secret is tried, in constant time.

    Raises:
        RequestError: `client_token_invalid`; it does not say which part was wrong.
    """
    found = _TOKEN.fullmatch(token)
    if found is None:
        _refuse()
    named, expires_at, signature = found[1], int(found[2]), found[3]
    signed = [hmac.compare_digest(_signature(named, expires_at, secret), signature) for secret in secrets]
    if not any(signed) or named != session_id or now > expires_at:
        _refuse()


def _signature(session_id: str, expires_at: int, secret: str) -> str:
    """HMAC-SHA256 with a key that is derived for this purpose alone."""
    key = hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).digest()
    digest = hmac.new(key, f"{session_id}.{expires_at}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _refuse() -> NoReturn:
    raise RequestError(
        ErrorCode.CLIENT_TOKEN_INVALID,
        "The client token is missing, forged, of another session, or its time is over.",
    )
