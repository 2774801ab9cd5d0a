"""Register: every check is answered, and only a face that passes all of them is embedded."""

import pytest

from shared.operations import Operation, RegisterResult
from tests.unit.worker.operations.asking import NONE, ONE, TWO, WHITE, YELLOW, Recording, picture, run
from worker.images import Picture


def test_registration_passes_with_every_check_and_an_embedding() -> None:
    result = run(Operation.REGISTER, ONE)
    assert isinstance(result, RegisterResult)
    assert result.registered, result.checks
    assert [check.name for check in result.checks] == [
        "one_face", "detection_score", "face_width", "sharpness", "brightness", "liveness",
    ]  # fmt: skip
    assert result.embedding is not None


def test_registration_lists_every_failure_with_advice_and_keeps_no_embedding() -> None:
    small_spoof = run(Operation.REGISTER, picture(((100, 50, 150, 120), YELLOW)))
    failed = {check.name: check.advice for check in small_spoof.checks if not check.passed}
    assert {"face_width", "liveness"} <= set(failed)
    assert all(failed.values())
    assert (small_spoof.registered, small_spoof.embedding) == (False, None)


def test_registration_skips_liveness_when_told() -> None:
    result = run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), skip_liveness=True)
    assert "liveness" not in {check.name for check in result.checks}
    assert (result.liveness.outcome, result.liveness.reason) == ("not_evaluated", "skipped")


@pytest.mark.parametrize(("image", "count"), [(NONE, 0), (TWO, 2)])
def test_registration_needs_exactly_one_face(image: Picture, count: int) -> None:
    result = run(Operation.REGISTER, image)
    assert (result.registered, result.reason, result.num_faces) == (False, "one_face", count)


def test_registration_embeds_nothing_that_failed_a_check() -> None:
    engine = Recording()
    run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), engine=engine)
    assert engine.stages == [("detect", 1), ("liveness", 1)]


def test_a_registration_may_select_one_of_several_faces() -> None:
    result = run(Operation.REGISTER, TWO, select="largest")
    one_face = result.checks[0]
    assert (one_face.value, one_face.limit, one_face.passed) == (2, ">= 1", True)
    assert (result.registered, result.num_faces) == (True, 2)
    assert run(Operation.REGISTER, NONE, select="largest").reason == "one_face"


def test_the_width_gate_is_in_pixels_of_the_whole_image() -> None:
    narrow = ((100, 50, 150, 120), WHITE)
    widths = [run(Operation.REGISTER, picture(narrow, fraction=by)).checks[2] for by in (1, 2)]
    assert [(check.name, check.value, check.passed) for check in widths] == [
        ("face_width", 50, False), ("face_width", 100, True),
    ]  # fmt: skip
