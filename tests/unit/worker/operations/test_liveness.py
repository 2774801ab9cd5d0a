"""Liveness: the one face is read, its reading has three outcomes, and bystanders do not count."""

import pytest

from shared.operations import Operation
from shared.results import LivenessResult
from tests.unit.worker.operations.asking import NONE, PINK, TWO, WHITE, YELLOW, Recording, picture, run
from worker.engine.base import Detection, Image
from worker.engine.fake import FakeEngine
from worker.images import Picture


@pytest.mark.parametrize(("colour", "outcome"), [(WHITE, "live"), (YELLOW, "spoof")])
def test_liveness_reads_the_one_face(colour: tuple[int, int, int], outcome: str) -> None:
    result = run(Operation.LIVENESS, picture(((100, 50, 220, 200), colour)))
    assert isinstance(result, LivenessResult)
    assert result.liveness.outcome == outcome
    assert result.liveness.model == "fake-blue-share"


def test_between_the_limits_liveness_is_uncertain() -> None:
    result = run(Operation.LIVENESS, picture(((100, 50, 220, 200), (90, 255, 255))), threshold=0.99)
    assert result.liveness.outcome == "uncertain"


@pytest.mark.parametrize(("image", "reason"), [(NONE, "no_face"), (TWO, "multiple_faces")])
def test_liveness_is_not_evaluated_without_exactly_one_face(image: Picture, reason: str) -> None:
    result = run(Operation.LIVENESS, image)
    assert (result.liveness.outcome, result.liveness.score, result.reason) == ("not_evaluated", None, reason)


def test_bystanders_do_not_count_unless_asked() -> None:
    wall = picture(((100, 50, 300, 250), WHITE), ((350, 10, 370, 40), WHITE))
    assert run(Operation.LIVENESS, wall).num_faces == 1
    assert run(Operation.LIVENESS, wall, select="all", ignore_below=0.0).reason == "multiple_faces"


@pytest.mark.parametrize(("select", "outcome"), [("largest", "spoof"), ("center", "live")])
def test_only_the_selected_face_is_read(select: str, outcome: str) -> None:
    engine = Recording()
    beside = picture(((0, 0, 130, 130), YELLOW), ((140, 90, 260, 210), WHITE))
    result = run(Operation.LIVENESS, beside, engine=engine, select=select, auto_orient=False)
    assert (result.liveness.outcome, result.num_faces) == (outcome, 2)
    assert engine.stages == [("detect", 2), ("liveness", 1)]


def test_a_bystander_is_never_selected_however_central() -> None:
    wall = picture(((0, 0, 100, 300), PINK), ((190, 140, 210, 160), YELLOW))
    assert run(Operation.LIVENESS, wall, select="center").face.box == (0, 0, 100, 300)


def test_a_face_that_the_model_cannot_judge_is_rejected() -> None:
    class Unsure(FakeEngine):
        def liveness(self, _image: Image, _face: Detection) -> float | None:  # type: ignore[override]
            return None

    one = picture(((100, 50, 220, 200), WHITE))
    result = run(Operation.LIVENESS, one, engine=Unsure())
    assert (result.liveness.outcome, result.liveness.score) == ("input_rejected", None)
    assert result.liveness.reason == "cut_by_border"
    registration = run(Operation.REGISTER, one, engine=Unsure())
    assert (registration.registered, registration.reason) == (False, "liveness")
