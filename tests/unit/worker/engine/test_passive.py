"""Which part of the image the liveness model sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.passive import surroundings

SIDES = st.integers(1, 4000)
COORDINATES = st.floats(-2000, 5000)


def test_the_box_grows_about_its_centre() -> None:
    assert surroundings((400.0, 400.0, 500.0, 500.0), width=1000, height=1000) == (315, 315, 586, 586)


def test_near_the_border_it_is_shifted_inside_and_keeps_its_size() -> None:
    assert surroundings((0.0, 900.0, 100.0, 1000.0), width=1000, height=1000) == (0, 729, 271, 1000)


def test_it_grows_less_where_it_does_not_fit() -> None:
    left, top, right, bottom = surroundings((100.0, 100.0, 300.0, 300.0), width=400, height=1000)
    assert (right - left, bottom - top) == (400, 400)


@given(x=COORDINATES, y=COORDINATES, wide=st.floats(0, 3000), high=st.floats(0, 3000), width=SIDES, height=SIDES)
def test_it_is_never_empty_and_never_over_the_border(
    x: float, y: float, wide: float, high: float, width: int, height: int
) -> None:
    left, top, right, bottom = surroundings((x, y, x + wide, y + high), width=width, height=height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("box", [(1500.0, 10.0, 1600.0, 90.0), (-300.0, 10.0, -200.0, 90.0)])
def test_a_box_outside_the_image_is_brought_inside(box: tuple[float, float, float, float]) -> None:
    left, _, right, _ = surroundings(box, width=1000, height=500)
    assert (left == 0) == (box[0] < 0)
    assert right - left in {217, 271}
