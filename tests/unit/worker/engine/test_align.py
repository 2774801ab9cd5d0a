"""The closed form agrees with the library that InsightFace aligns with, and turns with the face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from worker.engine import align
from worker.engine.base import Detection


def face(landmarks: list[list[float]]) -> Detection:
    return Detection(box=(0.0, 0.0, 1.0, 1.0), landmarks=tuple((x, y) for x, y in landmarks), score=1.0)


def points(seed: int) -> NDArray[np.float64]:
    dice = np.random.default_rng(seed)
    return align.TEMPLATE * dice.uniform(0.3, 12) + dice.normal(0, 4, (5, 2)) + dice.uniform(0, 2000, 2)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_least_squares_similarity(seed: int) -> None:
    theirs = SimilarityTransform.from_estimate(points(seed), align.TEMPLATE).params[:2]
    np.testing.assert_allclose(align.similarity(points(seed)), theirs, atol=1e-6)


@given(turn=st.floats(-3.1, 3.1), scale=st.floats(0.1, 50), x=st.floats(-500, 5000), y=st.floats(-500, 5000))
def test_a_turned_scaled_shifted_template_comes_back_exactly(turn: float, scale: float, x: float, y: float) -> None:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = scale * align.TEMPLATE @ rotation.T + (x, y)
    matrix = align.similarity(moved)
    np.testing.assert_allclose(moved @ matrix[:, :2].T + matrix[:, 2], align.TEMPLATE, atol=1e-6)


def test_a_face_already_in_place_is_cut_out_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    cut = align.crops(image, [face(align.TEMPLATE.tolist())])[0]
    np.testing.assert_array_equal(cut, image)


def test_points_that_coincide_give_a_crop_and_no_error() -> None:
    assert align.crops(np.full((50, 50, 3), 9, np.uint8), [face([[5.0, 5.0]] * 5)]).shape == (1, 112, 112, 3)


def test_crops_keep_the_order_of_the_faces() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    faces = [face((align.TEMPLATE + shift).tolist()) for shift in (0, 40, 90)]
    together = align.crops(image, faces)
    assert together.shape == (3, 112, 112, 3)
    for one, crop in zip(faces, together, strict=True):
        np.testing.assert_array_equal(align.crops(image, [one])[0], crop)
