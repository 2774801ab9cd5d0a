"""Register: every check is answered, and only a face that passes all of them is embedded."""

from typing import Any

import pytest

from shared.operations import Operation, RegisterResult
from tests.pictures import turned_face
from tests.unit.worker.operations.asking import NONE, ONE, TWO, WHITE, YELLOW, Recording, picture, run
from worker.images import Picture


def test_registration_passes_with_every_check_and_an_embedding() -> None:
    result = run(Operation.REGISTER, ONE)
    assert isinstance(result, RegisterResult)
    assert result.registered, result.checks
    assert [check.name for check in result.checks] == [
        "one_face", "detection_score", "face_width", "face_share", "border", "sharpness", "brightness", "contrast",
        "yaw", "pitch", "roll", "liveness",
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


def failed(image: Picture, **params: Any) -> list[str]:
    """The checks of a registration without liveness that do not pass."""
    result = run(Operation.REGISTER, image, skip_liveness=True, **params)
    return [check.name for check in result.checks if not check.passed]


def test_a_profile_and_single_limits_decide_what_is_refused() -> None:
    aside = Picture(turned_face(yaw=28), 320, 240)
    assert failed(aside) == []
    assert failed(aside, quality="strict") == ["yaw"]
    assert failed(aside, quality="strict", quality_limits={"max_yaw": 32}) == []
    assert failed(aside, quality_limits={"max_yaw": 10, "min_face_width_px": 500}) == ["face_width", "yaw"]


def test_without_a_profile_only_what_is_asked_for_is_checked() -> None:
    away = Picture(turned_face(yaw=80), 320, 240)
    assert [check.name for check in run(Operation.REGISTER, away, quality="off").checks] == ["one_face", "liveness"]
    assert failed(away, quality="off", quality_limits={"max_yaw": 20}) == ["yaw"]


def test_strict_refuses_shut_or_covered_eyes() -> None:
    shut = Picture(turned_face(shut=True), 320, 240)
    assert "eyes" not in failed(shut)
    assert "eyes" in failed(shut, quality="strict")


def test_an_angle_says_how_it_was_read() -> None:
    checks = {check.name: check for check in run(Operation.REGISTER, ONE).checks}
    assert checks["yaw"].method == "model"
    assert checks["yaw"].limit == "-35..35"
    assert checks["border"].method is None


def test_the_length_of_the_embedding_is_read_only_where_it_has_a_limit() -> None:
    engine = Recording()
    assert failed(ONE, quality="off", quality_limits={"min_embedding_length": 30}) == ["embedding_length"]
    run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), engine=engine)
    assert ("embed", 1) not in engine.stages


def test_a_face_that_cannot_be_judged_for_liveness_is_told_what_to_do() -> None:
    tiny = picture(((100, 50, 130, 90), WHITE))
    result = run(Operation.REGISTER, tiny, quality="off")
    assert (result.liveness.outcome, result.liveness.reason) == ("input_rejected", "too_small")
    [check] = [check for check in result.checks if check.name == "liveness"]
    assert (check.passed, check.advice) == (False, "Come closer to the camera.")
