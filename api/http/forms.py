"""Request bodies: read into memory, then validated. Images are never written to disk."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.http.multipart import Part, read_parts
from shared.errors import EmbeddingError, ErrorCode, FieldError, RequestError
from shared.operations import field_errors

MAX_TEXT_FIELD: Final = 128 * 1024
"""Maximum size of a text field, in bytes. An embedding of 4,096 numbers at full precision fits."""
MAX_PARTS: Final = 32
"""Maximum number of parts of a form with a fixed number of fields, including blank parts."""
CHARSETS: Final[Mapping[str, str]] = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
}
"""Charsets that a form may declare, and their codecs. Python has many more, and some of them are unsafe."""
PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})
"""Values of Content-Transfer-Encoding that leave the bytes as they are."""
VECTOR_FIELDS: Final = frozenset({"vector", "embedding1", "embedding2", "stored_embedding"})
"""Fields whose errors have the code `invalid_embedding`."""
NULL: Final = "null"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FormFields:
    """The fields of a form. Whether a field is a file depends on its name, not on the headers of its part."""

    files: frozenset[str]
    texts: frozenset[str] = frozenset()
    either: frozenset[str] = frozenset()
    """Fields that hold a file or JSON text."""
    repeated: str | None = None
    """The file field that may be repeated."""
    ignore_unknown: bool = False

    @property
    def known(self) -> frozenset[str]:
        """All fields."""
        return self.files | self.texts | self.either


@dataclass(frozen=True, slots=True)
class Form:
    """The non-blank fields of a multipart body."""

    files: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def file(self, name: str) -> bytes:
        """Return the first file of this field.

        Raises:
            RequestError: the field is missing.
        """
        if name not in self.files:
            missing = FieldError(name, "this file is required")
            raise RequestError(ErrorCode.INVALID_REQUEST, f"The file field {name} is missing.", fields=(missing,))
        return self.files[name][0]

    def json(self, name: str) -> str | None:
        """Return the text of a JSON field. A JSON null counts as absent."""
        text = self.texts.get(name)
        return None if text is None or text.strip() == NULL else text


def media_type(request: Request) -> str:
    """Return the content type without parameters, in lower case; empty if absent."""
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def refuse_media_type(*accepted: str) -> NoReturn:
    """Refuse a body of another type.

    Raises:
        RequestError: `unsupported_media_type`.
    """
    raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"This endpoint accepts {' or '.join(accepted)}.")


async def read_form(request: Request, fields: FormFields, *, max_parts: int = MAX_PARTS) -> Form:
    """Read a multipart body. Blank fields are dropped: empty texts, and file inputs without a file.

    Args:
        request: the request to read.
        fields: the fields of the form.
        max_parts: the maximum number of parts.

    Raises:
        RequestError: another content type, an invalid or incomplete body, or an unknown or repeated field.
    """
    if media_type(request) != "multipart/form-data":
        refuse_media_type("multipart/form-data")
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"").decode("latin-1").lower()
    if charset not in CHARSETS:
        raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Text fields of a form must be encoded in UTF-8.")
    parts = await read_parts(request.stream(), boundary=options.get(b"boundary", b""), max_parts=max_parts)
    return _form(parts, fields, charset=charset)


def _form(parts: list[Part], fields: FormFields, *, charset: str) -> Form:
    files: dict[str, list[bytes]] = {}
    texts: dict[str, str] = {}
    errors: list[FieldError] = []
    for part in parts:
        name = part.name
        if name not in fields.known:
            if not fields.ignore_unknown:
                errors.append(FieldError(name, f"unknown field; the fields are {', '.join(sorted(fields.known))}"))
            continue
        value = _value(part, fields, charset=charset)
        if value is None:
            continue
        if isinstance(value, FieldError):
            errors.append(value)
        elif name in texts or (name in files and name != fields.repeated):
            errors.append(FieldError(name, "given more than once"))
        elif isinstance(value, bytes):
            files.setdefault(name, []).append(value)
        else:
            texts[name] = value
    if errors:
        raise RequestError(ErrorCode.INVALID_REQUEST, "The form has invalid fields.", fields=tuple(errors))
    return Form(files={name: tuple(data) for name, data in files.items()}, texts=texts)


def _value(part: Part, fields: FormFields, *, charset: str) -> bytes | str | FieldError | None:
    """Return the file or text of a part, an error, or None if the part is blank."""
    name, data = part.name, part.data
    if not part.filename and not data.strip():
        return None
    if part.transfer_encoding not in PLAIN_ENCODINGS:
        return FieldError(name, "has a Content-Transfer-Encoding; send the raw bytes without that header")
    if name in fields.files:
        if part.filename is None and _is_text(data):
            return FieldError(name, "must be a file, not text; send the bytes of the image")
        return data
    if name in fields.either and not _is_json_part(part):
        return data
    return _text(part, charset=charset)


def _is_json_part(part: Part) -> bool:
    """True if a field that may be a file or JSON is JSON: no image starts like a JSON object or is text throughout."""
    if part.media_type == "application/json":
        return True
    return _is_text(part.data) and (part.filename is None or part.data.lstrip().startswith(b"{"))


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _text(part: Part, *, charset: str) -> str | FieldError:
    """Decode the text of a part with its own charset, or with the form's.

    Raises:
        RequestError: `request_too_large`.
    """
    if len(part.data) > MAX_TEXT_FIELD:
        error = FieldError(part.name, f"has {len(part.data)} bytes; a text field may have at most {MAX_TEXT_FIELD}")
        raise RequestError(ErrorCode.REQUEST_TOO_LARGE, "A text field of the form is too large.", fields=(error,))
    codec = CHARSETS.get(part.charset or charset, "utf-8")
    try:
        return part.data.decode(codec)
    except UnicodeDecodeError:
        return FieldError(part.name, "is not UTF-8 text")


def parse(kind: type[T], raw: bytes | str, *, within: str = "") -> T:
    """Parse JSON into a model. A UTF-8 byte order mark is skipped.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` with the invalid fields.
        EmbeddingError: `invalid_embedding` if a vector is invalid.
    """
    try:
        return TypeAdapter(kind).validate_json(_utf8(raw, within))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise _malformed(within) from None
        fields = tuple(
            FieldError(invalid.field, invalid.detail.removeprefix("Value error, "))
            for invalid in field_errors(error, prefix=within)
        )
        if VECTOR_FIELDS & {within, *first["loc"]}:
            raise EmbeddingError(ErrorCode.INVALID_EMBEDDING, "An embedding is not valid.", fields=fields) from None
        raise RequestError(ErrorCode.INVALID_REQUEST, "The body is not valid.", fields=fields) from None


def parse_object(raw: str | None, *, name: str) -> dict[str, Any]:
    """Parse a text field with a JSON object. An absent field is an empty object.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` if the value is not an object.
    """
    if not raw:
        return {}
    try:
        value = from_json(_utf8(raw, name), allow_inf_nan=False)
    except ValueError:
        raise _malformed(name) from None
    if not isinstance(value, dict):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            "The form has invalid fields.",
            fields=(FieldError(name, "must be a JSON object"),),
        )
    return value


def _utf8(raw: bytes | str, within: str) -> bytes | str:
    """Strip the byte order mark, which many editors and .NET write.

    Raises:
        RequestError: `malformed_json`: the text is UTF-16 or UTF-32.
    """
    if isinstance(raw, str):
        return raw.removeprefix("\ufeff")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:4]:
        detail = f"{within or 'The body'} looks like UTF-16 or UTF-32. Send JSON as UTF-8."
        raise RequestError(ErrorCode.MALFORMED_JSON, detail)
    return raw.removeprefix(codecs.BOM_UTF8)


def _malformed(within: str) -> RequestError:
    return RequestError(ErrorCode.MALFORMED_JSON, f"{within or 'The body'} is not valid JSON.")
