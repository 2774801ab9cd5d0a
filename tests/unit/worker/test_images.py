"""Bytes become an upright BGR array, or a clear refusal."""

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ErrorCode, ImageError
from shared.image_header.inspection import inspect_image
from tests import pictures
from tests.pictures import Kind, Pixels, encoded, quarters
from tests.unit.api.pictures import chunk
from worker import images
from worker.engine.base import Image
from worker.images import BAND, WHITE

MANY = 100_000_000
KINDS: tuple[Kind, ...] = ("JPEG", "PNG", "WEBP", "BMP")


def decode(data: bytes, *, max_pixels: int) -> Image:
    """The pixels of a picture that was read whole."""
    picture = images.decode(data, max_pixels=max_pixels)
    assert picture.pixels.shape == (picture.height, picture.width, 3)
    assert picture.scale == (1.0, 1.0)
    return picture.pixels


def noise(width: int = 120, height: int = 80) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def refusal(data: bytes, *, max_pixels: int = MANY) -> ErrorCode:
    with pytest.raises(ImageError) as caught:
        decode(data, max_pixels=max_pixels)
    return caught.value.code


def far(one: Pixels, two: Pixels) -> int:
    assert one.shape == two.shape
    return int(np.abs(one.astype(int) - two).max())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_contiguous_bgr(kind: Kind) -> None:
    image = decode(encoded(quarters(), kind), max_pixels=MANY)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image[2, 2].tolist() == pytest.approx([0, 0, 255], abs=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_is_undone(kind: Kind, orientation: int) -> None:
    data = encoded(quarters(), kind, orientation=orientation)
    assert far(decode(data, max_pixels=MANY), pictures.as_viewed(data)) <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_image_with_transparency_is_turned_upright_too(kind: Kind, orientation: int) -> None:
    opaque = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    data = encoded(opaque, kind, orientation=orientation)
    assert far(decode(data, max_pixels=MANY), pictures.as_viewed(data)) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_shows_as_white(kind: Kind) -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[10:, :, 3] = 255
    image = decode(encoded(pixels, kind, **({"exact": True} if kind == "WEBP" else {})), max_pixels=MANY)
    assert (image[0, 0].tolist(), image[15, 0].tolist()) == ([255, 255, 255], [0, 0, 0])


def test_half_transparent_black_is_middle_grey() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 3] = 128
    assert np.unique(decode(encoded(pixels), max_pixels=MANY)).tolist() == [127]


def test_a_transparent_palette_colour_shows_as_white() -> None:
    image = decode(pictures.palette_png(np.zeros((8, 8, 3), np.uint8), transparent=0), max_pixels=MANY)
    assert np.unique(image).tolist() == [255]


def test_a_palette_keeps_its_colours() -> None:
    assert far(decode(pictures.palette_png(quarters()), max_pixels=MANY), quarters()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_grey_becomes_three_equal_channels(kind: Kind) -> None:
    image = decode(encoded(np.full((10, 12), 77, np.uint8), kind), max_pixels=MANY)
    assert image.shape == (10, 12, 3)
    assert np.unique(image).tolist() == [77]


def test_printing_colours_come_out_as_pillow_shows_them() -> None:
    data = pictures.cmyk_jpeg(quarters())
    assert far(decode(data, max_pixels=MANY), pictures.as_viewed(data)) <= 3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_and_not_clipped(channels: int) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = np.dstack([ramp] * channels)
    if channels == 4:
        pixels[..., 3] = 65535
    image = decode(pictures.deep_png(pixels), max_pixels=MANY)
    assert np.abs(image[..., 0] - ramp / 257).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused_and_not_filled_up(kind: Kind, kept: float) -> None:
    data = encoded(noise(), kind)
    assert refusal(data[: int(len(data) * kept)]) == ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("kept", [0.6, 0.9, 0.99])
def test_a_progressive_jpeg_that_is_cut_off_is_refused(kept: float) -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    assert refusal(data[: int(len(data) * kept)]) == ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("kept", [0.6, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_image_with_transparency_that_is_cut_off_is_refused(kind: Kind, kept: float) -> None:
    data = encoded(np.dstack([noise(), noise()[..., :1]]), kind)
    assert refusal(data[: int(len(data) * kept)]) == ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.EMPTY_IMAGE),
        (b"\xff\xd8\xff", ErrorCode.INVALID_IMAGE),
        (b"test\n", ErrorCode.UNSUPPORTED_IMAGE_TYPE),
        (b"GIF89a" + bytes(100), ErrorCode.UNSUPPORTED_IMAGE_TYPE),
        (b"RIFF\0\0\0\0WEBP", ErrorCode.INVALID_IMAGE),
    ],
)
def test_other_files_are_refused_with_the_codes_of_the_gateway(data: bytes, code: ErrorCode) -> None:
    assert refusal(data) == code


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_blocks": 4}])
def test_a_jpeg_that_lacks_pixels_before_its_end_marker_is_refused(kept: float, options: dict[str, Any]) -> None:
    data = encoded(noise(), "JPEG", **options)
    assert refusal(data[: int(len(data) * kept)].rstrip(b"\xff") + b"\xff\xd9") == ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 9), (120, 80), (321, 243)])
def test_a_jpeg_is_decoded_to_the_last_pixel(size: tuple[int, int], options: dict[str, Any]) -> None:
    data = encoded(noise(*size), "JPEG", **options)
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert far(decode(data, max_pixels=MANY), np.asarray(plain, np.uint8)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_that_promises_too_many_pixels_is_refused(kind: Kind) -> None:
    assert refusal(encoded(noise(), kind), max_pixels=120 * 80 - 1) == ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE
    assert decode(encoded(noise(), kind), max_pixels=120 * 80).shape == (80, 120, 3)


def test_a_large_webp_with_transparency_is_refused_by_its_header() -> None:
    data = encoded(np.dstack([noise(), noise()[..., :1]]), "WEBP", lossless=False)
    assert data[12:16] == b"VP8X"
    assert refusal(data, max_pixels=120 * 80 - 1) == ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE


@given(
    st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X", b"BM"])
)
def test_no_bytes_do_anything_but_decode_or_be_refused(tail: bytes, start: bytes) -> None:
    try:
        image = decode(start + tail, max_pixels=10_000)
    except ImageError:
        return
    assert image.size <= 30_000


def test_a_damaged_exif_block_counts_as_upright() -> None:
    pixels = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    image = decode(encoded(pixels, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), max_pixels=MANY)
    assert far(image, quarters()) == 0


def png_with(extra: bytes, *, kind: str = "RGB") -> bytes:
    whole = encoded(np.dstack([noise(), noise()[..., 0]]) if kind == "RGBA" else noise())
    return whole[:33] + extra + whole[33:]


BESIDE = {
    "text": chunk(b"tEXt", b"k\0v"),
    "packed text": chunk(b"zTXt", b"k\0\0" + zlib.compress(b"v" * 1000)),
    "gamma": chunk(b"gAMA", struct.pack(">I", 45_455)),
    "intent": chunk(b"sRGB", b"\0"),
    "resolution": chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    "animation of one frame": chunk(b"acTL", struct.pack(">II", 1, 0)),
}


@pytest.mark.parametrize("kind", ["RGB", "RGBA"])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_a_png_carries_beside_its_pixels_changes_none_of_them(beside: str, kind: str) -> None:
    plain, laden = png_with(b"", kind=kind), png_with(BESIDE[beside], kind=kind)
    assert inspect_image(laden, max_pixels=MANY).picture_bytes(laden) == plain
    assert far(decode(laden, max_pixels=MANY), decode(plain, max_pixels=MANY)) == 0


@pytest.mark.parametrize("promised", [100, 2**31 - 1, 2**32 - 1])
def test_a_chunk_that_promises_more_than_is_there_gets_no_room_for_it(promised: int) -> None:
    whole = encoded(noise())
    assert refusal(whole[:33] + struct.pack(">I", promised) + b"IDAT" + b"\0" * 50) is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("rows", [1, BAND - 1, BAND, BAND + 1, 2 * BAND])
def test_transparency_is_laid_on_white_to_the_last_row(rows: int) -> None:
    pixels = np.zeros((rows, 5, 4), np.uint8)
    assert (decode(encoded(pixels), max_pixels=MANY) == WHITE).all()


@pytest.mark.parametrize("deep", [False, True])
def test_transparency_is_rounded_exactly(deep: bool) -> None:
    """Every value under every alpha; of 16 bits, the upper 8 count."""
    value, alpha = (each.astype(np.int64) for each in np.meshgrid(np.arange(256), np.arange(256)))
    channels = (value, 255 - value, value[::-1])
    expected = np.stack([np.rint((each * alpha + 255 * (255 - alpha)) / 255) for each in channels], axis=2)
    stored = np.stack([*channels, alpha], axis=2)
    bgra = (stored << 8 | 0x7F).astype(np.uint16) if deep else stored.astype(np.uint8)
    png = cv2.imencode(".png", bgra)[1].tobytes()
    assert np.array_equal(decode(png, max_pixels=MANY), expected)
