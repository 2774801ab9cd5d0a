"""Pictures on their side or upside down are turned, the result says so, and ordinary pictures cost nothing more."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from shared.operations import Operation
from tests.unit.worker.operations.asking import NONE, WHITE, YELLOW, Recording, picture, run
from worker.engine.base import AS_THE_PACK_SAYS, Crops, Detection, Image, Search
from worker.engine.fake import UNRECOGNISABLE
from worker.images import Picture

MARK = 90
FACE = (140, 60, 260, 210)


class Compass(Recording):
    """Reads faces as real models do: on their side the points are turned, upside down the embedding says nothing.

    A mark in the top left corner of the upright picture tells where up is. `blind` are the turns, in degrees clockwise
    from upright, at which no face is found.
    """

    CORNERS: ClassVar = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}

    def __init__(self, *, blind: Sequence[int] = ()) -> None:
        super().__init__()
        self.blind = blind

    def turn(self, image: Image) -> int:
        """How far the picture is turned from upright; 0 without a mark."""
        return next((turn for turn, corner in self.CORNERS.items() if (image[corner] == MARK).all()), 0)

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Faces with points that are turned by 90 degrees on the side, and upright otherwise."""
        turn = self.turn(image)
        found = super().detect(image, search)
        return [] if turn in self.blind else [self._on_side(face, turn) for face in found]

    def align(self, image: Image, faces: Sequence[Detection]) -> Crops:
        """Crops that no model can recognise unless the picture is upright."""
        crops = super().align(image, faces)
        if self.turn(image):
            crops[:] = UNRECOGNISABLE
        return crops

    @staticmethod
    def _on_side(face: Detection, turn: int) -> Detection:
        if turn % 180 == 0:
            return face
        x1, y1, x2, y2 = face.box
        x, y, sign = (x1 + x2) / 2, (y1 + y2) / 2, 1 if turn == 90 else -1
        points = tuple((x - sign * (py - y), y + sign * (px - x)) for px, py in face.landmarks)
        return Detection(box=face.box, landmarks=points, score=face.score)


def marked(*faces: Any) -> Picture:
    image = picture(*faces)
    image.pixels[0, 0] = MARK
    return image


UPRIGHT = marked((FACE, WHITE))
ONE_PERSON = [Operation.LIVENESS, Operation.VERIFY, Operation.REGISTER]
EVERY_FACE = [Operation.DETECT, Operation.EMBED, Operation.ANALYZE]


def delivered(degrees: int, image: Picture = UPRIGHT) -> Picture:
    """The picture as a messenger leaves it: turned clockwise, with no metadata about it."""
    turned = image.turned(degrees)
    return Picture(turned.pixels, turned.width, turned.height)


def about(operation: Operation, image: Picture, *, engine: Compass | None = None, **params: Any) -> Any:
    reference = UPRIGHT if operation is Operation.VERIFY else None
    return run(operation, image, reference=reference, engine=engine or Compass(), **params)


@pytest.mark.parametrize("operation", ONE_PERSON)
@pytest.mark.parametrize("blind", [(), (90, 180, 270)])
@pytest.mark.parametrize("degrees", [90, 270])
def test_a_face_on_its_side_is_turned(degrees: int, blind: Sequence[int], operation: Operation) -> None:
    result = about(operation, delivered(degrees), engine=Compass(blind=blind))
    assert result.orientation == 360 - degrees
    assert result.face.box == FACE


@pytest.mark.parametrize("operation", [Operation.VERIFY, Operation.REGISTER])
def test_a_face_upside_down_is_turned_by_what_its_embedding_says(operation: Operation) -> None:
    result = about(operation, delivered(180))
    assert result.orientation == 180
    assert result.face.box == FACE
    assert result.registered if operation is Operation.REGISTER else result.verified


def test_a_spoof_upside_down_is_turned_and_read_again() -> None:
    result = about(Operation.LIVENESS, delivered(180, marked((FACE, YELLOW))))
    assert (result.orientation, result.liveness.outcome) == (180, "spoof")


def test_the_reference_is_turned_too() -> None:
    result = run(Operation.VERIFY, UPRIGHT, reference=delivered(90), engine=Compass())
    assert (result.verified, result.orientation, result.reference_orientation) == (True, 0, 270)
    upside_down = run(Operation.VERIFY, delivered(180), reference=delivered(180), engine=Compass())
    assert (upside_down.orientation, upside_down.reference_orientation) == (180, 180)
    assert upside_down.verified


def test_each_image_of_a_registration_is_turned_separately() -> None:
    others = [delivered(90), delivered(180), delivered(270)]
    result = run(Operation.REGISTER, UPRIGHT, extra_images=others, engine=Compass())
    assert [image.orientation for image in result.images] == [0, 270, 180, 90]
    assert (result.registered, result.accepted) == (True, 4)


@pytest.mark.parametrize("operation", EVERY_FACE)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_every_face_is_turned_on_request(degrees: int, operation: Operation) -> None:
    image = delivered(degrees)
    kept = about(operation, image)
    assert (kept.image.orientation, kept.image.width) == (0, image.width)
    turned = about(operation, image, auto_orient=True)
    assert turned.image.orientation == (360 - degrees) % 360
    assert (turned.image.width, turned.image.height) == (400, 300)
    assert [face.box for face in turned.faces] == [FACE]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_without_auto_orient_nothing_is_turned_or_registered(degrees: int) -> None:
    result = about(Operation.REGISTER, delivered(degrees), auto_orient=False)
    assert (result.orientation, result.registered) == (0, False)
    assert result.reason == ("recognisability" if degrees == 180 else "roll")


@pytest.mark.parametrize(
    ("operation", "stages"),
    [
        (Operation.LIVENESS, ["detect", "liveness"]),
        (Operation.VERIFY, ["detect", "detect", "align", "align", "embed"]),
        (Operation.REGISTER, ["detect", "liveness", "align", "embed"]),
        (Operation.DETECT, ["detect"]),
        (Operation.EMBED, ["detect", "align", "embed"]),
    ],
)
def test_an_ordinary_picture_costs_no_extra_run(operation: Operation, stages: list[str]) -> None:
    engine = Compass()
    about(operation, UPRIGHT, engine=engine)
    assert [stage for stage, _ in engine.stages] == stages


def test_a_picture_without_a_face_is_searched_in_four_orientations() -> None:
    engine = Compass()
    result = about(Operation.LIVENESS, NONE, engine=engine)
    assert (result.reason, result.orientation) == ("no_face", 0)
    assert [stage for stage, _ in engine.stages] == ["detect"] * 4


def test_a_face_that_no_turn_makes_recognisable_is_refused_unturned() -> None:
    blurred = picture((FACE, UNRECOGNISABLE))
    engine = Compass()
    result = about(Operation.REGISTER, blurred, engine=engine)
    assert (result.orientation, result.registered, result.reason) == (0, False, "recognisability")
    assert sum(stage == "detect" for stage, _ in engine.stages) == 4


def test_an_orientation_with_only_an_unrecognisable_face_is_not_used() -> None:
    engine = Compass(blind=(0, 90, 180))
    result = about(Operation.LIVENESS, delivered(90), engine=engine)
    assert (result.reason, result.orientation) == ("no_face", 0)


def test_frames_of_a_session_are_never_turned() -> None:
    engine = Compass()
    result = run(Operation.FRAME, delivered(180), engine=engine)
    assert result.face.embedding.recognisability.recognisable is False
    assert np.isfinite(result.face.box).all()
    assert sum(stage == "detect" for stage, _ in engine.stages) == 1
