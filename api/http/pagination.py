"""Cursors of lists: opaque to the client, and valid only for the list that issued them."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Final

from shared.errors import ErrorCode, FieldError, RequestError
from shared.jobs import is_job_id
from shared.ledger.jobs.listing import JobFilter, Position

_CURSOR: Final = re.compile(r"(?:[A-Za-z0-9_-]{4}){4,50}[A-Za-z0-9_-]{0,3}")
_SEAL: Final = 9
"""Bytes; a whole number of base64 groups."""
LATEST: Final = 1e11
"""Largest timestamp in a cursor, in seconds since the epoch: in the year 5138."""


def write_cursor(position: Position, wanted: JobFilter) -> str:
    """Return a cursor for the page after this position in the list of jobs with this filter."""
    return _write(position.created_at, position.job_id, of=wanted)


def read_cursor(text: str, wanted: JobFilter) -> Position:
    """Return the position that the page of jobs starts after.

    Raises:
        RequestError: `invalid_request`: the cursor was not issued for this list.
    """
    position = Position(*_read(text, of=wanted))
    if not is_job_id(position.job_id):
        raise _foreign()
    return position


def write_delivery_cursor(position: tuple[float, str], *, of: str) -> str:
    """Return a cursor for the page after this position in an endpoint's list of deliveries."""
    return _write(*position, of=of)


def read_delivery_cursor(text: str, *, of: str) -> tuple[float, str]:
    """Return the position that the page of deliveries starts after.

    Raises:
        RequestError: `invalid_request`: the cursor was not issued for this list.
    """
    return _read(text, of=of)


def _write(at: float, name: str, *, of: object) -> str:
    place = json.dumps([at, name], separators=(",", ":")).encode()
    return urlsafe_b64encode(_seal(place, of) + place).decode().rstrip("=")


def _read(text: str, *, of: object) -> tuple[float, str]:
    """Return the time and name of a position.

    The seal detects damaged and mixed-up cursors. It needs no secret, because a forged cursor reveals no more than the
    list itself. The content is therefore validated like any other input.
    """
    if _CURSOR.fullmatch(text) and len(text) % 4 != 1:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        with suppress(ValueError, TypeError, OverflowError):  # not JSON, not a pair, or not a number
            at, name = json.loads(raw[_SEAL:])
            if 0 <= float(at) <= LATEST and isinstance(name, str) and _write(float(at), name, of=of) == text:
                return float(at), name
    raise _foreign()


def _foreign() -> RequestError:
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        "A parameter of the request is not valid.",
        fields=(FieldError("cursor", "was not issued for a list with these filters"),),
    )


def _seal(place: bytes, wanted: object) -> bytes:
    return hashlib.sha256(repr(wanted).encode() + b"\n" + place).digest()[:_SEAL]
