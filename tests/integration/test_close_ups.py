"""Faces that fill the frame are found, nothing else is, and how a photo was decoded does not change its liveness."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from shared.faces import Liveness
from shared.operations import Operation, parse_params
from tests.integration.test_engine_expectations import engine, portraits, wrong
from tests.photos import NO_FACE
from tests.pictures import Pixels, encoded
from worker import operations
from worker.engine.detector import Detector
from worker.images import decode
from worker.operations import Work
from worker.packs.manifests import CATALOG, DetectionPlan

pytestmark = pytest.mark.integration

LARGE = 3200
"""Long side of a photo that jobs decode at half its size."""


@cache
def detector() -> Detector:
    """The detector of the compact pack, configured by its manifest in the catalog."""
    plan = json.loads((CATALOG / "compact.json").read_text())["detection"]
    own = engine()._detector
    return Detector(own._session, DetectionPlan.model_validate(plan), threshold=0.5, trimmed=True)


def crops(*, grown: float) -> Iterator[tuple[str, Pixels]]:
    """Each labelled portrait, cropped to its face's box times `grown`."""
    for name, image, face in portraits():
        x1, y1, x2, y2 = face.box
        across, down = (grown - 1) * (x2 - x1) / 2, (grown - 1) * (y2 - y1) / 2
        top, left = max(0, round(y1 - down)), max(0, round(x1 - across))
        yield name, np.ascontiguousarray(image[top : round(y2 + down), left : round(x2 + across)])


@pytest.mark.parametrize("grown", [0.75, 1.0, 1.15])
def test_a_face_that_fills_the_frame_is_found_alone(grown: float) -> None:
    counts = [(name, len(detector().detect(image)) == 1) for name, image in crops(grown=grown)]
    assert len(counts) > 20
    assert wrong(counts) == []


def test_nothing_is_found_in_pictures_without_people() -> None:
    pictures = [path for path in sorted(NO_FACE.parent.iterdir()) if path.suffix in {".png", ".jpg"}]
    people = {"astronaut", "camera", "lfw_subset"}

    def faces(path: Path) -> int:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        return 0 if image is None else len(detector().detect(np.asarray(image, np.uint8)))

    assert wrong((path.name, faces(path) == 0) for path in pictures if path.stem not in people) == []


def photograph(image: Pixels) -> bytes:
    """The picture as a JPEG with a long side of `LARGE` pixels."""
    scale = LARGE / max(image.shape[:2])
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return encoded(np.asarray(large, np.uint8), "JPEG", quality=90)


SIZES = (False, True)
"""`full_size`: decoded at a fraction where that is enough, or whole."""


def reading(data: bytes, operation: Operation, **params: Any) -> Liveness:
    parsed = parse_params(operation, params)
    image = decode(data, max_pixels=40_000_000, min_long_side=operations.min_long_side(parsed, engine().info))
    work = Work(engine=engine(), clock=lambda _stage: nullcontext(), image=image)
    result: Any = operations.run(operation, parsed, work)
    return Liveness.model_validate(result.faces[0].liveness if operation is Operation.ANALYZE else result.liveness)


def test_liveness_does_not_depend_on_how_a_photo_was_decoded() -> None:
    portrait = [(name, image) for name, image, _ in portraits()][::9]
    close = list(crops(grown=1.0))[4::9]
    assert len(portrait) + len(close) >= 5
    different = []
    for name, image in portrait + close:
        data = photograph(image)
        readings = {
            way: [reading(data, Operation.LIVENESS, select="largest", detection=way, full_size=size) for size in SIZES]
            for way in ("coarse_to_fine", "full")
        }
        readings["full"].append(reading(data, Operation.ANALYZE, select="largest", attributes=[], full_size=True))
        different += [
            (name, first, other) for first, *others in readings.values() for other in others if other != first
        ]
        assert all(first.outcome != "not_evaluated" for first, *_ in readings.values()), name
    assert different == []
