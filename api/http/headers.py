"""Request headers: `Prefer`, `Cancel-After`, `If-Match`, and `Idempotency-Key`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

from shared.errors import ErrorCode, FieldError, RequestError

MAX_PREFER: Final = 1024
"""Maximum length of a Prefer header. A longer one is ignored."""
MAX_KEY: Final = 255
MAX_CANCEL_AFTER: Final = timedelta(days=30)
"""A job that may wait longer than this is better submitted later."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DELTA_SECONDS: Final = re.compile(r'"?([0-9]{1,9})"?')
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h)?")
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}
_BARE_KEY: Final = re.compile(r"[!#-~]([ -~]*[!-~])?")
_QUOTED_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_VERSION_TAG: Final = re.compile(r'"([0-9]{1,15})"')
_ESCAPED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a `Prefer` header (RFC 7240)."""

    wait: int | None = None
    """Seconds, or None if absent."""
    respond_async: bool = False


def read_prefer(headers: Sequence[str]) -> Preferences:
    """Parse the known preferences. The first value of each one counts, and an invalid one is ignored."""
    text = ",".join(headers)
    if not text or len(text) > MAX_PREFER:
        return Preferences()
    values: dict[str, str] = {}
    plain = _QUOTED.sub(lambda quoted: quoted[0] if _DELTA_SECONDS.fullmatch(quoted[0]) else '""', text)
    for preference in plain.split(","):
        name, _, value = preference.split(";", 1)[0].partition("=")
        values.setdefault(name.strip().lower(), value.strip())
    seconds = _DELTA_SECONDS.fullmatch(values.get("wait", ""))
    return Preferences(wait=int(seconds[1]) if seconds else None, respond_async="respond-async" in values)


def granted_wait(requested: int | None, limit: timedelta) -> int | None:
    """Return the granted wait in seconds, or None if none was requested."""
    return None if requested is None else min(requested, int(limit.total_seconds()))


def read_cancel_after(headers: Sequence[str]) -> timedelta | None:
    """Return how long the job may wait to start: `30s`, `500ms`, `2m`, `1h`, or `30` seconds; at most 30 days.

    Raises:
        RequestError: `invalid_request`.
    """
    if not headers:
        return None
    match = _DURATION.fullmatch(headers[0].strip())
    delay = timedelta(**{_UNITS[match[2] or "s"]: int(match[1])}) if match else timedelta(0)
    if len(headers) > 1 or not timedelta(0) < delay <= MAX_CANCEL_AFTER:
        _refuse(
            "Cancel-After",
            "must be one duration above 0 and at most 30 days, such as 30s, 500ms, 2m, 1h, or 30 (seconds)",
        )
    return delay


def read_if_match(headers: Sequence[str]) -> frozenset[int] | None:
    """Return the versions allowed by `If-Match` (RFC 9110, section 13.1.1), or None for any.

    Only tags written by `etag` can match. Weak tags and other tags match no version.
    """
    tags = [tag.strip() for tag in ",".join(headers).split(",")]
    if not headers or "*" in tags:
        return None
    return frozenset(int(match[1]) for tag in tags if (match := _VERSION_TAG.fullmatch(tag)))


def etag(version: int) -> dict[str, str]:
    """Return the `ETag` header of a version of a resource."""
    return {"ETag": f'"{version}"'}


def read_idempotency_key(headers: Sequence[str]) -> str | None:
    """Return the key of a submission, without quotes.

    Raises:
        RequestError: `invalid_request`.
    """
    if not headers:
        return None
    text = headers[0].strip()
    quoted = _QUOTED_KEY.fullmatch(text)
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else text
    if len(headers) > 1 or not 1 <= len(key) <= MAX_KEY or not (quoted or _BARE_KEY.fullmatch(text)):
        _refuse(
            "Idempotency-Key",
            f"must be one string of 1 to {MAX_KEY} printable ASCII characters, with or without quotes",
        )
    return key


def _refuse(header: str, detail: str) -> NoReturn:
    raise RequestError(
        ErrorCode.INVALID_REQUEST, "A header of the request is not valid.", fields=(FieldError(header, detail),)
    )
