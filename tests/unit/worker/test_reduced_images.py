"""Large JPEGs are read at a fraction of their size: the same picture, upright, and its whole size known."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ErrorCode, ImageError
from tests import pictures
from tests.pictures import Kind, Pixels, encoded
from worker import images
from worker.images import Picture, min_long_side_for, reduction

MANY = 100_000_000
SIDES = st.integers(1, 9000)


def decode(data: bytes, *, min_long_side: int | None) -> Picture:
    return images.decode(data, max_pixels=MANY, min_long_side=min_long_side)


def blobs(width: int, height: int) -> Pixels:
    """Soft shapes that look different in every orientation, with no detail that a reduction would lose."""
    small = np.random.default_rng(3).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def differs(one: Pixels, two: Pixels) -> float:
    assert one.shape == two.shape
    return float(np.abs(one.astype(int) - two).mean())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_is_the_same_picture_in_every_orientation(orientation: int, options: dict[str, Any]) -> None:
    data = encoded(blobs(642, 483), "JPEG", orientation=orientation, quality=95, **options)
    whole, half = decode(data, min_long_side=None), decode(data, min_long_side=320)
    assert (half.width, half.height) == (whole.width, whole.height) == whole.pixels.shape[1::-1]
    assert max(half.pixels.shape) == 321
    shrunk = cv2.resize(whole.pixels, half.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert differs(np.asarray(shrunk, np.uint8), half.pixels) < 2


@pytest.mark.parametrize(("min_long_side", "divisor"), [(640, 1), (321, 1), (320, 2), (160, 4), (80, 8), (1, 8)])
def test_the_long_side_keeps_what_is_enough(min_long_side: int, divisor: int) -> None:
    picture = decode(encoded(blobs(640, 481), "JPEG"), min_long_side=min_long_side)
    assert picture.pixels.shape == (-(-481 // divisor), 640 // divisor, 3)
    assert (picture.width, picture.height) == (640, 481)
    assert picture.scale == (divisor, 481 / -(-481 // divisor))


@pytest.mark.parametrize("grey_or_printed", ["grey", "cmyk"])
def test_other_colour_models_are_reduced_too(grey_or_printed: str) -> None:
    pixels = blobs(400, 300)
    data = encoded(pixels[..., 0], "JPEG") if grey_or_printed == "grey" else pictures.cmyk_jpeg(pixels)
    whole, half = decode(data, min_long_side=None), decode(data, min_long_side=200)
    assert half.pixels.shape == (150, 200, 3)
    shrunk = cv2.resize(whole.pixels, (200, 150), interpolation=cv2.INTER_AREA)
    assert differs(np.asarray(shrunk, np.uint8), half.pixels) < 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_kinds_are_read_whole(kind: Kind) -> None:
    assert decode(encoded(blobs(400, 300), kind), min_long_side=50).pixels.shape == (300, 400, 3)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("min_long_side", [400, 100])
def test_a_large_file_that_is_cut_off_is_refused(min_long_side: int, kept: float, progressive: bool) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    data = encoded(noisy, "JPEG", progressive=progressive)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * kept)], min_long_side=min_long_side)
    assert caught.value.code == ErrorCode.INVALID_IMAGE


def test_the_limit_is_on_the_whole_size_and_not_on_what_is_read() -> None:
    with pytest.raises(ImageError) as caught:
        images.decode(encoded(blobs(800, 600), "JPEG"), max_pixels=479_999, min_long_side=100)
    assert caught.value.code == ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE


@given(SIDES, SIDES, st.integers(1, 4000))
def test_a_reduction_leaves_enough(width: int, height: int, min_long_side: int) -> None:
    divisor = reduction(width, height, min_long_side=min_long_side)
    assert divisor == 1 or max(-(-width // divisor), -(-height // divisor)) >= min_long_side


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_nearly_square_picture_is_turned_correctly(orientation: int) -> None:
    picture = decode(encoded(blobs(800, 799), "JPEG", orientation=orientation), min_long_side=100)
    assert (picture.width, picture.height) == ((800, 799) if orientation == 1 else (799, 800))


@given(st.tuples(st.integers(40, 400), st.integers(40, 400)), st.integers(1, 8), st.sampled_from([20, 40, 80]))
def test_coordinates_in_a_reduced_picture_map_to_the_full_one(
    size: tuple[int, int], orientation: int, min_long_side: int
) -> None:
    width, height = size
    pixels: Pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 235
    data = encoded(pixels, "JPEG", orientation=orientation, quality=95)

    def bright(picture: Picture) -> tuple[float, ...]:
        rows, columns = np.nonzero(picture.pixels[..., 1] > 128)
        across, down = picture.scale
        return (
            float(columns.min() * across), float(rows.min() * down),
            float((columns.max() + 1) * across), float((rows.max() + 1) * down),
        )  # fmt: skip

    whole, reduced = decode(data, min_long_side=None), decode(data, min_long_side=min_long_side)
    assert (reduced.width, reduced.height) == (whole.width, whole.height)
    divisor = round(max(reduced.scale))
    assert bright(reduced) == pytest.approx(bright(whole), abs=1.5 * divisor)


@pytest.mark.parametrize(
    ("width", "height", "divisor"), [(1280, 886, 1), (4164, 2882, 2), (3880, 5184, 2), (7300, 5475, 4)]
)
def test_photos_are_read_at_the_size_that_the_rule_says(width: int, height: int, divisor: int) -> None:
    assert reduction(width, height, min_long_side=min_long_side_for([128, 640])) == divisor
