"""Request bodies: read whole, in memory, then checked; images never touch this machine's disk."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from shared.errors import EmbeddingError, ErrorCode, FieldError, RequestError
from shared.operations import field_errors

MAX_TEXT_FIELD: Final = 128 * 1024
"""Bytes of one text field: an embedding of 4096 numbers, each written out in full, fits."""
MAX_PARTS: Final = 16
CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
"""What a form may say that its texts are written in: a form can name any codec of Python, and some are traps."""
VECTOR_FIELDS: Final = frozenset({"vector", "embedding1", "embedding2", "stored_embedding"})
"""Where one of these is wrong, the code is `invalid_embedding`."""

T = TypeVar("T")


class _InMemory(MultiPartParser):
    spool_max_size = 0  # never roll over to a temporary file: faces stay out of the file system


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a multipart body: files as bytes, the rest as text."""

    files: Mapping[str, bytes]
    texts: Mapping[str, str]
    more: tuple[bytes, ...] = ()
    """Files of the one field that may be repeated, after its first."""

    def file(self, name: str) -> bytes:
        """The file of this field.

        Raises:
            RequestError: it is missing, or came as text.
        """
        if name not in self.files:
            wrong = "must be a file, not text" if name in self.texts else "this file is required"
            raise RequestError(
                ErrorCode.INVALID_REQUEST, f"The file field {name} is missing.", fields=(FieldError(name, wrong),)
            )
        return self.files[name]


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; empty where there is none."""
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def refuse_media_type(*taken: str) -> NoReturn:
    """Refuse a body of another type.

    Raises:
        RequestError: `unsupported_media_type`.
    """
    raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"This call takes {' or '.join(taken)}.")


async def read_form(request: Request, *, known: Collection[str] | None = None, repeated: str | None = None) -> Form:
    """Read a multipart body; fields outside `known` are refused where it is given. Files of `repeated` may be several.

    Raises:
        RequestError: another content type, a body that cannot be read, an unknown or a repeated field.
    """
    files: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    wrong: list[FieldError] = []
    more: list[bytes] = []
    for name, value in await _parts(request, most=MAX_PARTS):
        if name == repeated and name in files and isinstance(value, bytes):
            more.append(value)
            continue
        if name in files or name in texts:
            wrong.append(FieldError(name, "given more than once"))
        if known is not None and name not in known:
            wrong.append(FieldError(name, f"unknown field; the fields are {', '.join(sorted(known))}"))
        if isinstance(value, str):
            texts[name] = value
        else:
            files[name] = value
    if wrong:
        raise RequestError(ErrorCode.INVALID_REQUEST, "The form has wrong fields.", fields=tuple(wrong))
    return Form(files=files, texts=texts, more=tuple(more))


async def read_album(request: Request, *, images: str, known: Collection[str], most: int) -> tuple[list[bytes], Form]:
    """Read a multipart body whose file field `images` is repeated: these files in their order, and the other fields.

    Raises:
        RequestError: another content type, a body that cannot be read or holds more than `most` files, an unknown or a
            repeated other field.
    """
    pictures: list[bytes] = []
    texts: dict[str, str] = {}
    wrong: list[FieldError] = []
    for name, value in await _parts(request, most=most):
        if name == images and isinstance(value, bytes):
            pictures.append(value)
        elif name not in known or isinstance(value, bytes):
            fields = ", ".join([f"{images} (files)", *sorted(known)])
            wrong.append(FieldError(name, f"unknown field; the fields are {fields}"))
        elif name in texts:
            wrong.append(FieldError(name, "given more than once"))
        else:
            texts[name] = value
    if wrong:
        raise RequestError(ErrorCode.INVALID_REQUEST, "The form has wrong fields.", fields=tuple(wrong))
    return pictures, Form(files={}, texts=texts)


async def _parts(request: Request, *, most: int) -> list[tuple[str, str | bytes]]:
    """The fields of a multipart body in their order, at most so many files: bytes for a file, else text."""
    if media_type(request) != "multipart/form-data":
        refuse_media_type("multipart/form-data")
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"").decode("latin-1").lower() not in CHARSETS:
        raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "The texts of a form must be written in UTF-8.")
    parser = _InMemory(
        request.headers, request.stream(), max_files=most, max_fields=MAX_PARTS, max_part_size=MAX_TEXT_FIELD
    )
    try:
        parsed = await parser.parse()
    except MultiPartException as error:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"The multipart body cannot be read: {error.message}") from None
    parts: list[tuple[str, str | bytes]] = []
    for name, value in parsed.multi_items():
        if not isinstance(value, UploadFile):
            parts.append((name, value))
            continue
        data = await value.read()
        await value.close()
        as_text = (value.content_type or "").startswith("application/json")
        parts.append((name, data.decode("utf-8", "replace") if as_text else data))
    return parts


def parse(kind: type[T], raw: bytes | str, *, within: str = "") -> T:
    """Read JSON into a model.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` with the wrong fields.
        EmbeddingError: `invalid_embedding` where a vector is at fault.
    """
    try:
        return TypeAdapter(kind).validate_json(raw)
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
    """Read a JSON object from a text field; an absent or empty one is an empty object.

    Raises:
        RequestError: `malformed_json`, or `invalid_request` where it is no object.
    """
    if not raw:
        return {}
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise _malformed(name) from None
    if not isinstance(value, dict):
        raise RequestError(
            ErrorCode.INVALID_REQUEST, "The form has wrong fields.", fields=(FieldError(name, "must be a JSON object"),)
        )
    return value


def _malformed(within: str) -> RequestError:
    return RequestError(ErrorCode.MALFORMED_JSON, f"{within or 'The body'} is not valid JSON.")
