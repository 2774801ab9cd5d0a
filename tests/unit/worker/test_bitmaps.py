"""BMP files of every header, depth and mask are read right or rejected, and the gateway says which."""

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image as Pillow

from shared.errors import ErrorCode, ImageError
from shared.image_header.inspection import inspect_image
from tests.bitmaps import FIVE_SIX_FIVE, Layout, bitmap
from tests.pictures import Pixels, encoded, quarters
from worker.images import decode

HEADERS = (40, 52, 56, 64, 108, 124)
BGRX_REVERSED = (0x0000FF, 0x00FF00, 0xFF0000, 0)
TEN_BITS = (0x3FF00000, 0x000FFC00, 0x000003FF, 0)
LAYOUTS = [
    *(Layout(size, depth, top_down=down) for size, depth, down in product(HEADERS, (4, 8, 16, 24, 32), (False, True))),
    *(Layout(12, depth) for depth in (4, 8, 24)),
    *(Layout(header, 16, FIVE_SIX_FIVE, top_down=down) for header in HEADERS if header != 64 for down in (False, True)),
    *(Layout(header, 32, masks) for header in HEADERS if header != 64 for masks in (BGRX_REVERSED, TEN_BITS)),
    *(Layout(40, 32, BGRX_REVERSED, packing=6), Layout(40, 8, palette=5), Layout(40, 4, palette=4)),
]  # fmt: skip


def read(data: bytes) -> Pixels:
    header = inspect_image(data, max_pixels=1_000_000)
    pixels = decode(data, max_pixels=1_000_000).pixels
    assert pixels.shape == (header.height, header.width, 3)
    return pixels


def code_of(data: bytes) -> ErrorCode:
    with pytest.raises(ImageError) as caught:
        read(data)
    return caught.value.code


@pytest.mark.parametrize("width", [1, 3, 30, 33])
def test_every_layout_is_read_right(width: int) -> None:
    drawn = quarters(width, 7)
    assert [str(layout) for layout in LAYOUTS if not (read(bitmap(drawn, layout)) == drawn).all()] == []


@pytest.mark.parametrize("header", [12, 40, 124])
def test_black_and_white_is_read_right(header: int) -> None:
    drawn = np.repeat(np.random.default_rng(1).integers(0, 2, (9, 21, 1), np.uint8) * 255, 3, axis=2)
    assert (read(bitmap(drawn, Layout(header, 1))) == drawn).all()


@pytest.mark.parametrize(
    "layout", [Layout(40, 16), Layout(40, 16, FIVE_SIX_FIVE), Layout(40, 32), Layout(40, 24)], ids=str
)
def test_tones_are_those_of_pillow(layout: Layout) -> None:
    drawn = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    data = bitmap(drawn, layout)
    seen = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))[..., ::-1]
    assert np.abs(read(data).astype(int) - seen).max() <= 1


ALPHA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def test_alpha_is_laid_on_white() -> None:
    drawn = np.zeros((2, 2, 4), np.uint8)
    drawn[0, 0, 3], drawn[1, 1, 3] = 255, 128
    assert read(bitmap(drawn, Layout(124, 32, ALPHA)))[..., 0].tolist() == [[0, 255], [255, 127]]


def test_an_alpha_that_is_zero_everywhere_is_not_meant() -> None:
    drawn = np.dstack([quarters(), np.zeros((48, 64), np.uint8)])
    assert (read(bitmap(drawn, Layout(124, 32, ALPHA))) == quarters()).all()


@pytest.mark.parametrize("declared", [0, 1, 54, 10_000_000, 2**32 - 1])
def test_the_size_that_a_file_claims_to_have_is_not_used(declared: int) -> None:
    data = encoded(quarters(), "BMP")
    assert (read(data[:2] + struct.pack("<I", declared) + data[6:]) == quarters()).all()


def test_the_padding_of_the_last_row_may_be_missing() -> None:
    drawn = quarters(33, 7)
    data = bitmap(drawn, Layout())
    assert (read(data[:-1]) == drawn).all()
    assert code_of(data[:-2]) is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize(("packing", "depth"), [(1, 8), (2, 4)])
def test_runs_are_rejected_by_name(packing: int, depth: int) -> None:
    with pytest.raises(ImageError, match="run-length") as caught:
        read(bitmap(quarters(), Layout(40, depth, packing=packing)))
    assert caught.value.code is ErrorCode.UNSUPPORTED_IMAGE_TYPE


@pytest.mark.parametrize(
    "masks",
    [(0, 0x7E0, 0x1F, 0), (0xF800, 0xF800, 0x1F, 0), (0xA800, 0x7E0, 0x1F, 0), (0xF8000, 0x7E0, 0x1F, 0)],
    ids=["none", "twice", "with a gap", "outside"],
)
def test_damaged_masks_are_rejected(masks: tuple[int, int, int, int]) -> None:
    assert code_of(
        bitmap(quarters(), Layout(40, 16, (0, 0, 0, 0)))[:54] + struct.pack("<3I", *masks[:3]) + b"\0" * 9999
    ) is (ErrorCode.INVALID_IMAGE)


@pytest.mark.parametrize("layout", [Layout(40, 3), Layout(40, 8, packing=3), Layout(40, 24, packing=3)], ids=str)
def test_depths_that_do_not_exist_are_rejected(layout: Layout) -> None:
    assert code_of(bitmap(quarters(), layout)) is ErrorCode.INVALID_IMAGE


def test_a_missing_palette_is_rejected() -> None:
    data = bitmap(quarters(), Layout(40, 8))
    assert code_of(data[:10] + struct.pack("<I", 54) + data[14:]) is ErrorCode.INVALID_IMAGE


def test_an_index_without_a_color_is_black() -> None:
    data = bitmap(np.full((4, 4, 3), 255, np.uint8), Layout(40, 8, palette=1))
    assert np.unique(read(data[:-16] + b"\7" * 16)).tolist() == [0]
