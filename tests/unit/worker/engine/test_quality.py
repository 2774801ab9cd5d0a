"""The signals of a face: width, sharpness, brightness."""

import cv2
import numpy as np
import pytest

from tests.pictures import one_face
from worker.engine.base import Detection
from worker.engine.quality import measure


def face(*box: float) -> Detection:
    return Detection(box=(box[0], box[1], box[2], box[3]), landmarks=(), score=0.9)


DRAWN = face(100, 60, 200, 180)


def test_width_is_the_boxs() -> None:
    assert measure(one_face(), face(10.25, 0, 90.75, 50)).face_width_px == 80.5


def test_a_blurred_face_is_less_sharp() -> None:
    blurred = np.asarray(cv2.GaussianBlur(one_face(), (0, 0), 4), np.uint8)
    assert measure(blurred, DRAWN).sharpness < 60 < measure(one_face(), DRAWN).sharpness


def test_sharpness_does_not_depend_on_the_size_of_the_picture() -> None:
    large = np.asarray(cv2.resize(one_face(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    ratio = measure(large, face(400, 240, 800, 720)).sharpness / measure(one_face(), DRAWN).sharpness
    assert 0.5 < ratio < 2


def test_brightness_is_the_mean_grey_inside_the_box() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:60, 20:60] = 140
    assert measure(image, face(20, 20, 60, 60)).brightness == pytest.approx(140)


def test_only_the_part_inside_the_image_counts() -> None:
    assert measure(np.full((50, 50, 3), 90, np.uint8), face(-40, -40, 20, 20)).brightness == pytest.approx(90)


@pytest.mark.parametrize("box", [(60, 60, 90, 90), (-30, -30, -1, -1), (10, 10, 10, 10)])
def test_a_box_with_nothing_in_it_reads_zero(box: tuple[float, float, float, float]) -> None:
    quality = measure(np.full((50, 50, 3), 90, np.uint8), face(*box))
    assert (quality.sharpness, quality.brightness) == (0.0, 0.0)


def test_a_drawn_face_passes_the_gates_of_a_registration() -> None:
    quality = measure(one_face(), DRAWN)
    assert quality.sharpness > 60
    assert 50 < quality.brightness < 215


def test_a_white_face_is_measured() -> None:
    image = np.full((600, 800, 3), 255, np.uint8)
    face = Detection(box=(0.0, 0.0, 159.0, 263.0), landmarks=((0.0, 0.0),) * 5, score=1.0)
    assert measure(image, face).brightness == 255.0
