"""Registration with the compact pack: undamaged portraits pass `standard`, and pictures that do not match fail."""

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Final

import numpy as np
import pytest

from shared.results import RegisterResult
from tests.integration.test_engine_expectations import engine, expected, largest, picture
from tests.integration.test_quality_expectations import FACE_RECOGNITION, SAMPLES, registered
from tests.pictures import Pixels
from worker.engine.base import Detection
from worker.engine.degradations import blurred, degraded, resampled

pytestmark = pytest.mark.integration

VERIFY = "exadel-inc+CompreFace/load-tests/docker/tests/verify/faces"
SILENT_FACE = "minivision-ai+Silent-Face-Anti-Spoofing/images/sample"
FORMATS = "exadel-inc+CompreFace/embedding-calculator/src/services/imgtools/test/files"
PORTRAITS: Final = {
    f"{FACE_RECOGNITION}/obama.jpg": "Obama",
    f"{FACE_RECOGNITION}/obama2.jpg": "Obama",
    f"{FACE_RECOGNITION}/obama3.jpg": "Obama",
    "ageitgey+face_recognition/examples/knn_examples/test/obama1.jpg": "Obama",
    f"{FACE_RECOGNITION}/biden.jpg": "Biden",
    "ageitgey+face_recognition/examples/knn_examples/train/biden/biden2.jpg": "Biden",
    f"{SAMPLES}/002_A.jpg": "A",
    f"{SAMPLES}/004_A.jpg": "A",
    f"{SAMPLES}/005_A.jpg": "A",
    f"{SAMPLES}/006_A.jpg": "A",
    f"{SAMPLES}/007_B.jpg": "B",
    f"{SAMPLES}/008_B.jpg": "B",
    f"{SAMPLES}/009_C.jpg": "C",
    f"{VERIFY}/FACE_1.jpg": "1",
    f"{VERIFY}/FACE_2.jpg": "2",
    f"{VERIFY}/FACE_3.jpg": "3",
    f"{SILENT_FACE}/image_T1.jpg": "T",
    "pypi+scikit_image==0.26.0/skimage/data/astronaut.png": "Collins",
}
"""Undamaged portraits: one main person, the whole head in the picture, posed for the camera."""
EXCLUDED: Final = {
    **{f"{FACE_RECOGNITION}/{name}": "the border cuts the face" for name in
       ("obama_partial_face.jpg", "obama_partial_face2.jpg")},
    "ageitgey+face_recognition/examples/two_people.jpg": "two people",
    "deepinsight+insightface/python-package/insightface/data/images/t1.jpg": "six people",
    **{f"{SAMPLES}/{name}": "a group" for name in
       ("000_5.jpg", "010_2.jpg", "011_3.jpg", "012_4.jpg", "013_4.jpg", "014_5.jpg", "015_6.jpg", "016_8.jpg")},
    f"{SAMPLES}/017_0.jpg": "no face",
    **{f"{FORMATS}/einstein.{kind}": "one scanned print, in four formats" for kind in ("bmp", "jpeg", "png", "webp")},
    **{f"{SILENT_FACE}/{name}": "a photographed screen" for name in ("image_F1.jpg", "image_F2.jpg")},
    "pypi+scrfd==0.3.0/images/newton.png": "a painting",
    "pypi+scrfd==0.3.0/images/solvay_conference_1927.jpg": "a group",
}  # fmt: skip
"""Every other labelled picture that can be decoded, and why it is not an undamaged portrait."""

Change = Callable[[Pixels, Detection], Pixels]


def as_is(image: Pixels, _: Detection) -> Pixels:
    return image


def frugal(image: Pixels, face: Detection) -> Pixels:
    """A face of 100 pixels, JPEG 75."""
    return resampled(image, face)


def soft(image: Pixels, face: Detection) -> Pixels:
    """The same with a lens slightly out of focus: first a blur of 1 % of the face's width."""
    return resampled(blurred(image, face, 0.01), face)


def covered(image: Pixels, face: Detection) -> Pixels:
    return degraded(image, face, "eyes_covered")


@cache
def registration(name: str, change: Change) -> RegisterResult:
    """Registered with the default parameters; passive liveness is not checked, because code changed the pictures."""
    return registered(change(picture(name), largest(name)[0]), skip_liveness=change not in {as_is, frugal})


def refused(change: Change) -> dict[str, list[str]]:
    """Portraits that `standard` refuses, with the failing checks."""
    results = {name: registration(name, change) for name in PORTRAITS}
    return {
        name: [check.name for check in result.checks if not check.passed]
        for name, result in results.items()
        if not result.registered
    }


def test_every_labelled_picture_is_a_portrait_or_excluded_with_a_reason() -> None:
    decodable = {name for name, entry in expected().items() if "error" not in entry}
    assert PORTRAITS.keys() | EXCLUDED.keys() == decodable
    assert not PORTRAITS.keys() & EXCLUDED.keys()


@pytest.mark.parametrize("change", [as_is, frugal, soft])
def test_standard_accepts_at_least_85_percent_of_undamaged_portraits(change: Change) -> None:
    failures = refused(change)
    assert len(failures) <= 0.15 * len(PORTRAITS), failures


def test_softness_refuses_no_portrait() -> None:
    assert [name for name, checks in refused(soft).items() if "sharpness" in checks] == []


@pytest.mark.parametrize("change", [as_is, frugal, soft])
def test_no_accepted_portrait_fails_another_picture_of_its_person(change: Change) -> None:
    vectors = {}
    for name in PORTRAITS:
        for each in {as_is, change}:
            if embedding := registration(name, each).embedding:
                vectors[name, each] = np.array(embedding.vector)
    pairs = [
        (float(vectors[one] @ vectors[two]), one[0], two[0])
        for one, two in combinations(vectors, 2)
        if PORTRAITS[one[0]] == PORTRAITS[two[0]]
    ]
    assert len(pairs) >= 10
    assert [pair for pair in pairs if pair[0] <= engine().info.thresholds.match] == []


def test_faces_with_covered_eyes_are_refused_for_their_short_embedding() -> None:
    short = [name for name, checks in refused(covered).items() if "embedding_length" in checks]
    assert len(short) >= 0.5 * len(PORTRAITS)
