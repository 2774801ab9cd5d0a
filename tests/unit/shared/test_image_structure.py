"""The structure of each image format: what every viewer shows is accepted, and nothing that hides missing pixels."""

import struct
from typing import Any

import pytest

from shared.errors import ErrorCode, ImageError
from shared.image_header.header import ImageHeader
from shared.image_header.inspection import inspect_image
from shared.image_header.jpeg_scan import MAX_UNENDED
from tests.corpus.others import extended, riff
from tests.unit.api.pictures import JPEG, PNG, WEBP, animated, chunk, saved

ANIMATION = 0x02
FIRST_SEGMENT = 2 + 2 + struct.unpack_from(">H", JPEG, 4)[0]
"""Where the second segment of the JPEG starts."""
SCAN = JPEG.index(b"\xff\xda")


def inspect(data: bytes) -> ImageHeader:
    return inspect_image(data, max_pixels=40_000_000)


def code_of(data: bytes) -> ErrorCode | None:
    try:
        inspect(data)
    except ImageError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "stray", [b"\0", b"\x55", b"\xff\0", b"\xff", b"\xff" * 9, b"\0\1\2\3", b"\xff\0\xff\0", b"\xff\xd0", b"\xff\x01"]
)
def test_stray_bytes_between_segments_are_dropped(stray: bytes) -> None:
    data = JPEG[:FIRST_SEGMENT] + stray + JPEG[FIRST_SEGMENT:]
    assert inspect(data).picture_bytes(data) == inspect(JPEG).picture_bytes(JPEG)


@pytest.mark.parametrize("marker", [0x01, 0xD0, 0xD7])
def test_an_unexpected_restart_marker_is_damage(marker: int) -> None:
    assert code_of(JPEG[: SCAN + 40] + bytes([0xFF, marker]) + JPEG[SCAN + 40 :]) is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("marker", [0x02, 0x3B, 0xBF, 0xD8, 0xF0, 0xFD])
@pytest.mark.parametrize("at", [FIRST_SEGMENT, SCAN + 40])
def test_a_marker_unknown_to_decoders_is_damage(at: int, marker: int) -> None:
    assert code_of(JPEG[:at] + bytes([0xFF, marker, 0, 2]) + JPEG[at:]) is ErrorCode.INVALID_IMAGE


SEQUENTIAL: list[dict[str, Any]] = [
    {}, {"mode": "L"}, {"mode": "CMYK"}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 5}, {"quality": 100},
    {"optimize": True}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 5}, {"restart_marker_rows": 1},
]  # fmt: skip


@pytest.mark.parametrize("options", SEQUENTIAL)
def test_a_jpeg_without_end_marker_is_valid_if_all_pixels_are_present(options: dict[str, Any]) -> None:
    whole = saved("JPEG", **options)
    body = whole[:-2]
    assert inspect(body).picture_bytes(body) == inspect(whole).picture_bytes(whole)
    assert code_of(whole[:-1]) is None
    for lost in (1, 2, 3, 10, 100):
        assert code_of(body[:-lost]) is ErrorCode.INVALID_IMAGE


def test_a_progressive_jpeg_without_end_marker_is_refused() -> None:
    assert code_of(saved("JPEG", progressive=True)[:-2]) is ErrorCode.INVALID_IMAGE


def test_a_missing_end_marker_is_accepted_only_in_small_scans() -> None:
    coded = JPEG[SCAN:-2]
    assert code_of(JPEG[:SCAN] + coded + b"\0" * (MAX_UNENDED - 2000)) is None
    assert code_of(JPEG[:SCAN] + coded + b"\0" * MAX_UNENDED) is ErrorCode.INVALID_IMAGE


def test_a_jpeg_with_a_missing_color_is_truncated() -> None:
    at = SCAN + 4
    one = JPEG[:SCAN] + b"\xff\xda\0\x08\1" + JPEG[at + 1 : at + 3] + JPEG[at + 7 :]
    assert code_of(one) is ErrorCode.INVALID_IMAGE


def frame(payload: bytes, width: int = 48, height: int = 32, left: int = 0, top: int = 0) -> tuple[bytes, bytes]:
    numbers = (left // 2, top // 2, width - 1, height - 1, 100)
    return b"ANMF", b"".join(number.to_bytes(3, "little") for number in numbers) + b"\0" + payload


STILL = WEBP[12:]
ANIM = (b"ANIM", b"\xff\xff\xff\xff\0\0")


def animation(*frames: tuple[bytes, bytes], width: int = 48, height: int = 32, flags: int = ANIMATION) -> bytes:
    return riff(extended(width, height, flags=flags), ANIM, *frames)


def test_an_animated_webp_with_one_full_frame_is_accepted() -> None:
    one = animation(frame(STILL))
    assert (inspect(one).width, inspect(one).height) == (48, 32)
    assert inspect(one).picture_bytes(one) == WEBP


@pytest.mark.parametrize(
    "data",
    [
        animation(frame(STILL), frame(STILL)),
        animation(frame(STILL), width=50),
        animation(frame(STILL, left=2), width=50),
        animation(frame(STILL), flags=0),
        animated("WEBP"),
    ],
    ids=["two frames", "smaller than its canvas", "beside the corner", "not flagged", "Pillow's"],
)
def test_other_animated_webp_files_are_refused(data: bytes) -> None:
    assert code_of(data) is ErrorCode.ANIMATED_IMAGE


@pytest.mark.parametrize(
    "data",
    [animation(frame(b"")), animation(), animation(frame(STILL, width=64), width=64), animation((b"ANMF", b"\0" * 9))],
    ids=["no pixels", "no frame", "another size inside", "cut off"],
)
def test_a_damaged_frame_is_invalid(data: bytes) -> None:
    assert code_of(data) is ErrorCode.INVALID_IMAGE


def test_an_animated_png_with_a_different_single_frame_is_refused() -> None:
    end = PNG.rindex(b"IEND") - 4
    data = PNG[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + PNG[33:end] + chunk(b"fdAT", b"\0\0\0\0x") + PNG[end:]
    assert code_of(data) is ErrorCode.ANIMATED_IMAGE
