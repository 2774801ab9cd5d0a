"""68 points come back into the pixels of the image, and the squares around the eyes go to the eye model."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.engine.sessions import Blob, ScriptedSession
from worker.engine.eyes import EyesModel, PointsModel

IMAGE = np.random.default_rng(6).integers(0, 256, (200, 300, 3), np.uint8)
SHUT_THEN_OPEN = np.array([[4.0, -4.0], [-4.0, 4.0]], np.float32)


def points(*, width: float = 20.0) -> NDArray[np.float64]:
    """Points with an eye of this width at (100, 80) and one at (160, 80)."""
    eye = np.array([(-0.5, 0), (-0.2, -0.2), (0.2, -0.2), (0.5, 0), (0.2, 0.2), (-0.2, 0.2)]) * width
    found = np.zeros((68, 2))
    found[36:42], found[42:48] = eye + np.array((100, 80)), eye + np.array((160, 80))
    return found


def test_points_are_shares_of_the_box() -> None:
    shares = np.tile(np.array([0.5, 0.25], np.float32), 68)[None]
    session = ScriptedSession(lambda _: [shares], shape=(1, 1, 64, 64))
    assert PointsModel(session).read(IMAGE, (100.0, 40.0, 180.0, 140.0)).tolist() == [[140.0, 65.0]] * 68
    crop = cv2.cvtColor(cv2.resize(IMAGE[40:140, 100:180], (64, 64)), cv2.COLOR_BGR2GRAY) / 256
    np.testing.assert_allclose(session.seen[0][0, 0], crop, atol=1e-6)


def test_both_eyes_are_read_in_one_run_the_pictures_left_one_first() -> None:
    session = ScriptedSession(lambda _: [SHUT_THEN_OPEN], shape=(None, 1, 24, 24))
    eyes = EyesModel(session).read(IMAGE, points())
    assert eyes == pytest.approx((0.0, 1.0), abs=0.001)
    [batch] = session.seen
    for number, x in enumerate((100, 160)):
        square = cv2.cvtColor(cv2.resize(IMAGE[64:96, x - 16 : x + 16], (24, 24)), cv2.COLOR_BGR2GRAY) / 255
        np.testing.assert_allclose(batch[number, 0], square, atol=1e-6)


def test_a_graph_for_one_picture_is_run_for_each_eye() -> None:
    def answer(_: Blob) -> list[Blob]:
        return [SHUT_THEN_OPEN[len(session.seen) - 1 :][:1]]

    session = ScriptedSession(answer, shape=(1, 1, 24, 24))
    assert EyesModel(session).read(IMAGE, points()) == pytest.approx((0.0, 1.0), abs=0.001)
    assert [len(blob) for blob in session.seen] == [1, 1]


@pytest.mark.parametrize("width", [2.0, 0.0, -20.0])
def test_an_eye_that_is_too_small_is_not_read(width: float) -> None:
    session = ScriptedSession(lambda _: [SHUT_THEN_OPEN], shape=(None, 1, 24, 24))
    assert EyesModel(session).read(IMAGE, points(width=width)) is None
    assert session.seen == []


def test_an_eye_at_the_border_is_read_from_what_there_is() -> None:
    session = ScriptedSession(lambda _: [SHUT_THEN_OPEN], shape=(None, 1, 24, 24))
    assert EyesModel(session).read(np.zeros((90, 165, 3), np.uint8), points()) is not None
    assert session.seen[0].shape == (2, 1, 24, 24)
