"""Verify: one face against a reference, and every way in which there is nothing to compare."""

from typing import Any

import pytest

from shared.errors import ErrorCode, JobError
from shared.operations import Operation, VerifyResult
from tests.unit.worker.operations.asking import NONE, ONE, PINK, TWO, WHITE, YELLOW, Calibrated, Recording, picture, run
from worker.images import Picture


def test_verify_says_yes_to_the_same_face() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), WHITE)))
    assert result.verified
    assert result.similarity > 0.95
    assert result.threshold == 0.5
    assert result.reason is None


def test_verify_says_no_to_another_face_and_why() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), YELLOW)))
    assert (result.verified, result.reason) == (False, "below_threshold")


@pytest.mark.parametrize(
    ("image", "reference", "reason"),
    [
        (NONE, ONE, "no_face"),
        (TWO, ONE, "multiple_faces"),
        (ONE, NONE, "reference_no_face"),
        (ONE, TWO, "reference_multiple_faces"),
    ],
)
def test_verify_names_what_stands_in_its_way(image: Picture, reference: Picture, reason: str) -> None:
    result = run(Operation.VERIFY, image, reference=reference)
    assert isinstance(result, VerifyResult)
    assert (result.verified, result.similarity, result.reason) == (False, None, reason)


def test_a_match_must_be_above_the_threshold_not_at_it() -> None:
    stored = run(Operation.EMBED, ONE).faces[0].embedding
    similarity = run(Operation.VERIFY, ONE, reference_embedding={"vector": stored.vector}).similarity
    at = run(Operation.VERIFY, ONE, reference_embedding={"vector": stored.vector}, threshold=min(1.0, similarity))
    assert not at.verified


def test_a_reference_embedding_need_not_be_a_unit_vector() -> None:
    stored = run(Operation.EMBED, ONE).faces[0].embedding
    longer = [7 * value for value in stored.vector]
    assert run(Operation.VERIFY, ONE, reference_embedding={"vector": longer}).similarity == pytest.approx(1)


@pytest.mark.parametrize(
    ("embedding", "code"),
    [
        ({"vector": [1.0] * 128}, ErrorCode.INVALID_EMBEDDING),
        ({"vector": [0.0] * 512}, ErrorCode.INVALID_EMBEDDING),
        ({"vector": [float("inf")] * 512}, ErrorCode.INVALID_EMBEDDING),
        ({"vector": [1.0] * 512, "contract": "another"}, ErrorCode.EMBEDDING_CONTRACT_MISMATCH),
    ],
)
def test_a_reference_that_cannot_be_compared_fails_the_job(embedding: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(Exception, match=code.value):
        run(Operation.VERIFY, ONE, reference_embedding=embedding)


def test_verify_without_a_reference_fails_the_job() -> None:
    with pytest.raises(JobError, match="reference"):
        run(Operation.VERIFY, ONE)


def test_both_faces_are_embedded_in_one_run_and_nothing_else_is() -> None:
    engine = Recording()
    crowd = run(Operation.VERIFY, TWO, reference=TWO, engine=engine, select="largest")
    assert engine.stages == [("detect", 2), ("align", 1), ("detect", 2), ("align", 1), ("embed", 2)]
    assert (crowd.verified, crowd.num_faces) == (True, 2)


def test_the_probe_is_the_image_and_the_reference_the_reference() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), YELLOW)))
    assert result.face.box == (100, 50, 220, 200)
    assert result.reference_face.box == (10, 10, 150, 160)
    assert result.face.embedding == run(Operation.EMBED, ONE).faces[0].embedding
    assert result.reference_face.embedding is None


def test_a_selected_face_is_judged_where_several_count() -> None:
    pink = picture(((10, 10, 150, 160), PINK))
    assert run(Operation.VERIFY, TWO, reference=pink).reason == "multiple_faces"
    assert run(Operation.VERIFY, TWO, reference=pink, select="largest").verified


def test_each_picture_has_a_scale_of_its_own() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), WHITE), fraction=4))
    assert (result.face.box, result.reference_face.box) == ((100, 50, 220, 200), (40, 40, 600, 640))
    assert result.verified


@pytest.mark.parametrize(
    ("asked", "setting", "threshold", "rule", "fmr"),
    [
        ({}, None, 0.5, "pack", pytest.approx(10**-3.5, rel=1e-3)),
        ({}, 0.4, 0.4, "setting", 1e-3),
        ({"threshold": 0.3}, 0.4, 0.3, "request", 1e-2),
        ({"fmr": 1e-4}, 0.4, 0.6, "fmr", 1e-4),
        ({"threshold": 0.29}, None, 0.29, "request", None),
        ({"threshold": 0.61}, None, 0.61, "request", None),
    ],
)
def test_the_answer_says_which_rule_gave_its_threshold_and_what_that_costs(
    asked: dict[str, Any], setting: float | None, threshold: float, rule: str, fmr: Any
) -> None:
    result = run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), verify_threshold=setting, **asked)
    assert (result.verified, result.threshold, result.threshold_from) == (True, threshold, rule)
    assert result.estimated_fmr == fmr


def test_a_rate_decides_like_its_threshold() -> None:
    one = run(Operation.EMBED, ONE).faces[0].embedding.vector
    other = [*one[256:], *one[:256]]
    between = {"vector": [0.37 * first + 0.63 * second for first, second in zip(one, other, strict=True)]}
    loose, strict = (
        run(Operation.VERIFY, ONE, reference_embedding=between, engine=Calibrated(), fmr=fmr) for fmr in (1e-3, 1e-4)
    )
    assert loose.threshold < loose.similarity < strict.threshold
    assert (loose.verified, strict.verified, strict.reason) == (True, False, "below_threshold")


def test_where_there_is_no_face_the_rule_is_still_said() -> None:
    result = run(Operation.VERIFY, NONE, reference=ONE, engine=Calibrated(), fmr=1e-3)
    assert (result.reason, result.threshold, result.threshold_from) == ("no_face", 0.4, "fmr")


def test_a_rate_without_a_table_fails_the_job() -> None:
    with pytest.raises(JobError, match="no false-match rates") as error:
        run(Operation.VERIFY, ONE, reference=ONE, fmr=1e-3)
    assert error.value.code == ErrorCode.CALIBRATION_UNAVAILABLE


@pytest.mark.parametrize("fmr", [9e-5, 2e-2])
def test_a_rate_that_was_not_measured_fails_the_job(fmr: float) -> None:
    with pytest.raises(JobError, match=r"from 0\.01 down to 0\.0001") as error:
        run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), fmr=fmr)
    assert error.value.code == ErrorCode.FMR_OUT_OF_RANGE
