"""Images in JSON: base64 as clients really write it."""

import binascii
import re
from typing import Final, NoReturn

from shared.errors import ErrorCode, FieldError, RequestError

_DATA_URL: Final = re.compile(r"data:[^,;]{0,100}(?:;[^,;]{0,100}){0,4};base64,", re.IGNORECASE)
"""What `FileReader.readAsDataURL` and `canvas.toDataURL` of a browser put before the base64."""
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_LINE_BREAKS: Final = b"\r\n"
MAX_PADDING: Final = 2


def decoded(text: str, *, field: str) -> bytes:
    """The bytes of a base64 text, in either alphabet, with or without line breaks, padding and `data:` prefix.

    All of these have one meaning only. Spaces do not: they are what is left of `+` after a form was decoded.

    Args:
        text: the base64.
        field: its name, for the error.

    Raises:
        RequestError: `invalid_request`.
    """
    prefix = _DATA_URL.match(text)
    if prefix is None and text[:5].lower() == "data:":
        _refuse(field, "is a data: URL without ;base64")
    try:
        raw = text[prefix.end() if prefix else 0 :].strip().encode("ascii")
    except UnicodeEncodeError:
        _refuse(field, "is not valid base64: it holds characters outside of ASCII")
    if b" " in raw:
        _refuse(field, "is not valid base64: it holds spaces, which often were + before a form was decoded")
    raw = raw.translate(_URL_SAFE, _LINE_BREAKS)
    bare = raw.rstrip(b"=")
    if len(bare) % 4 == 1 or len(raw) - len(bare) > MAX_PADDING:
        _refuse(field, "is not valid base64: its length is wrong, as if it were cut off")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        _refuse(field, "is not valid base64")


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The job is not valid.", fields=(FieldError(field, detail),))
