"""Verify: one face against a reference, and every way in which there is nothing to compare."""

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import ErrorCode, JobError
from shared.operations import Operation
from shared.results import VerifyReason, VerifyResult
from tests.unit.worker.operations.asking import (
    GREEN,
    NONE,
    ONE,
    PINK,
    TWO,
    WHITE,
    YELLOW,
    Calibrated,
    Colour,
    Recording,
    picture,
    run,
)
from worker.engine.base import EngineInfo
from worker.engine.fake import FakeEngine
from worker.images import Picture
from worker.operations.decision import ADVICE
from worker.packs.recognisability import Measure

BAD = picture(((100, 50, 220, 200), GREEN))
DOUBTFUL: Colour = (80, 255, 255)
"""Between spoof and live: a liveness score of 0.41."""


def test_verify_says_yes_to_the_same_face() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), WHITE)))
    assert result.verified
    assert result.similarity > 0.95
    assert result.threshold == 0.5
    assert (result.decision, result.reason, result.reasons, result.advice) == ("match", None, [], None)


def test_verify_says_no_to_another_face_and_why() -> None:
    result = run(Operation.VERIFY, ONE, reference=picture(((10, 10, 150, 160), YELLOW)))
    assert (result.decision, result.verified) == ("no_match", False)
    assert (result.reason, result.reasons) == ("below_threshold", ["below_threshold"])
    assert result.advice


@pytest.mark.parametrize(
    ("image", "reference", "reason"),
    [
        (NONE, ONE, "no_face"),
        (TWO, ONE, "multiple_faces"),
        (ONE, NONE, "reference_no_face"),
        (ONE, TWO, "reference_multiple_faces"),
    ],
)
def test_verify_names_every_obstacle(image: Picture, reference: Picture, reason: VerifyReason) -> None:
    result = run(Operation.VERIFY, image, reference=reference, engine=Calibrated())
    assert isinstance(result, VerifyResult)
    assert (result.decision, result.verified, result.similarity) == ("inconclusive", False, None)
    assert (result.reason, result.reasons, result.advice) == (reason, [reason], ADVICE[reason])
    assert (result.estimated_fmr, result.fmr_bounds) == (None, None)


def test_both_pictures_are_named_where_neither_has_a_face() -> None:
    result = run(Operation.VERIFY, NONE, reference=TWO)
    assert (result.reason, result.reasons) == ("no_face", ["no_face", "reference_multiple_faces"])


@pytest.mark.parametrize(
    ("image", "reference", "reasons"),
    [
        (BAD, ONE, ["unrecognisable"]),
        (ONE, BAD, ["reference_unrecognisable"]),
        (BAD, BAD, ["unrecognisable", "reference_unrecognisable"]),
    ],
)
def test_a_face_that_cannot_be_recognised_is_inconclusive(
    image: Picture, reference: Picture, reasons: list[str]
) -> None:
    result = run(Operation.VERIFY, image, reference=reference, engine=Calibrated(), threshold=-1)
    assert (result.decision, result.verified, result.reason, result.reasons) == (
        "inconclusive", False, reasons[0], reasons,
    )  # fmt: skip
    assert result.similarity is not None
    assert (result.estimated_fmr, result.fmr_bounds) == (None, None)
    assert result.advice
    assert result.face.embedding.recognisability.recognisable is (image is ONE)
    assert result.reference_recognisability.recognisable is (reference is ONE)


def test_the_embedding_of_a_result_is_accepted_unchanged() -> None:
    stored = run(Operation.EMBED, ONE).faces[0].embedding.model_dump()
    assert run(Operation.VERIFY, ONE, reference_embedding=stored).decision == "match"


@pytest.mark.parametrize("fields", [{"vector"}, {"vector", "length", "contract"}, {"vector", "recognisability"}])
def test_a_stored_embedding_of_an_unrecognisable_face_is_inconclusive(fields: set[str]) -> None:
    stored = run(Operation.EMBED, BAD).faces[0].embedding.model_dump(include=fields)
    result = run(Operation.VERIFY, BAD, reference_embedding=stored)
    assert result.reasons == ["unrecognisable", "reference_unrecognisable"]


@pytest.mark.parametrize("scale", [1e-5, 1e200])
def test_the_scale_of_a_stored_vector_hides_nothing(scale: float) -> None:
    stored = [value * scale for value in run(Operation.EMBED, BAD).faces[0].embedding.vector]
    result = run(Operation.VERIFY, ONE, reference_embedding={"vector": stored})
    assert result.reasons == ["reference_unrecognisable"]


def test_a_short_raw_length_counts_only_where_it_came_with_the_vector() -> None:
    class Strict(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, recognisability=Measure(min_length=3.0))

    vector = run(Operation.EMBED, ONE).faces[0].embedding.vector
    for length, reasons in ((2.9, ["reference_unrecognisable"]), (3.1, []), (None, [])):
        stored = {"vector": vector, "length": length}
        assert run(Operation.VERIFY, ONE, reference_embedding=stored, engine=Strict()).reasons == reasons


def test_a_stored_embedding_with_a_negative_verdict_is_refused() -> None:
    stored = run(Operation.EMBED, ONE).faces[0].embedding.model_dump()
    stored["recognisability"] = {"recognisable": False, "reasons": ["rotated"], "advice": "Turn it."}
    result = run(Operation.VERIFY, ONE, reference_embedding=stored)
    assert (result.decision, result.reasons) == ("inconclusive", ["reference_unrecognisable"])
    assert result.reference_recognisability.reasons == ["rotated"]


@pytest.mark.parametrize(
    ("colour", "mode", "decision", "reasons", "outcome"),
    [
        (WHITE, "off", "match", [], "not_evaluated"),
        (WHITE, "observe", "match", [], "live"),
        (WHITE, "require", "match", [], "live"),
        (YELLOW, "off", "match", [], "not_evaluated"),
        (YELLOW, "observe", "match", [], "spoof"),
        (YELLOW, "require", "no_match", ["spoof"], "spoof"),
        (DOUBTFUL, "require", "inconclusive", ["liveness_uncertain"], "uncertain"),
    ],
)
def test_liveness_decides_only_where_it_is_required(
    colour: Colour, mode: str, decision: str, reasons: list[str], outcome: str
) -> None:
    same = picture(((100, 50, 220, 200), colour))
    result = run(Operation.VERIFY, same, reference=same, liveness=mode)
    assert (result.decision, result.reasons, result.liveness.outcome) == (decision, reasons, outcome)
    assert result.verified is (decision == "match")
    assert result.face.liveness == (None if mode == "off" else result.liveness)


def test_a_face_that_cannot_be_judged_for_liveness_is_inconclusive() -> None:
    small = picture(((100, 50, 130, 90), WHITE))
    result = run(Operation.VERIFY, small, reference=ONE, liveness="require")
    assert (result.decision, result.reasons) == ("inconclusive", ["liveness_input_rejected"])
    assert (result.liveness.reason, result.advice) == ("too_small", "Come closer to the camera.")


def test_another_person_is_no_match_whatever_liveness_says() -> None:
    result = run(Operation.VERIFY, picture(((100, 50, 220, 200), YELLOW)), reference=ONE, liveness="require")
    assert (result.decision, result.reasons) == ("no_match", ["below_threshold", "spoof"])


def test_only_the_probe_is_read_for_liveness() -> None:
    engine = Recording()
    run(Operation.VERIFY, ONE, reference=ONE, engine=engine, liveness="observe")
    assert [stage for stage, _ in engine.stages] == ["detect", "detect", "align", "align", "embed", "liveness"]


def test_without_a_face_liveness_is_not_evaluated() -> None:
    result = run(Operation.VERIFY, NONE, reference=ONE, liveness="require")
    assert (result.reasons, result.liveness.outcome, result.liveness.reason) == (
        ["no_face"],
        "not_evaluated",
        "no_face",
    )


@pytest.mark.parametrize("mode", ["observe", "require"])
@pytest.mark.parametrize("image", [ONE, NONE])
def test_liveness_of_a_pack_without_a_model_fails_the_job(mode: str, image: Picture) -> None:
    class Blind(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, liveness_model=None)

    assert run(Operation.VERIFY, ONE, reference=ONE, engine=Blind()).verified
    with pytest.raises(JobError) as error:
        run(Operation.VERIFY, image, reference=ONE, engine=Blind(), liveness=mode)
    assert error.value.code == ErrorCode.LIVENESS_UNAVAILABLE


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
    assert engine.stages == [("detect", 2), ("detect", 2), ("align", 1), ("align", 1), ("embed", 2)]
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
def test_the_result_gives_the_source_and_the_rate_of_its_threshold(
    asked: dict[str, Any], setting: float | None, threshold: float, rule: str, fmr: Any
) -> None:
    result = run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), verify_threshold=setting, **asked)
    assert (result.verified, result.threshold, result.threshold_from) == (True, threshold, rule)
    assert result.estimated_fmr == fmr


def test_the_answer_bounds_the_rate_by_population() -> None:
    result = run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), threshold=0.4)
    general, group = result.fmr_bounds.populations
    assert (general.population, general.fmr, general.bound) == ("general", result.estimated_fmr, "estimate")
    assert (group.population, group.fmr, group.bound, group.people) == ("one group", 0.1, "estimate", 12)
    assert (result.fmr_bounds.lowest, result.fmr_bounds.highest) == (1e-3, 0.1)
    assert "look-alikes" in result.fmr_bounds.note


@pytest.mark.parametrize(("threshold", "lowest", "highest"), [(0.2, 1e-2, None), (0.35, None, None), (0.7, None, 1e-2)])
def test_a_rate_beyond_what_was_measured_is_a_bound(
    threshold: float, lowest: float | None, highest: float | None
) -> None:
    result = run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), threshold=threshold)
    if threshold == 0.35:
        lowest = result.estimated_fmr
    assert (result.fmr_bounds.lowest, result.fmr_bounds.highest) == (lowest, highest)


def test_a_rate_decides_like_its_threshold() -> None:
    one = run(Operation.EMBED, ONE).faces[0].embedding.vector
    other = [*one[256:], *one[:256]]
    between = {"vector": [0.37 * first + 0.63 * second for first, second in zip(one, other, strict=True)]}
    loose, strict = (
        run(Operation.VERIFY, ONE, reference_embedding=between, engine=Calibrated(), fmr=fmr) for fmr in (1e-3, 1e-4)
    )
    assert loose.threshold < loose.similarity < strict.threshold
    assert (loose.verified, strict.verified, strict.reason) == (True, False, "below_threshold")


def test_the_threshold_is_reported_even_without_a_face() -> None:
    result = run(Operation.VERIFY, NONE, reference=ONE, engine=Calibrated(), fmr=1e-3)
    assert (result.reason, result.threshold, result.threshold_from) == ("no_face", 0.4, "fmr")


def test_a_rate_without_a_table_fails_the_job() -> None:
    with pytest.raises(JobError, match="no false-match rates") as error:
        run(Operation.VERIFY, ONE, reference=ONE, fmr=1e-3)
    assert error.value.code == ErrorCode.CALIBRATION_UNAVAILABLE


@pytest.mark.parametrize(
    ("fmr", "nearest"), [(9e-5, r"0\.0001, at a threshold of 0\.6"), (2e-2, r"0\.01, at a threshold of 0\.3")]
)
def test_a_rate_that_was_not_measured_fails_the_job_with_the_nearest(fmr: float, nearest: str) -> None:
    with pytest.raises(JobError, match=rf"from 0\.01 down to 0\.0001.*{nearest}") as error:
        run(Operation.VERIFY, ONE, reference=ONE, engine=Calibrated(), fmr=fmr)
    assert error.value.code == ErrorCode.FMR_OUT_OF_RANGE
