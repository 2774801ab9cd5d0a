"""Each check says its value, its limit and, where it fails, what to do."""

from dataclasses import dataclass
from typing import Any, get_args

import pytest

from shared.faces import Check, CheckName, Liveness, Quality
from shared.quality import QualityLimits
from worker.engine.base import Detection, HeadPose
from worker.operations import gates
from worker.operations.gates import ADVICE, REJECTED, Seen

FACE = Detection(box=(10.0, 10.0, 110.0, 110.0), landmarks=((0.0, 0.0),) * 5, score=0.8)
GOOD = {
    "face_width_px": 100.0,
    "sharpness": 200.0,
    "brightness": 120.0,
    "contrast": 45.0,
    "face_share": 0.2,
    "inside": 1.0,
}
FRONT = HeadPose(-11.5, 0.0, 0.0, "model", 4.0)


@dataclass(frozen=True)
class Case:
    """One limit, a reading at it, and one beyond."""

    name: CheckName
    limit: dict[str, float]
    at: dict[str, Any]
    beyond: dict[str, Any]


def seen(**changes: Any) -> Seen:
    quality = Quality(**{**GOOD, **{name: value for name, value in changes.items() if name in GOOD}})
    whole = Seen(FACE, quality, FRONT, (0.9, 0.9))
    return whole._replace(**{name: value for name, value in changes.items() if name not in GOOD})


def checks(reading: dict[str, Any], limits: QualityLimits) -> list[Check]:
    length = reading.pop("embedding_length", 3.5)
    return [*gates.checks(seen(**reading), limits), *gates.embedding_length(length, limits)]


def score(value: float) -> dict[str, Any]:
    return {"face": Detection(box=FACE.box, landmarks=FACE.landmarks, score=value)}


CASES = [
    Case("detection_score", {"min_detection_score": 0.7}, score(0.7), score(0.69)),
    Case("face_width", {"min_face_width_px": 60}, {"face_width_px": 60.0}, {"face_width_px": 59.9}),
    Case("face_share", {"min_face_share": 0.05}, {"face_share": 0.05}, {"face_share": 0.04}),
    Case("border", {"min_inside": 0.95}, {"inside": 0.95}, {"inside": 0.94}),
    Case("sharpness", {"min_sharpness": 60}, {"sharpness": 60.0}, {"sharpness": 18.0}),
    Case("brightness", {"min_brightness": 50}, {"brightness": 50.0}, {"brightness": 49.0}),
    Case("brightness", {"max_brightness": 215}, {"brightness": 215.0}, {"brightness": 216.0}),
    Case("contrast", {"min_contrast": 20}, {"contrast": 20.0}, {"contrast": 19.0}),
    Case("yaw", {"max_yaw": 20}, {"pose": FRONT._replace(yaw=-20.0)}, {"pose": FRONT._replace(yaw=-20.1)}),
    Case("pitch", {"max_pitch": 20}, {"pose": FRONT._replace(pitch=8.5)}, {"pose": FRONT._replace(pitch=8.6)}),
    Case("roll", {"max_roll": 15}, {"pose": FRONT._replace(roll=15.0)}, {"pose": FRONT._replace(roll=15.1)}),
    Case("eyes", {"min_eyes_open": 0.5}, {"eyes": (0.1, 0.5)}, {"eyes": (0.1, 0.4)}),
    Case("embedding_length", {"min_embedding_length": 2.9}, {"embedding_length": 2.9}, {"embedding_length": 2.8}),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {[*case.limit]}" for case in CASES])
def test_a_reading_at_the_limit_passes_and_one_beyond_fails_with_advice(case: Case) -> None:
    limits = QualityLimits(**case.limit)
    [passes], [fails] = checks(case.at, limits), checks(case.beyond, limits)
    assert (passes.name, passes.passed, passes.advice) == (case.name, True, None)
    assert (fails.name, fails.passed, fails.advice) == (case.name, False, ADVICE[case.name])


def test_every_limit_has_a_case() -> None:
    assert {name for case in CASES for name in case.limit} == set(QualityLimits.model_fields)


def test_without_limits_nothing_is_checked() -> None:
    assert checks({}, QualityLimits()) == []


def test_what_the_pack_cannot_read_fails_nothing() -> None:
    blind = seen(eyes=None)
    assert list(gates.checks(blind, QualityLimits(min_eyes_open=0.5, min_embedding_length=9))) == []


def test_the_pitch_is_held_to_what_a_frontal_head_reads_by_that_method() -> None:
    limits = QualityLimits(max_pitch=20)
    [model] = gates.checks(seen(), limits)
    [points] = gates.checks(seen(pose=HeadPose(0.0, 0.0, 0.0, "five_points", 10.0)), limits)
    assert (model.limit, model.method) == ("-31.5..8.5", "model, within 4 degrees")
    assert (points.limit, points.method) == ("-20..20", "five_points, within 10 degrees")


def test_every_check_has_a_sentence_for_the_person_at_the_camera() -> None:
    assert set(ADVICE) == set(get_args(CheckName))
    assert all(advice.endswith(".") for advice in [*ADVICE.values(), *REJECTED.values()])


@pytest.mark.parametrize(("reason", "advice"), REJECTED.items())
def test_a_face_that_could_not_be_judged_gets_the_advice_of_its_reason(reason: str, advice: str) -> None:
    check = gates.liveness(Liveness(outcome="input_rejected", score=0.99, threshold=0.5, reason=reason))
    assert (check.passed, check.advice) == (False, advice)


@pytest.mark.parametrize(("outcome", "passed"), [("live", True), ("uncertain", False), ("spoof", False)])
def test_only_live_passes(outcome: Any, passed: bool) -> None:
    check = gates.liveness(Liveness(outcome=outcome, score=0.4, threshold=0.5))
    assert (check.passed, check.limit, check.value) == (passed, ">= 0.5", 0.4)
