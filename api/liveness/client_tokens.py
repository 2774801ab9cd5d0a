"""Client tokens: JWTs with which a client can read one liveness session and post its frames until they expire."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import jwt

from shared.errors import ErrorCode, RequestError

ALGORITHM: Final = "HS256"
"""The only algorithm accepted, whatever the header of a token names."""
AUDIENCE: Final = "vultus-liveness-session"
_PURPOSE: Final = b"vultus: client token of a liveness session, v2"


def issue(session_id: str, *, expires_at: int, secrets: Sequence[str]) -> str:
    """Sign a token for this session with the newest secret.

    Args:
        session_id: the only session that the token is valid for.
        expires_at: its last valid second, since the epoch.
        secrets: the newest first.

    Raises:
        RequestError: `sessions_off` if there is no secret.
    """
    if not secrets:
        raise RequestError(
            ErrorCode.SESSIONS_OFF, "Liveness sessions are off: no secret for signing client tokens is configured."
        )
    claims = {"aud": AUDIENCE, "sub": session_id, "exp": expires_at}
    return jwt.encode(claims, _key(secrets[0]), algorithm=ALGORITHM)


def check(token: str, *, session_id: str, now: float, secrets: Sequence[str]) -> None:
    """Return if one of the secrets signed the token, it is for this session, and it has not expired.

    Raises:
        RequestError: `client_token_invalid`; it does not say which part was wrong.
    """
    for secret in secrets:
        claims = _claims(token, secret)
        if claims is not None:
            if claims["sub"] != session_id or now > claims["exp"]:
                _refuse()
            return
    _refuse()


def _claims(token: str, secret: str) -> dict[str, Any] | None:
    """The claims of a token signed with this secret, or None. The caller compares `exp` with its own clock."""
    try:
        return jwt.decode(
            token,
            _key(secret),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["aud", "sub", "exp"], "verify_exp": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError):  # the last two: only a forged header causes them
        return None


def _key(secret: str) -> bytes:
    """A key derived for this purpose alone, so that no other use of the secret can produce a token."""
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).digest()


def _refuse() -> NoReturn:
    raise RequestError(
        ErrorCode.CLIENT_TOKEN_INVALID,
        "The client token is missing, forged, expired, or belongs to another session.",
    )
