"""The compact pack on labelled pictures: groups are refused, and a bystander does not affect the person."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
import pytest

from shared.operations import Operation, parse_params
from shared.results import LivenessResult
from tests.integration.test_engine_expectations import (
    Box,
    engine,
    expected,
    file_of,
    overlap,
    picture,
    portraits,
    rows,
    wrong,
)
from tests.photos import SIX_FACES
from tests.pictures import Pixels
from worker import operations
from worker.images import Picture, decode
from worker.operations import Work

pytestmark = pytest.mark.integration


def chosen(image: Pixels, **params: Any) -> LivenessResult:
    whole = Picture(image, image.shape[1], image.shape[0])
    work = Work(engine=engine(), clock=lambda _stage: nullcontext(), image=whole)
    result = operations.run(Operation.LIVENESS, parse_params(Operation.LIVENESS, params), work)
    assert isinstance(result, LivenessResult)
    return result


def somebody() -> Pixels:
    """A face of another person with its surroundings, two and a half times as wide as the face."""
    image = decode(SIX_FACES.read_bytes(), max_pixels=40_000_000).pixels
    x1, y1, x2, y2 = engine().detect(image)[0].box
    x, y, half = (x1 + x2) / 2, (y1 + y2) / 2, 1.25 * (x2 - x1)
    return image[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)]


def with_bystander(image: Pixels, box: Box, *, share: float) -> Iterator[Pixels]:
    """The picture with another person's face in a corner, `share` of the main face's width."""
    side = round(2.5 * share * (box[2] - box[0]))
    patch = cv2.resize(somebody(), (side, side), interpolation=cv2.INTER_AREA)
    high, wide = image.shape[:2]
    for left in (0, wide - side):
        corner = (left, 0, left + side, side)
        if side < min(high, wide) and overlap(box, corner) == 0:
            crowded = image.copy()
            crowded[:side, left : left + side] = patch
            yield crowded


def test_labelled_groups_are_refused_and_list_their_faces() -> None:
    groups = [row for row in rows("detection.csv") if row["kind"] == "group"]
    assert len(groups) > 8

    def refused(row: dict[str, str]) -> bool:
        result = chosen(picture(file_of(row)))
        second = result.other_faces[1].prominence
        several = result.reason == "multiple_faces" and len(result.other_faces) == min(10, int(row["faces"]))
        return several and second > 0.7

    assert wrong((row["path"], refused(row)) for row in groups) == []


def test_a_bystander_in_a_corner_is_ignored() -> None:
    alone = {name for name, entry in expected().items() if len(entry.get("faces", ())) == 1}
    tried = []
    for name, image, face in portraits():
        if name not in alone:
            continue
        for crowded in with_bystander(image, face.box, share=0.5):
            result = chosen(crowded)
            right = result.face is not None and overlap(result.face.box, face.box) > 0.8
            tried.append((name, right, len(result.other_faces)))
    assert len(tried) > 10
    assert sum(others > 0 for _, _, others in tried) > 10
    assert wrong((name, right) for name, right, _ in tried) == []


def test_small_faces_in_pictures_on_the_wall_do_not_count() -> None:
    wall = picture("exadel-inc+CompreFace/embedding-calculator/sample_images/002_A.jpg")
    assert chosen(wall).reason is None
    result = chosen(wall, detection="full")
    assert result.reason is None
    assert [other.reason for other in result.other_faces] == ["small", "small"]
    assert np.allclose([other.prominence for other in result.other_faces], 0.0, atol=0.01)
