"""What a model sees of a face lies inside the image, whatever the box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.boxes import stretched

IMAGE = np.zeros((200, 300, 3), np.uint8)


@pytest.mark.parametrize(
    ("box", "room", "seen"),
    [
        ((100.0, 60.0, 180.0, 160.0), 1.5, (80, 35, 200, 185)),
        ((100.9, 60.9, 180.9, 160.9), 1.0, (100, 60, 180, 160)),
        ((10.0, 5.0, 110.0, 105.0), 1.5, (0, 0, 135, 130)),
        ((250.0, 150.0, 310.0, 230.0), 1.0, (250, 150, 300, 200)),
    ],
)
def test_the_box_grows_about_its_centre_and_is_cut_at_the_border(
    box: tuple[float, float, float, float], room: float, seen: tuple[int, int, int, int]
) -> None:
    assert stretched(box, room=room, image=IMAGE) == seen


@given(
    box=st.tuples(*[st.floats(-1000, 1000)] * 4),
    room=st.sampled_from([1.0, 1.5]),
)
def test_it_is_never_empty_and_never_over_the_border(box: tuple[float, float, float, float], room: float) -> None:
    left, top, right, bottom = stretched(box, room=room, image=IMAGE)
    assert 0 <= left < right <= 300
    assert 0 <= top < bottom <= 200
