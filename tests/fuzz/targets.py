"""The fuzz targets: each takes bytes and raises if a promise was broken."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message

from api.http.forms import parse_object, read_form
from api.http.headers import read_cancel_after, read_idempotency_key, read_prefer
from api.http.pagination import read_cursor
from api.jobs.parsing import FORM_FIELDS, check_metadata
from shared.errors import ImageError, RequestError
from shared.image_header.exif import orientation_of
from shared.image_header.inspection import inspect_image
from shared.ledger.jobs.listing import JobFilter
from tests.corpus import damage, images
from worker.images import decode

MAX_PIXELS: Final = 1_000_000
MAX_BYTES: Final = 64 * 1024
EVERYTHING: Final = JobFilter()


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of untrusted bytes."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]


def headers(data: bytes) -> None:
    """A header or an ImageError; the bytes of the picture form a file with the same header."""
    assert 1 <= orientation_of(data) <= 8
    with suppress(ImageError):
        seen = inspect_image(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
        assert 0 < seen.width * seen.height <= MAX_PIXELS
        assert 1 <= seen.orientation <= 8
        assert len(seen.picture_bytes(data)) <= len(data) + 64


def pixels(data: bytes) -> None:
    """The worker rejects a file with the same code as the gateway, or decodes a picture of the size in the header."""
    try:
        seen = inspect_image(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        rejected = error.code
    else:
        with suppress(ImageError):
            picture = decode(data, max_pixels=MAX_PIXELS)
            assert picture.pixels.shape == (picture.height, picture.width, 3)
            assert {picture.height, picture.width} == {seen.width, seen.height}
        return
    try:
        decode(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        decoded: object = error.code
    else:
        decoded = "a picture"
    assert decoded is rejected


def form(data: bytes) -> None:
    """Fields or a RequestError. The first line holds the content type's parameters, the rest the body."""
    parameters, _, body = data.partition(b"\n")

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    kind = b"multipart/form-data; " + parameters
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind)]}, receive)
    with suppress(RequestError):
        asyncio.run(read_form(request, FORM_FIELDS))


def words(data: bytes) -> None:
    """Headers, cursors and JSON texts: a value or a RequestError."""
    text = data.decode("latin-1")
    readers: tuple[Callable[[], Any], ...] = (
        lambda: read_prefer([text]),
        lambda: read_cancel_after([text]),
        lambda: read_idempotency_key([text]),
        lambda: read_cursor(text, EVERYTHING),
        lambda: check_metadata(parse_object(text, name="metadata")),
    )
    for read in readers:
        with suppress(RequestError):
            read()


def _small_images() -> list[bytes]:
    crafted = (case.make() for case in images.crafted() if "40 mega" not in case.name and "200 MB" not in case.name)
    return [*damage.WHOLE.values(), *(data for data in crafted if 0 < len(data) <= MAX_BYTES)]


def _forms() -> list[bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="operation"; filename="a.jpg"\r\nContent-Type: x/y\r\n\r\n'
    part = head + b"detect\r\n--b--\r\n"
    return [
        b"boundary=b\n" + part,
        b'boundary="b"; charset=punycode\n' + part,
        b"boundary=b\n" + part.replace(b"; filename", b"; filename*=utf-8''"),
    ]


def _words() -> list[bytes]:
    return [
        b"wait=10, respond-async; foo",
        b'"key \\" quoted"',
        b"1500ms",
        b'{"a": [1e5, "\\ud83d\\ude00", {"b": null}]}',
        b"AAAA" * 20,
    ]


TARGETS: Final = {
    "headers": Target(headers, _small_images),
    "pixels": Target(pixels, _small_images),
    "form": Target(form, _forms),
    "words": Target(words, _words),
}
