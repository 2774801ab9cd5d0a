"""Where faces are looked for, how passes are merged, and how places come back to the pixels of the image."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import ErrorCode, JobError, SettingsError
from tests.unit.worker.engine.sessions import Blob, ScriptedSession
from worker.engine import detector
from worker.engine.base import Image, Search
from worker.engine.detector import Detector, fitted
from worker.packs.manifests import DetectionPlan

FREE = (None, 3, None, None)
FIXED = (1, 3, 640, 640)


def black(width: int, height: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def answer(blob: Blob, *faces: tuple[int, int, float]) -> list[Blob]:
    """What SCRFD gives for faces (column, row, score) on its coarsest level: boxes of 128 pixels, points at 16."""
    outputs = []
    for width in (1, 4, 10):
        for stride in detector.STRIDES:
            cells = (blob.shape[2] // stride) * (blob.shape[3] // stride) * detector.ANCHORS
            outputs.append(np.zeros((cells, width), np.float32))
    for column, row, score in faces:
        anchor = (row * (blob.shape[3] // 32) + column) * detector.ANCHORS
        outputs[2][anchor] = score
        outputs[5][anchor] = 2.0
        outputs[8][anchor] = 0.5
    return outputs


def looking(
    *faces: tuple[int, int, float],
    shape: tuple[int | None, ...] = FREE,
    trimmed: bool = False,
    sizes: Sequence[tuple[int, int]] = ((640, 640),),
    margins: tuple[float, ...] = (),
) -> tuple[Detector, ScriptedSession]:
    session = ScriptedSession(lambda blob: answer(blob, *faces), shape=shape, outputs=9)
    plan = DetectionPlan(input_sizes=tuple(sizes), retry_margins=margins)
    return Detector(session, plan, threshold=0.5, trimmed=trimmed), session


def test_a_face_comes_back_in_the_pixels_of_the_image() -> None:
    [face] = looking((4, 6, 0.9))[0].detect(black(1280, 1280))
    assert face.box == (128.0, 256.0, 384.0, 512.0)
    assert face.landmarks == ((288.0, 416.0),) * 5
    assert face.score == pytest.approx(0.9)


def test_a_face_below_the_threshold_is_not_reported() -> None:
    one = looking((4, 6, 0.6))[0]
    assert len(one.detect(black(640, 640))) == 1
    assert one.detect(black(640, 640), Search(threshold=0.7)) == []


def test_the_best_of_overlapping_boxes_is_kept() -> None:
    found = looking((4, 4, 0.8), (5, 4, 0.9), (14, 14, 0.7))[0].detect(black(640, 640))
    assert sorted(round(face.score, 1) for face in found) == [0.7, 0.9]


def test_the_same_face_at_two_sizes_is_one_face() -> None:
    session = ScriptedSession(
        lambda blob: answer(blob, (2, 2, 0.8)) if blob.shape[2] == 320 else answer(blob), shape=FREE, outputs=9
    )
    both = Detector(
        session, DetectionPlan(input_sizes=((320, 320), (640, 640)), retry_margins=()), threshold=0.5, trimmed=False
    )
    [face] = both.detect(black(640, 640))
    assert face.box == (0.0, 0.0, 256.0, 256.0)
    assert [blob.shape[2] for blob in session.seen] == [320, 640]


def test_faces_of_several_sizes_go_through_one_suppression() -> None:
    session = ScriptedSession(lambda blob: answer(blob, (blob.shape[2] // 64, 5, 0.9)), shape=FREE, outputs=9)
    both = Detector(session, DetectionPlan(retry_margins=()), threshold=0.5, trimmed=False)
    assert len(both.detect(black(640, 640), Search(sizes=(320, 640)))) == 2
    assert len(both.detect(black(640, 640), Search(sizes=(640, 640)))) == 1


def test_a_size_of_the_caller_replaces_the_packs() -> None:
    one, session = looking((1, 1, 0.9))
    one.detect(black(1000, 1000), Search(sizes=(320,)))
    assert [blob.shape for blob in session.seen] == [(1, 3, 320, 320)]


def test_a_graph_of_one_fixed_size_refuses_another_one() -> None:
    one, session = looking((1, 1, 0.9), shape=FIXED)
    assert len(one.detect(black(640, 640), Search(sizes=(640,)))) == 1
    with pytest.raises(JobError, match="supports only 640x640") as caught:
        one.detect(black(640, 640), Search(sizes=(320,)))
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    assert len(session.seen) == 1


def test_the_canvas_is_trimmed_if_the_graph_takes_any_size() -> None:
    wide, session = looking((1, 1, 0.9), trimmed=True)
    wide.detect(black(1280, 886))
    wide.detect(black(886, 1280))
    wide.detect(black(640, 640))
    assert [blob.shape[2:] for blob in session.seen] == [(512, 640), (640, 512), (640, 640)]


def test_a_fixed_graph_gets_its_full_square() -> None:
    one, session = looking((1, 1, 0.9), shape=FIXED, trimmed=True)
    one.detect(black(1280, 640))
    assert session.seen[0].shape == (1, 3, 640, 640)


@given(width=st.integers(20, 5000), height=st.integers(20, 5000), side=st.sampled_from([128, 320, 640, 1280]))
def test_a_trimmed_canvas_holds_the_whole_picture_and_a_rim(width: int, height: int, side: int) -> None:
    assume(max(width, height) < side * min(width, height))
    full, trimmed = (fitted(black(width, height), (side, side), trimmed=short) for short in (False, True))
    assert full.scale == trimmed.scale
    assert full.pixels.shape == (side, side, 3)
    high, wide = trimmed.pixels.shape[:2]
    assert high % 32 == wide % 32 == 0
    assert max(high, wide) == side
    used = side * min(width, height) / max(width, height)
    assert min(side, used + detector.RIM - 1) <= min(high, wide) < used + detector.RIM + 32


def test_the_picture_is_at_the_top_left_and_the_rest_is_black() -> None:
    canvas = fitted(np.full((300, 600, 3), 255, np.uint8), (640, 640), trimmed=True)
    assert canvas.pixels.shape == (384, 640, 3)
    assert canvas.pixels[:320].min() == 255
    assert canvas.pixels[320:].max() == 0


def test_it_retries_with_gray_borders_if_nothing_is_found() -> None:
    one, session = looking(margins=(0.25, 0.5))
    assert one.detect(black(640, 640)) == []
    assert len(session.seen) == 3
    grey = (127 - 127.5) / 128
    assert [blob[0, 0, 0, 0] for blob in session.seen] == pytest.approx([-127.5 / 128, grey, grey])
    assert [blob.shape[2:] for blob in session.seen] == [(640, 640), (320, 320), (320, 320)]


def test_a_search_without_retry_looks_once() -> None:
    one, session = looking(margins=(0.25, 0.5))
    assert one.detect(black(640, 640), Search(retry=False)) == []
    assert len(session.seen) == 1


def test_the_retry_of_a_fixed_graph_has_its_size() -> None:
    one, session = looking(margins=(0.5,), shape=FIXED)
    one.detect(black(640, 640))
    assert [blob.shape[2:] for blob in session.seen] == [(640, 640), (640, 640)]


def test_a_face_found_with_a_border_is_in_pixels_of_the_image() -> None:
    tries: list[int] = []

    def second_time(blob: Blob) -> list[Blob]:
        tries.append(1)
        return answer(blob, (5, 5, 0.9)) if len(tries) == 2 else answer(blob)

    session = ScriptedSession(second_time, shape=FREE, outputs=9)
    one = Detector(session, DetectionPlan(retry_margins=(0.5,)), threshold=0.5, trimmed=False)
    [face] = one.detect(black(1280, 1280))  # 160 pixels within a canvas of 320: eight of the image for one
    assert face.box == pytest.approx((640 - 512, 640 - 512, 640 + 512, 640 + 512))


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 1400)])
def test_a_strip_too_thin_to_see_has_no_face_and_needs_no_run(size: tuple[int, int]) -> None:
    one, session = looking((1, 1, 0.9))
    assert one.detect(black(*size)) == []
    assert session.seen == []


def test_a_model_with_other_outputs_is_refused() -> None:
    session = ScriptedSession(lambda blob: [blob], shape=FREE, outputs=6)
    with pytest.raises(SettingsError, match=r"scripted\.onnx is not a SCRFD detector with five points"):
        Detector(session, DetectionPlan(), threshold=0.5, trimmed=False)


def test_the_largest_face_comes_first() -> None:
    session = ScriptedSession(lambda blob: answer(blob, (2, 2, 0.7), (15, 15, 0.9)), shape=FREE, outputs=9)
    one = Detector(session, DetectionPlan(retry_margins=()), threshold=0.5, trimmed=False)
    areas = [face.area for face in one.detect(black(640, 640), Search(sizes=(640, 1280)))]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) == 2
