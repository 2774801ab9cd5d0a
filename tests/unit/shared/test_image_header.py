"""Inspection of image files: what is accepted, what is rejected and why, and that no input breaks it."""

import io
import struct
import time
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.errors import ErrorCode, ImageError
from shared.image_header.header import ImageHeader
from shared.image_header.inspection import inspect_image
from shared.image_header.jpeg import MAX_SCANS
from shared.image_header.jpeg_scan import MAX_UNENDED
from tests.corpus.jpegs import unended
from tests.unit.api.pictures import (
    BMP,
    GIF,
    HEIGHT,
    JPEG,
    PNG,
    WEBP,
    WIDTH,
    animated,
    chunk,
    encoded,
    pixels,
    png_claiming,
    saved,
)

MIB = 1024 * 1024
WHOLE = {"jpeg": JPEG, "png": PNG, "webp": WEBP, "bmp": BMP}


def inspect(data: bytes) -> ImageHeader:
    return inspect_image(data, max_bytes=5 * MIB, max_pixels=40_000_000)


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        inspect(data)
    return caught.value


def zip_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("hello.txt", "hello")
    return out.getvalue()


def jpeg_with_frame(code: int, *, precision: int = 8) -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[:at] + bytes([0xFF, code]) + JPEG[at + 2 : at + 4] + bytes([precision]) + JPEG[at + 5 :]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("jpeg", JPEG),
        ("jpeg", saved("JPEG", progressive=True)),
        ("jpeg", saved("JPEG", mode="L")),
        ("jpeg", saved("JPEG", mode="CMYK")),
        ("jpeg", saved("JPEG", comment=b"not a marker \xff\xd9 really")),
        ("jpeg", encoded(".jpg")),
        ("png", PNG),
        ("png", saved("PNG", mode="I;16")),
        ("png", saved("PNG", mode="P")),
        ("png", saved("PNG", mode="1")),
        ("png", encoded(".png")),
        ("webp", WEBP),
        ("webp", saved("WEBP", lossless=True)),
        ("webp", saved("WEBP", mode="RGBA")),
        ("webp", saved("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")),
        ("webp", encoded(".webp")),
        ("bmp", BMP),
        ("bmp", saved("BMP", mode="L")),
        ("bmp", saved("BMP", mode="1")),
        ("bmp", encoded(".bmp")),
    ],
)
def test_complete_still_images_are_accepted_with_their_size(kind: str, data: bytes) -> None:
    assert inspect(data) == ImageHeader(kind=kind, width=WIDTH, height=HEIGHT)  # type: ignore[arg-type]


def test_a_bmp_stored_from_the_top_has_a_positive_height() -> None:
    upside = BMP[:22] + struct.pack("<i", -HEIGHT) + BMP[26:]
    assert inspect(upside).height == HEIGHT


def test_an_empty_file_is_reported_as_empty() -> None:
    assert refusal(b"").code is ErrorCode.EMPTY_IMAGE


def test_a_file_above_the_byte_limit_is_too_large() -> None:
    assert refusal(JPEG + b"\0" * 6 * MIB).code is ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize(
    "data",
    [png_claiming(30_000, 30_000), png_claiming(70_000, 1), png_claiming(2**31 - 1, 2**31 - 1)],
    ids=["900 megapixels", "a side too long", "largest header"],
)
def test_a_decompression_bomb_is_refused_by_its_header(data: bytes) -> None:
    assert refusal(data).code is ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE


def test_an_image_at_the_pixel_limit_is_accepted() -> None:
    header = inspect_image(JPEG, max_bytes=MIB, max_pixels=WIDTH * HEIGHT)
    assert header.width * header.height == WIDTH * HEIGHT
    with pytest.raises(ImageError) as caught:
        inspect_image(JPEG, max_bytes=MIB, max_pixels=WIDTH * HEIGHT - 1)
    assert caught.value.code is ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE


def test_a_side_of_zero_pixels_is_invalid() -> None:
    assert refusal(png_claiming(0, 10)).code is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (GIF, "GIF"),
        (saved("TIFF"), "TIFF"),
        (saved("AVIF"), "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + b"\0" * 64, "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 64, "HEIC"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic" + b"\0" * 64, "HEIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 64, "Canon raw photo (CR3)"),
        (b"II*\0\x10\0\0\0CR\2\0", "Canon raw photo (CR2)"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (saved("JPEG2000"), "JPEG 2000"),
        (saved("PPM"), "Netpbm"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 64, "video"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (zip_file(), "ZIP"),
        (saved("ICO"), "icon"),
        (b"data:image/png;base64,iVBORw0KGgo=", "data URL"),
        ("Grüße, ich bin keine Datei.".encode(), "text"),
        (b"BMW is a car maker, and this is text.", "text"),
        (bytes(range(256)), "an unknown type"),
    ],
)
def test_other_files_are_refused_by_name_of_their_type(data: bytes, named: str) -> None:
    error = refusal(data)
    assert error.code is ErrorCode.UNSUPPORTED_IMAGE_TYPE
    assert named in error.detail


@pytest.mark.parametrize(
    "data",
    [jpeg_with_frame(0xC3), jpeg_with_frame(0xC5), jpeg_with_frame(0xC9), jpeg_with_frame(0xC1, precision=12)],
    ids=["lossless", "hierarchical", "arithmetic", "12 bits"],
)
def test_unusual_jpeg_variants_are_refused_as_a_type(data: bytes) -> None:
    assert refusal(data).code is ErrorCode.UNSUPPORTED_IMAGE_TYPE


def test_a_bmp_that_contains_another_image_is_refused_as_a_type() -> None:
    assert refusal(BMP[:30] + struct.pack("<I", 4) + BMP[34:]).code is ErrorCode.UNSUPPORTED_IMAGE_TYPE


@pytest.mark.parametrize("data", [animated("WEBP"), animated("PNG")], ids=["webp", "png"])
def test_animations_are_refused(data: bytes) -> None:
    assert refusal(data).code is ErrorCode.ANIMATED_IMAGE


def test_an_animated_png_with_one_frame_is_accepted() -> None:
    still = PNG[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + PNG[33:]
    assert inspect(still).kind == "png"


@pytest.mark.parametrize("kind", WHOLE)
def test_every_truncated_file_is_refused(kind: str) -> None:
    whole = WHOLE[kind]
    end = len(whole) - 2 if kind == "jpeg" else len(whole)  # a JPEG may lack its end marker
    for length in range(1, end):
        assert refusal(whole[:length]).code in {ErrorCode.INVALID_IMAGE, ErrorCode.UNSUPPORTED_IMAGE_TYPE}, length


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_truncated_in_its_pixels_is_invalid(kind: str) -> None:
    assert refusal(WHOLE[kind][:-40]).code is ErrorCode.INVALID_IMAGE


def test_a_progressive_jpeg_truncated_between_scans_is_invalid() -> None:
    whole = saved("JPEG", progressive=True)
    assert refusal(whole[: whole.rindex(b"\xff\xda")]).code is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("kind", WHOLE)
def test_data_after_the_end_is_not_part_of_the_picture(kind: str) -> None:
    whole = WHOLE[kind]
    for trailer in (b"\1", b"8BIM" * 23, WHOLE["png"][60:], whole[:-1], bytes(range(256)) * 20):
        header = inspect(whole + trailer)
        assert header.picture_bytes(whole + trailer) == inspect(whole).picture_bytes(whole)


@pytest.mark.parametrize("kind", WHOLE)
def test_padding_after_the_end_is_harmless(kind: str) -> None:
    assert inspect(WHOLE[kind] + b"\0\0\r\n").kind == kind


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize(
    "trailer",
    [
        zip_file(),
        b"some bytes first, then " + zip_file(),
        b"%PDF-1.4\n",
        b"\0" * 200 + b"%PDF-1.4\n",
        b"<HTML><script>alert(1)</script>",
        b"<?php echo 1; ?>",
        b"\x7fELF\x02\x01\x01\0",
        b"MZ\x90\0" + b"\0" * 60 + b"This program cannot be run in DOS mode",
        b"#!/bin/sh\n",
    ],
)
def test_another_format_after_the_end_is_refused(kind: str, trailer: bytes) -> None:
    error = refusal(WHOLE[kind] + trailer)
    assert error.code is ErrorCode.INVALID_IMAGE
    assert "hidden after its end" in error.detail


@pytest.mark.parametrize(
    "trailer",
    [
        JPEG,
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + b"\x8f" * 500,
        b"SEFH\x6a\0\0\0\x01\0\0\0SEFT",
        b"\0" * 1024,
        b"Canon maker bytes PK but not a ZIP",
    ],
    ids=["second picture", "motion video", "Samsung trailer", "padding", "text"],
)
def test_data_that_phones_append_to_a_jpeg_is_accepted(trailer: bytes) -> None:
    assert inspect(JPEG + trailer).kind == "jpeg"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    at = JPEG.index(b"\xff\xda")
    scan = JPEG[at:-2]
    assert refusal(JPEG[:at] + scan * (MAX_SCANS + 1) + JPEG[-2:]).code is ErrorCode.INVALID_IMAGE


def test_a_webp_with_conflicting_sizes_is_refused() -> None:
    extended = saved("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    assert extended[12:16] == b"VP8X"
    assert refusal(extended[:24] + b"\x05\0\0\x05\0\0" + extended[30:]).code is ErrorCode.INVALID_IMAGE


def test_a_bmp_with_pixels_outside_the_file_is_invalid() -> None:
    assert refusal(BMP[:10] + struct.pack("<I", 2**31) + BMP[14:]).code is ErrorCode.INVALID_IMAGE


def test_accepted_images_can_be_decoded() -> None:
    for data in WHOLE.values():
        inspect(data)
        assert Image.open(io.BytesIO(data)).size == (WIDTH, HEIGHT)
    assert pixels().size == (WIDTH, HEIGHT)


HEADS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"RIFF\0\0\0\0WEBPVP8X", b"BM"]


@given(head=st.sampled_from([*HEADS, *WHOLE.values()]), tail=st.binary(max_size=300))
def test_any_bytes_end_in_a_header_or_an_image_error(head: bytes, tail: bytes) -> None:
    check_total(head + tail)


@given(
    whole=st.sampled_from([*WHOLE.values(), saved("JPEG", progressive=True), animated("WEBP"), animated("PNG")]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    cut=st.integers(0, 10_000),
)
@settings(max_examples=400)
def test_any_damage_ends_in_a_header_or_an_image_error(
    whole: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    damaged = bytearray(whole)
    for place, new in changes:
        at = place % len(damaged)
        damaged[at : at + len(new)] = new
    check_total(bytes(damaged[: len(damaged) - cut % 64]))


def check_total(data: bytes) -> None:
    try:
        header = inspect(data)
    except ImageError as error:
        assert error.detail.endswith(".")  # noqa: PT017 - either outcome is right
    else:
        assert 0 < header.width * header.height <= 40_000_000


FRAME = b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xff" * 5 * MIB,
        b"\xff\xd8" + b"\xff\xfe\0\2" * (MIB * 5 // 4),
        FRAME + b"\xff\0" * (MIB * 5 // 2) + b"\xff\xd9",
        FRAME + b"\xff" * 5 * MIB,
        FRAME + b"\xff\xc4\0\2" * (MIB * 5 // 4),
        FRAME + b"\xff\xd9" + b"<scrip" * (MIB * 5 // 6),
        PNG[:33] + b"\0\0\0\0abcdcrcc" * (MIB * 5 // 12),
        b"RIFF\xff\xff\x4f\0WEBPVP8X" + b"abcd\0\0\0\0" * (MIB * 5 // 8),
        b"<!--" * MIB,
        unended(64, MAX_UNENDED - 100),
        unended(6_200, 5 * MIB),
    ],
    ids=[
        "fill",
        "comments",
        "stuffing",
        "fill in scan",
        "tables",
        "trailer",
        "chunks",
        "riff",
        "text",
        "counted",
        "too long to count",
    ],
)
def test_hostile_files_of_five_megabytes_are_read_quickly(data: bytes) -> None:
    began = time.process_time()
    with suppress(ImageError):
        inspect_image(data, max_bytes=8 * MIB, max_pixels=40_000_000)
    assert time.process_time() - began < 1
