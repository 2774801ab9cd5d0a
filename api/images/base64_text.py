"""Images in JSON: decode base64 in the variants that clients send."""

import binascii
import re
from typing import Final, NoReturn

from shared.errors import ErrorCode, FieldError, RequestError

_DATA_URL: Final = re.compile(r"data:[^,;]{0,100}(?:;[^,;]{0,100}){0,4};base64,", re.IGNORECASE)
"""The prefix added by `FileReader.readAsDataURL` and `canvas.toDataURL` in browsers."""
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_LINE_BREAKS: Final = b"\r\n"
MAX_PADDING: Final = 2


def decoded(text: str, *, field: str) -> bytes:
    """Decode base64 in either alphabet, with or without line breaks, padding, and `data:` prefix.

    These variants are unambiguous. Spaces are not: they may be `+` signs lost in form decoding, so they are refused.

    Args:
        text: the base64 text.
        field: the name of the field, for the error.

    Raises:
        RequestError: `invalid_request`.
    """
    prefix = _DATA_URL.match(text)
    if prefix is None and text[:5].lower() == "data:":
        _refuse(field, "is a data: URL without ;base64")
    try:
        raw = text[prefix.end() if prefix else 0 :].strip().encode("ascii")
    except UnicodeEncodeError:
        _refuse(field, "is not valid base64: it contains non-ASCII characters")
    if b" " in raw:
        _refuse(field, "is not valid base64: it contains spaces, often a sign of + characters lost in form decoding")
    raw = raw.translate(_URL_SAFE, _LINE_BREAKS)
    bare = raw.rstrip(b"=")
    if len(bare) % 4 == 1 or len(raw) - len(bare) > MAX_PADDING:
        _refuse(field, "is not valid base64: its length is wrong, so it may be truncated")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        _refuse(field, "is not valid base64")


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The job is not valid.", fields=(FieldError(field, detail),))
