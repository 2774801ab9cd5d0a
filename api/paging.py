"""Cursors of lists: opaque to the client, and good only for the list that gave them out."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from shared.errors import ErrorCode, FieldError, RequestError
from shared.jobs import is_job_id
from shared.storage.listing import JobFilter, Position

_CURSOR: Final = re.compile(r"(?:[A-Za-z0-9_-]{4}){4,50}[A-Za-z0-9_-]{0,3}")
_SEAL: Final = 9
"""Bytes; a whole number of base64 groups."""


def write_cursor(position: Position, wanted: JobFilter) -> str:
    """A text that leads to the page after this position of this list."""
    place = json.dumps([position.created_at, position.job_id], separators=(",", ":")).encode()
    return urlsafe_b64encode(_seal(place, wanted) + place).decode().rstrip("=")


def read_cursor(text: str, wanted: JobFilter) -> Position:
    """Where the page begins.

    The seal keeps damage and mix-ups out. It needs no secret: whoever forges one sees no more than the list shows.

    Raises:
        RequestError: `invalid_request`: the cursor was not given out for this list.
    """
    if _CURSOR.fullmatch(text) and len(text) % 4 != 1:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = raw[_SEAL:]
        if raw[:_SEAL] == _seal(place, wanted):
            created_at, job_id = json.loads(place)
            position = Position(float(created_at), str(job_id))
            if write_cursor(position, wanted) == text and is_job_id(position.job_id):
                return position
    raise _foreign()


def write_delivery_cursor(position: tuple[float, str], *, of: str) -> str:
    """A text that leads to the page after this position of the list of one endpoint."""
    place = json.dumps(position, separators=(",", ":")).encode()
    return urlsafe_b64encode(_seal(place, of) + place).decode().rstrip("=")


def read_delivery_cursor(text: str, *, of: str) -> tuple[float, str]:
    """Where the page begins.

    Raises:
        RequestError: `invalid_request`: the cursor was not given out for this list.
    """
    if _CURSOR.fullmatch(text) and len(text) % 4 != 1:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if raw[:_SEAL] == _seal(raw[_SEAL:], of):
            created_at, name = json.loads(raw[_SEAL:])
            return float(created_at), str(name)
    raise _foreign()


def _foreign() -> RequestError:
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        "A parameter of the request is not valid.",
        fields=(FieldError("cursor", "was not given out for a list with these conditions"),),
    )


def _seal(place: bytes, wanted: object) -> bytes:
    return hashlib.sha256(repr(wanted).encode() + b"\n" + place).digest()[:_SEAL]
