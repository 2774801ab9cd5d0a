"""A picture can be turned and read again at another fraction; both together give the same picture."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pictures import PINK, WHITE, Kind, encoded, scene
from worker.images import Picture, decode

ENOUGH = 500


def photo(kind: Kind = "JPEG") -> bytes:
    return encoded(scene(((100, 100, 400, 320), PINK), ((700, 100, 960, 420), WHITE), size=(1000, 600)), kind)


def read(kind: Kind = "JPEG", *, min_long_side: int | None = None) -> Picture:
    return decode(photo(kind), max_pixels=600_000, min_long_side=min_long_side)


def corners(pixels: NDArray[np.uint8]) -> list[list[int]]:
    return [pixels[row, column].tolist() for row, column in ((0, 0), (0, -1), (-1, -1), (-1, 0))]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turn_is_clockwise(degrees: int) -> None:
    pixels = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3)
    turned = Picture(pixels, 6, 4).turned(degrees)
    before = corners(pixels)
    shift = degrees // 90
    assert corners(turned.pixels) == before[-shift:] + before[:-shift]
    assert (turned.height, turned.width) == turned.pixels.shape[:2]
    assert turned.turn == degrees
    assert turned.pixels.flags.c_contiguous


def test_turns_add_up() -> None:
    picture = read()
    there = picture.turned(90).turned(180)
    assert there.turn == 270
    assert np.array_equal(there.turned(90).pixels, picture.pixels)
    assert there.turned(90).turn == 0


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_picture_that_is_read_whole_stays_turned(degrees: int) -> None:
    whole = read(min_long_side=ENOUGH).turned(degrees).whole()
    assert np.array_equal(whole.pixels, read().turned(degrees).pixels)
    assert (whole.width, whole.height, whole.turn) == ((600, 1000) if degrees % 180 else (1000, 600)) + (degrees,)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_whole_picture_is_read_at_a_fraction_as_it_would_have_been(degrees: int) -> None:
    again = read().turned(degrees).at(ENOUGH)
    assert again.reduced
    assert np.array_equal(again.pixels, read(min_long_side=ENOUGH).turned(degrees).pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_nothing_is_decoded_again_without_need(kind: Kind) -> None:
    picture = read(kind)
    assert not picture.reduced
    assert picture.whole() is picture
    assert picture.at(1000) is picture
    assert (picture.at(ENOUGH) is picture) == (kind == "PNG")
