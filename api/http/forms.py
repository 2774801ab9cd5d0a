"""Request bodies: read whole, in memory, then checked; images never touch this machine's disk."""

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
"""Bytes of one text field: an embedding of 4096 numbers, each written out in full, fits."""
MAX_PARTS: Final = 32
"""Parts of a form with a fixed number of fields; blank ones count."""
CHARSETS: Final[Mapping[str, str]] = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
}
"""Charsets that a form may declare, and how its texts are decoded: Python knows many more, and some are traps."""
PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})
"""Values of Content-Transfer-Encoding that leave the bytes as they are."""
VECTOR_FIELDS: Final = frozenset({"vector", "embedding1", "embedding2", "stored_embedding"})
"""Where one of these is wrong, the code is `invalid_embedding`."""
NULL: Final = "null"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FormFields:
    """The fields of one call's form. The name of a field decides whether it is a file, not how its part is labelled."""

    files: frozenset[str]
    texts: frozenset[str] = frozenset()
    either: frozenset[str] = frozenset()
    """Fields that hold a file or JSON text."""
    repeated: str | None = None
    """The one file field that may come several times."""
    ignore_unknown: bool = False

    @property
    def known(self) -> frozenset[str]:
        """Every field."""
        return self.files | self.texts | self.either


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a multipart body that are not blank."""

    files: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def file(self, name: str) -> bytes:
        """The first file of this field.

        Raises:
            RequestError: it is missing.
        """
        if name not in self.files:
            wrong = FieldError(name, "this file is required")
            raise RequestError(ErrorCode.INVALID_REQUEST, f"The file field {name} is missing.", fields=(wrong,))
        return self.files[name][0]

    def json(self, name: str) -> str | None:
        """The text of a field that holds JSON; a JSON null is the same as no field."""
        text = self.texts.get(name)
        return None if text is None or text.strip() == NULL else text


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; empty where there is none."""
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def refuse_media_type(*taken: str) -> NoReturn:
    """Refuse a body of another type.

    Raises:
        RequestError: `unsupported_media_type`.
    """
    raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"This endpoint accepts {' or '.join(taken)}.")


async def read_form(request: Request, fields: FormFields, *, most: int = MAX_PARTS) -> Form:
    """Read a multipart body. Blank fields are left out: an empty text, or a file input with no file chosen.

    Args:
        request: whose body it is.
        fields: what the call takes.
        most: the most parts that it may have.

    Raises:
        RequestError: another content type, a body that cannot be read or is cut off, an unknown or a repeated field.
    """
    if media_type(request) != "multipart/form-data":
        refuse_media_type("multipart/form-data")
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"").decode("latin-1").lower()
    if charset not in CHARSETS:
        raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Text fields of a form must be encoded in UTF-8.")
    parts = await read_parts(request.stream(), boundary=options.get(b"boundary", b""), most=most)
    return _sorted(parts, fields, charset=charset)


def _sorted(parts: list[Part], fields: FormFields, *, charset: str) -> Form:
    files: dict[str, list[bytes]] = {}
    texts: dict[str, str] = {}
    wrong: list[FieldError] = []
    for part in parts:
        name = part.name
        if name not in fields.known:
            if not fields.ignore_unknown:
                wrong.append(FieldError(name, f"unknown field; the fields are {', '.join(sorted(fields.known))}"))
            continue
        value = _value(part, fields, charset=charset)
        if value is None:
            continue
        if isinstance(value, FieldError):
            wrong.append(value)
        elif name in texts or (name in files and name != fields.repeated):
            wrong.append(FieldError(name, "given more than once"))
        elif isinstance(value, bytes):
            files.setdefault(name, []).append(value)
        else:
            texts[name] = value
    if wrong:
        raise RequestError(ErrorCode.INVALID_REQUEST, "The form has invalid fields.", fields=tuple(wrong))
    return Form(files={name: tuple(data) for name, data in files.items()}, texts=texts)


def _value(part: Part, fields: FormFields, *, charset: str) -> bytes | str | FieldError | None:
    """The file or the text of a part, what is wrong with it, or None where it is blank."""
    name, data = part.name, part.data
    if not part.filename and not data.strip():
        return None
    if part.transfer_encoding not in PLAIN_ENCODINGS:
        return FieldError(name, "has a Content-Transfer-Encoding; send the bytes as they are, without that header")
    if name in fields.files:
        if part.filename is None and _is_text(data):
            return FieldError(name, "must be a file, not text: send the bytes of the image")
        return data
    if name in fields.either and not _is_json_part(part):
        return data
    return _text(part, charset=charset)


def _is_json_part(part: Part) -> bool:
    """Whether a field that may be either is text: no image begins like a JSON object, or is text as a whole."""
    if part.media_type == "application/json":
        return True
    return _is_text(part.data) and (part.filename is None or part.data.lstrip().startswith(b"{"))


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _text(part: Part, *, charset: str) -> str | FieldError:
    """The text of a part, by its own charset, else that of the form.

    Raises:
        RequestError: `request_too_large`.
    """
    if len(part.data) > MAX_TEXT_FIELD:
        wrong = FieldError(part.name, f"has {len(part.data)} bytes; a text field may have at most {MAX_TEXT_FIELD}")
        raise RequestError(ErrorCode.REQUEST_TOO_LARGE, "A text field of the form is too large.", fields=(wrong,))
    codec = CHARSETS.get(part.charset or charset, "utf-8")
    try:
        return part.data.decode(codec)
    except UnicodeDecodeError:
        return FieldError(part.name, "is not UTF-8 text")


def parse(kind: type[T], raw: bytes | str, *, within: str = "") -> T:
    """Read JSON into a model. A byte order mark of UTF-8 is skipped.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` with the wrong fields.
        EmbeddingError: `invalid_embedding` where a vector is at fault.
    """
    try:
        return TypeAdapter(kind).validate_json(_utf8(raw, within))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise _malformed(within) from None
        fields = tuple(
            FieldError(wrong.field, wrong.detail.removeprefix("Value error, "))
            for wrong in field_errors(error, prefix=within)
        )
        if VECTOR_FIELDS & {within, *first["loc"]}:
            raise EmbeddingError(ErrorCode.INVALID_EMBEDDING, "An embedding is not valid.", fields=fields) from None
        raise RequestError(ErrorCode.INVALID_REQUEST, "The body is not valid.", fields=fields) from None


def parse_object(raw: str | None, *, name: str) -> dict[str, Any]:
    """Read a JSON object from a text field; an absent one is an empty object.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` where it is no object.
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
    """JSON without a byte order mark, which many editors and .NET write.

    Raises:
        RequestError: `malformed_json`: the text is in UTF-16 or UTF-32.
    """
    if isinstance(raw, str):
        return raw.removeprefix("\ufeff")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:4]:
        detail = f"{within or 'The body'} is not UTF-8: it looks like UTF-16 or UTF-32. JSON is sent as UTF-8."
        raise RequestError(ErrorCode.MALFORMED_JSON, detail)
    return raw.removeprefix(codecs.BOM_UTF8)


def _malformed(within: str) -> RequestError:
    return RequestError(ErrorCode.MALFORMED_JSON, f"{within or 'The body'} is not valid JSON.")
