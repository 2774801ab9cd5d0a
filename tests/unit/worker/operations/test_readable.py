"""A face that no liveness model can judge is told apart from a spoof, with the reason."""

from dataclasses import replace

import numpy as np
import pytest

from shared.operations import Operation
from tests.pictures import turned_face
from tests.unit.worker.operations.asking import WHITE, picture, run
from worker.engine.base import Detection, Image
from worker.engine.fake import FakeEngine
from worker.images import Picture
from worker.operations.readable import rejection

BLANK = Picture(np.zeros((300, 400, 3), np.uint8), 400, 300)


def face(box: tuple[float, float, float, float], *, nose: float = 0.5) -> Detection:
    """A face in this box whose nose is this share of the way across."""
    x1, y1, x2, y2 = box
    shares = ((0.3, 0.35), (0.7, 0.35), (nose, 0.6), (0.35, 0.75), (0.65, 0.75))
    points = tuple((x1 + x * (x2 - x1), y1 + y * (y2 - y1)) for x, y in shares)
    return Detection(box=box, landmarks=points, score=0.9)


@pytest.mark.parametrize(
    ("box", "nose", "reason"),
    [
        ((100.0, 100.0, 200.0, 220.0), 0.5, None),
        ((-20.0, 100.0, 80.0, 220.0), 0.5, None),
        ((-30.0, 100.0, 70.0, 220.0), 0.5, "cut_by_border"),
        ((350.0, 250.0, 450.0, 370.0), 0.5, "cut_by_border"),
        ((100.0, 100.0, 140.0, 150.0), 0.5, None),
        ((100.0, 100.0, 139.0, 150.0), 0.5, "too_small"),
        ((100.0, 100.0, 200.0, 220.0), 0.75, "too_oblique"),
        ((100.0, 100.0, 200.0, 220.0), 0.25, "too_oblique"),
    ],
)
def test_an_unreadable_face_is_rejected_with_its_reason(
    box: tuple[float, float, float, float], nose: float, reason: str | None
) -> None:
    assert rejection(BLANK, face(box, nose=nose)) == reason


def test_a_small_face_is_measured_in_pixels_of_the_whole_image() -> None:
    small = face((100.0, 100.0, 139.0, 150.0))
    assert rejection(Picture(BLANK.pixels, 800, 600), small) is None


def test_a_rejected_face_keeps_its_score_which_decides_nothing() -> None:
    reading = run(Operation.LIVENESS, picture(((100, 50, 130, 90), WHITE))).liveness
    assert (reading.outcome, reading.reason, reading.score) == ("input_rejected", "too_small", 1.0)
    assert reading.model == "fake-blue-share"


def test_a_profile_is_rejected_and_a_half_turn_is_judged() -> None:
    class Beaked(FakeEngine):
        """Sees noses that stand out as far as real ones."""

        def detect(self, image: Image, *_: object) -> list[Detection]:
            [found] = super().detect(image)
            turned = face(found.box, nose=0.5 + (found.landmarks[2][0] - found.box[0]) / 160 - 0.5)
            return [replace(found, landmarks=turned.landmarks)]

    def outcome(yaw: float) -> str:
        result = run(Operation.LIVENESS, Picture(turned_face(yaw=yaw), 320, 240), engine=Beaked())
        return str(result.liveness.outcome)

    assert [outcome(yaw) for yaw in (-20.0, 0.0, 20.0, 75.0, -75.0)] == [
        "live",
        "live",
        "live",
        "input_rejected",
        "input_rejected",
    ]
