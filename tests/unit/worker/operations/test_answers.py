"""Boxes may reach outside the image; `clamp_boxes` limits them to it in every result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.operations import Operation
from tests.unit.worker.operations.asking import WHITE, picture, run
from worker.engine.base import AS_THE_PACK_SAYS, Attributes, Detection, HeadPose, Image, Search
from worker.engine.fake import FakeEngine
from worker.images import Picture
from worker.operations import answers

SCENE = picture(((140, 80, 260, 230), WHITE), ((20, 60, 80, 120), WHITE))


class Generous(FakeEngine):
    """Reports boxes that are 100 pixels larger on each side, as real detectors do at the border."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Boxes beyond the border."""
        return [
            Detection(
                box=(face.box[0] - 100, face.box[1] - 100, face.box[2] + 100, face.box[3] + 100),
                landmarks=face.landmarks,
                score=face.score,
            )
            for face in super().detect(image, search)
        ]

    def attributes(self, _image: Image, faces: Sequence[Detection], _names: Sequence[str]) -> list[Attributes]:
        """A frontal head for each."""
        return [Attributes(pose=HeadPose(0.0, 0.0, 0.0, "model")) for _ in faces]


def boxes(operation: Operation, **params: Any) -> list[tuple[float, ...]]:
    reference = SCENE if operation is Operation.VERIFY else None
    result = run(operation, SCENE, reference=reference, engine=Generous(), **params)
    faces = getattr(result, "faces", None) or [result.face, *result.other_faces]
    return [face.box for face in faces]


@pytest.mark.parametrize("operation", list(Operation))
def test_boxes_are_limited_to_the_image_on_request_only(operation: Operation) -> None:
    assert boxes(operation) == [(40, -20, 360, 330), (-80, -40, 180, 220)]
    assert boxes(operation, clamp_boxes=True) == [(40, 0, 360, 300), (0, 0, 180, 220)]


@given(st.tuples(*[st.floats(-1e4, 1e4)] * 4), st.sampled_from([1, 2, 8]))
def test_a_clamped_box_is_inside_and_keeps_its_order(box: tuple[float, float, float, float], fraction: int) -> None:
    x1, y1, x2, y2 = box
    ordered = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    shot = Picture(np.zeros((30, 40, 3), np.uint8), 40 * fraction, 30 * fraction)
    left, top, right, bottom = answers.clamped(shot, ordered)
    assert 0 <= left <= right <= shot.width
    assert 0 <= top <= bottom <= shot.height
    assert answers.clamped(shot, (left, top, right, bottom)) == (left, top, right, bottom)
