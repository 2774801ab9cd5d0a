"""Gateway and worker keep one rule: what the gateway accepts, the worker decodes to the right picture."""

import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ErrorCode, ImageError
from shared.image_header.inspection import inspect_image
from tests.corpus.damage import WHOLE
from tests.corpus.jpegs import segment
from tests.corpus.others import extended, riff
from tests.pictures import Pixels
from tests.unit.api.pictures import HEIGHT, WIDTH, chunk
from worker.images import decode

LIMIT = 100_000
JPEGS = ("jpeg", "progressive", "cmyk")
PNGS = ("png", "palette", "transparent")
WEBPS = ("webp", "lossless")


@cache
def right(kind: str) -> Pixels:
    return decode(WHOLE[kind], max_pixels=LIMIT).pixels


def boundaries(jpeg: bytes) -> Iterator[int]:
    """Where each segment behind the first starts, up to the first scan: a JPEG is known by its first three bytes."""
    at = 4 + struct.unpack_from(">H", jpeg, 4)[0]
    while jpeg[at + 1] != 0xDA:
        yield at
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    yield at


def of_jpeg(whole: bytes, *, sequential: bool) -> Iterator[bytes]:
    for at in boundaries(whole):
        for stray in (b"\0", b"\xff\0", b"\xff", b"ab\xff\0c", b"\xff\xd3"):
            yield whole[:at] + stray + whole[at:]
        for metadata in (
            segment(0xFE, b"text"),
            segment(0xE1, b"Exif\0\0MM"),
            segment(0xE2, b"ICC_PROFILE\0\1\1noise"),
        ):
            yield whole[:at] + metadata + whole[at:]
    yield whole[:-2] + b"\xff" * 3 + whole[-2:]
    if sequential:
        yield from (whole[:-2], whole[:-1], whole[:-2] + b"\0" * 20)


def of_png(whole: bytes) -> Iterator[bytes]:
    end = whole.rindex(b"IEND") - 4
    for extra in (chunk(b"tEXt", b"k\0v"), chunk(b"iCCP", b"k\0\0noise"), chunk(b"acTL", struct.pack(">II", 1, 0))):
        yield whole[:33] + extra + whole[33:]
        yield whole[:end] + extra + whole[end:]


def of_webp(whole: bytes) -> Iterator[bytes]:
    still = whole[12:] if whole[12:16] != b"VP8X" else whole[30:]
    numbers = (0, 0, WIDTH - 1, HEIGHT - 1, 0)
    frame = b"".join(number.to_bytes(3, "little") for number in numbers) + b"\0" + still
    yield riff(extended(WIDTH, HEIGHT, flags=0x12), (b"ANIM", b"\0" * 6), (b"ANMF", frame))
    body = riff(extended(WIDTH, HEIGHT, flags=0x10), (b"ICCP", b"noise")) + still
    yield body[:4] + struct.pack("<I", len(body) - 8) + body[8:]


def of_bmp(whole: bytes) -> Iterator[bytes]:
    for declared in (0, 2**32 - 1):
        yield whole[:2] + struct.pack("<I", declared) + whole[6:]


def variants(kind: str) -> Iterator[bytes]:
    """The same picture, as real files have it."""
    whole = WHOLE[kind]
    for trailer in (b"\0", b"\1", b"\xff\xd9", b"8BIM" * 23, whole, whole[60:], bytes(range(256)) * 20):
        yield whole + trailer
    if kind in JPEGS:
        yield from of_jpeg(whole, sequential=kind != "progressive")
    elif kind in PNGS:
        yield from of_png(whole)
    elif kind in WEBPS:
        yield from of_webp(whole)
    else:
        yield from of_bmp(whole)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_with_a_common_flaw_is_the_same_picture(kind: str) -> None:
    for number, data in enumerate(variants(kind)):
        header = inspect_image(data, max_bytes=LIMIT, max_pixels=LIMIT)
        picture = decode(data, max_pixels=LIMIT)
        assert (header.width, header.height) == (picture.width, picture.height), number
        assert np.array_equal(picture.pixels, right(kind)), number


@given(
    kind=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), max_size=4),
    cut=st.integers(0, 40),
    tail=st.binary(max_size=20),
)
@settings(max_examples=400, deadline=None)
def test_damage_is_judged_alike(kind: str, changes: list[tuple[int, bytes]], cut: int, tail: bytes) -> None:
    data = bytearray(WHOLE[kind])
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    check_agreement(bytes(data[: len(data) - cut]) + tail)


def check_agreement(data: bytes) -> None:
    """The same code for what is rejected; for the rest a picture of the same size, or pixels that are damaged."""
    try:
        header = inspect_image(data, max_pixels=LIMIT)
    except ImageError as error:
        with pytest.raises(ImageError) as caught:
            decode(data, max_pixels=LIMIT)
        assert caught.value.code is error.code  # noqa: PT017 - one outcome of two
        return
    try:
        picture = decode(data, max_pixels=LIMIT)
    except ImageError as error:
        assert error.code is ErrorCode.INVALID_IMAGE  # noqa: PT017 - the other of the two
        assert "its pixels are damaged" in error.detail  # noqa: PT017
    else:
        assert sorted((picture.width, picture.height)) == sorted((header.width, header.height))
