"""The gates of a registration with the compact pack: labelled pictures, and some that were damaged on purpose."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
import pytest

from shared.operations import Operation, parse_params
from shared.results import RegisterResult
from tests.integration.test_engine_expectations import attributes_of, engine, largest, picture, portraits, wrong
from tests.pictures import Pixels
from worker import operations
from worker.engine.five_points import ERROR, five_point_pose
from worker.images import Picture
from worker.operations import Work

pytestmark = pytest.mark.integration

FACE_RECOGNITION = "ageitgey+face_recognition/tests/test_images"
SAMPLES = "exadel-inc+CompreFace/embedding-calculator/sample_images"
GOOD = [
    f"{FACE_RECOGNITION}/obama.jpg",
    f"{FACE_RECOGNITION}/biden.jpg",
    f"{SAMPLES}/002_A.jpg",
    f"{SAMPLES}/004_A.jpg",
    f"{SAMPLES}/006_A.jpg",
    f"{SAMPLES}/007_B.jpg",
    "exadel-inc+CompreFace/load-tests/docker/tests/verify/faces/FACE_2.jpg",
    "pypi+scikit_image==0.26.0/skimage/data/astronaut.png",
]


def registered(image: Pixels, **params: Any) -> RegisterResult:
    whole = Picture(image, image.shape[1], image.shape[0])
    work = Work(engine=engine(), clock=lambda _stage: nullcontext(), image=whole)
    result = operations.run(Operation.REGISTER, parse_params(Operation.REGISTER, params), work)
    assert isinstance(result, RegisterResult)
    return result


def failed(image: Pixels, **params: Any) -> set[str]:
    return {check.name for check in registered(image, **params).checks if not check.passed}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_portrait_passes_the_standard_profile(name: str) -> None:
    result = registered(picture(name))
    assert result.registered, [check for check in result.checks if not check.passed]
    assert {check.method for check in result.checks if check.name == "yaw"} == {"model, within 4 degrees"}


@pytest.mark.parametrize("name", ["obama_partial_face.jpg", "obama_partial_face2.jpg"])
def test_a_face_cut_off_by_the_border_gets_that_reason(name: str) -> None:
    assert "border" in failed(picture(f"{FACE_RECOGNITION}/{name}"))


def blurred(image: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), image.shape[1] / 80), np.uint8)


def dim(image: Pixels) -> Pixels:
    return np.asarray(image // 4, np.uint8)


def hazy(image: Pixels) -> Pixels:
    return np.asarray(image // 4 + 100, np.uint8)


def leaning(image: Pixels) -> Pixels:
    high, wide = image.shape[:2]
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), 40, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (wide, high), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize(
    ("spoil", "check"), [(blurred, "sharpness"), (dim, "brightness"), (hazy, "contrast"), (leaning, "roll")]
)
def test_a_damaged_portrait_fails_the_matching_check(spoil: Callable[[Pixels], Pixels], check: str) -> None:
    whole = picture(f"{FACE_RECOGNITION}/obama.jpg")
    assert check not in failed(whole, skip_liveness=True)
    assert check in failed(spoil(whole), skip_liveness=True, det_threshold=0.3)


def test_a_head_that_is_turned_away_fails_by_its_angle() -> None:
    aside = picture("minivision-ai+Silent-Face-Anti-Spoofing/images/sample/image_F1.jpg")
    assert failed(aside, skip_liveness=True) == set()
    assert failed(aside, skip_liveness=True, quality="strict") >= {"yaw"}


def test_dark_glasses_are_reported_as_shut_eyes_and_bare_eyes_rarely() -> None:
    def glasses(name: str, image: Pixels) -> Pixels:
        points = np.array(attributes_of(image, largest(name)[0]).points_68)
        worn = image.copy()
        for first in (36, 42):
            x, y = points[first : first + 6].mean(axis=0)
            wide = points[first + 3, 0] - points[first, 0]
            cv2.ellipse(worn, (int(x), int(y)), (max(2, int(wide)), max(2, int(wide * 0.75))), 0, 0, 360, (15,) * 3, -1)
        return worn

    def seen(image: Pixels, name: str) -> bool:
        eyes = attributes_of(image, largest(name)[0]).eyes
        return eyes is not None and max(eyes) >= 0.5

    faces = [(name, image) for name, image, _ in portraits()]
    assert len(faces) == 29
    assert wrong((name, not seen(glasses(name, image), name)) for name, image in faces) == []
    assert len(wrong((name, seen(image, name)) for name, image in faces)) <= 1


def test_five_points_agree_with_the_pose_model() -> None:
    def off(image: Pixels, name: str) -> tuple[float, float, float]:
        face = largest(name)[0]
        model, points = attributes_of(image, face).pose, five_point_pose(face)
        assert model is not None
        return points.yaw - model.yaw, points.pitch - (model.pitch + 11.5), points.roll - model.roll

    differences = np.abs([off(image, name) for name, image, _ in portraits()])
    assert np.percentile(differences, 90, axis=0).max() < ERROR
