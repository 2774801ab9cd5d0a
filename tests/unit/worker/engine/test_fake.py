"""The fake engine: bright regions, read by their colour, the same every time."""

from typing import Literal

import numpy as np
import pytest

from tests.pictures import DARK, PINK, WHITE, YELLOW, Colour, encoded, one_face, scene, turned_face
from worker.engine.base import Attributes, Image, Search, Vectors
from worker.engine.fake import FakeEngine
from worker.images import decode

ENGINE = FakeEngine()


def embedded(image: Image) -> Vectors:
    return ENGINE.embed(ENGINE.align(image, ENGINE.detect(image)))


def only(image: Image) -> tuple[float, float | None]:
    """Score and liveness of the one face."""
    [face] = ENGINE.detect(image)
    return face.score, ENGINE.liveness(image, face)


def cosine(one: Image, two: Image) -> float:
    vectors = [embedded(image)[0] for image in (one, two)]
    return float(vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))


def test_every_bright_region_is_a_face_and_the_largest_comes_first() -> None:
    image = scene(((10, 10, 50, 60), PINK), ((100, 60, 200, 180), WHITE))
    assert [face.box for face in ENGINE.detect(image)] == [(100, 60, 200, 180), (10, 10, 50, 60)]


def test_landmarks_lie_in_the_box() -> None:
    [face] = ENGINE.detect(one_face())
    assert len(face.landmarks) == 5
    assert all(100 < x < 200 and 60 < y < 180 for x, y in face.landmarks)


@pytest.mark.parametrize(("side", "faces"), [(11, 0), (12, 1)])
def test_a_region_below_twelve_pixels_is_no_face(side: int, faces: int) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20 : 20 + side, 20:60] = 255
    assert len(ENGINE.detect(image)) == faces


def test_a_dark_picture_has_no_face() -> None:
    assert ENGINE.detect(scene()) == []


def test_the_score_falls_with_brightness_and_the_threshold_cuts() -> None:
    dim: Colour = (210, 210, 210)
    assert only(one_face(WHITE))[0] == pytest.approx(1.0)
    assert only(one_face(dim))[0] == pytest.approx(0.59, abs=0.01)
    assert ENGINE.detect(one_face(dim), Search(threshold=0.65)) == []


def test_the_same_colour_is_the_same_person_wherever_it_stands() -> None:
    assert cosine(one_face(PINK), scene(((10, 10, 90, 100), PINK))) == pytest.approx(1.0)


def test_the_same_color_still_matches_after_compression() -> None:
    compressed = decode(encoded(one_face(PINK), "JPEG", quality=75), max_pixels=1_000_000).pixels
    assert cosine(one_face(PINK), compressed) > 0.9


@pytest.mark.parametrize(("one", "two"), [(WHITE, PINK), (WHITE, YELLOW), (PINK, YELLOW)])
def test_other_colours_are_other_people(one: Colour, two: Colour) -> None:
    assert abs(cosine(one_face(one), one_face(two))) < 0.2


@pytest.mark.parametrize(("colour", "score"), [(WHITE, 1.0), (PINK, 1.0), (YELLOW, 0.0), ((80, 255, 255), 0.41)])
def test_blue_is_live(colour: Colour, score: float) -> None:
    assert only(one_face(colour))[1] == pytest.approx(score, abs=0.01)


def test_no_face_gives_no_embedding() -> None:
    assert ENGINE.embed(ENGINE.align(one_face(), [])).shape == (0, 512)


def test_embeddings_are_raw_float32_of_one_length() -> None:
    vectors = embedded(one_face())
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(20.0)


def test_dark_is_no_colour_of_a_face() -> None:
    assert ENGINE.detect(one_face(DARK)) == []


def told(image: Image) -> Attributes:
    [face] = ENGINE.detect(image)
    [attributes] = ENGINE.attributes(image, [face], ENGINE.info.attributes)
    return attributes


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (30.0, 0.0), (-45.0, 0.0), (0.0, 25.0), (0.0, -20.0)])
def test_the_pose_is_that_of_a_card(yaw: float, pitch: float, kind: Literal["PNG", "JPEG"]) -> None:
    image = decode(encoded(turned_face(yaw=yaw, pitch=pitch), kind), max_pixels=1_000_000).pixels
    pose = told(image).pose
    assert pose is not None
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, 0.0), abs=4)


def test_the_nose_follows_the_pose_and_the_other_points_stay() -> None:
    front, aside = (ENGINE.detect(turned_face(yaw=yaw))[0].landmarks for yaw in (0.0, 30.0))
    assert aside[2][0] > front[2][0] + 10
    assert [aside[n] for n in (0, 1, 3, 4)] == [front[n] for n in (0, 1, 3, 4)]


def test_eyes_behind_a_dark_bar_are_shut() -> None:
    assert told(turned_face()).eyes == pytest.approx((1.0, 1.0))
    assert told(turned_face(shut=True)).eyes == pytest.approx((0.0, 0.0), abs=0.2)


def test_only_requested_attributes_are_returned() -> None:
    [face] = ENGINE.detect(one_face())
    [attributes] = ENGINE.attributes(one_face(), [face], ["eyes"])
    assert (attributes.pose, attributes.eyes is None) == (None, False)
