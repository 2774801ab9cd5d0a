"""Register: every check is answered, and only a face that passes all of them is embedded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.errors import JobError
from shared.operations import Operation
from shared.results import RegisterResult
from tests.pictures import turned_face
from tests.unit.worker.operations.asking import GREEN, NONE, ONE, PINK, TWO, WHITE, YELLOW, Recording, picture, run
from worker.engine.base import EngineInfo
from worker.engine.fake import FakeEngine
from worker.images import Picture


def test_registration_passes_with_every_check_and_an_embedding() -> None:
    result = run(Operation.REGISTER, ONE)
    assert isinstance(result, RegisterResult)
    assert result.registered, result.checks
    assert [check.name for check in result.checks] == [
        "one_face", "detection_score", "face_width", "face_share", "border", "sharpness", "brightness", "contrast",
        "yaw", "pitch", "roll", "recognisability", "liveness",
    ]  # fmt: skip
    assert result.embedding is not None


def test_a_failed_registration_lists_every_check_with_advice() -> None:
    small_spoof = run(Operation.REGISTER, picture(((100, 50, 140, 110), YELLOW)))
    failed = {check.name: check.advice for check in small_spoof.checks if not check.passed}
    assert {"face_width", "liveness"} <= set(failed)
    assert all(failed.values())
    assert (small_spoof.registered, small_spoof.embedding) == (False, None)


@pytest.mark.parametrize("quality", ["off", "standard"])
def test_a_face_that_cannot_be_recognised_is_never_registered(quality: str) -> None:
    result = run(Operation.REGISTER, picture(((100, 50, 220, 200), GREEN)), quality=quality)
    assert (result.registered, result.reason, result.embedding) == (False, "recognisability", None)
    [check] = [check for check in result.checks if check.name == "recognisability"]
    assert (check.limit, check.passed) == ("score >= 0.7", False)
    assert check.value < 0.1
    assert check.advice


def test_registration_skips_liveness_on_request() -> None:
    result = run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), skip_liveness=True)
    assert "liveness" not in {check.name for check in result.checks}
    assert (result.liveness.outcome, result.liveness.reason) == ("not_evaluated", "skipped")


@pytest.mark.parametrize(("image", "count"), [(NONE, 0), (TWO, 2)])
def test_registration_needs_exactly_one_face(image: Picture, count: int) -> None:
    result = run(Operation.REGISTER, image)
    assert (result.registered, result.reason, result.num_faces) == (False, "one_face", count)


def test_registration_embeds_nothing_that_failed_a_check() -> None:
    engine = Recording()
    run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), engine=engine, auto_orient=False)
    assert engine.stages == [("detect", 1), ("liveness", 1)]


def test_a_registration_may_select_one_of_several_faces() -> None:
    result = run(Operation.REGISTER, TWO, select="largest")
    one_face = result.checks[0]
    assert (one_face.value, one_face.limit, one_face.passed) == (2, ">= 1", True)
    assert (result.registered, result.num_faces) == (True, 2)
    assert run(Operation.REGISTER, NONE, select="largest").reason == "one_face"


def test_the_width_gate_is_in_pixels_of_the_whole_image() -> None:
    narrow = ((100, 50, 140, 110), WHITE)
    widths = [run(Operation.REGISTER, picture(narrow, fraction=by)).checks[2] for by in (1, 2)]
    assert [(check.name, check.value, check.passed) for check in widths] == [
        ("face_width", 40, False), ("face_width", 80, True),
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
    result = run(Operation.REGISTER, away, quality="off", auto_orient=False)
    assert [check.name for check in result.checks] == ["one_face", "liveness"]
    assert failed(away, quality="off", quality_limits={"max_yaw": 20}) == ["yaw"]


def test_strict_refuses_shut_or_covered_eyes() -> None:
    shut = Picture(turned_face(shut=True), 320, 240)
    assert "eyes" not in failed(shut)
    assert "eyes" in failed(shut, quality="strict")


def test_an_angle_says_how_it_was_read() -> None:
    checks = {check.name: check for check in run(Operation.REGISTER, ONE).checks}
    assert checks["yaw"].method == "model"
    assert checks["yaw"].limit == "-40..40"
    assert checks["border"].method is None


def test_the_length_of_the_embedding_is_read_only_where_it_has_a_limit() -> None:
    engine = Recording()
    assert failed(ONE, quality="off", quality_limits={"min_embedding_length": 30}) == ["embedding_length"]
    run(Operation.REGISTER, picture(((100, 50, 220, 200), YELLOW)), engine=engine, auto_orient=False)
    assert ("embed", 1) not in engine.stages


class Measured(Recording):
    """An engine whose pack has a least embedding length."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self._length = length

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, thresholds=replace(super().info.thresholds, register_length=self._length))


@pytest.mark.parametrize(
    ("quality", "length", "passed"),
    [("standard", 19.9, True), ("standard", 20.1, False), ("strict", 19.9, False), ("off", 99, None)],
)
def test_the_pack_sets_the_least_embedding_length(quality: str, length: float, passed: bool | None) -> None:
    result = run(Operation.REGISTER, ONE, engine=Measured(length), quality=quality)
    checks = [check.passed for check in result.checks if check.name == "embedding_length"]
    assert checks == ([] if passed is None else [passed])
    assert result.registered == (passed is not False)


def test_an_unrecognisable_face_is_reported_before_a_short_embedding() -> None:
    result = run(Operation.REGISTER, picture(((100, 50, 220, 200), GREEN)), engine=Measured(21))
    failed = [check.name for check in result.checks if not check.passed]
    assert failed == ["recognisability", "embedding_length"]
    assert result.reason == "recognisability"


def test_with_a_limit_on_length_every_image_is_embedded_in_one_run() -> None:
    engine = Measured(15)
    result = run(Operation.REGISTER, SPOOF, extra_images=[ONE, SAME], engine=engine)
    assert [stage for stage in engine.stages if stage[0] == "embed"] == [("embed", 3)]
    assert (result.accepted, len(result.embedding.vector)) == (2, 512)


def test_a_face_that_liveness_cannot_judge_gets_advice() -> None:
    tiny = picture(((100, 50, 130, 90), WHITE))
    result = run(Operation.REGISTER, tiny, quality="off")
    assert (result.liveness.outcome, result.liveness.reason) == ("input_rejected", "too_small")
    [check] = [check for check in result.checks if check.name == "liveness"]
    assert (check.passed, check.advice) == (False, "Come closer to the camera.")


SAME = picture(((60, 40, 190, 200), WHITE))
OTHER = picture(((100, 50, 220, 200), PINK))
SPOOF = picture(((100, 50, 220, 200), YELLOW))


def test_one_image_is_its_own_template_and_has_no_list_of_verdicts() -> None:
    result = run(Operation.REGISTER, ONE)
    assert (result.accepted, result.images, result.duplicates) == (1, [], [])
    assert "same_person" not in {check.name for check in result.checks}


def test_several_images_of_one_person_are_embedded_in_one_run() -> None:
    engine = Recording()
    result = run(Operation.REGISTER, ONE, extra_images=[SAME, ONE], engine=engine)
    assert (result.registered, result.reason, result.accepted) == (True, None, 3)
    assert [(image.index, image.accepted, image.reason) for image in result.images] == [
        (0, True, None), (1, True, None), (2, True, None),
    ]  # fmt: skip
    assert [stage for stage in engine.stages if stage[0] == "embed"] == [("embed", 3)]
    assert np.linalg.norm(result.embedding.vector) == pytest.approx(1)
    assert result.embedding.length == pytest.approx(20, rel=1e-4)


def test_a_stranger_among_the_images_is_refused_by_its_index() -> None:
    result = run(Operation.REGISTER, ONE, extra_images=[OTHER, SAME])
    assert (result.registered, result.accepted) == (True, 2)
    assert [image.reason for image in result.images] == [None, "same_person", None]
    [check] = [check for check in result.images[1].checks if check.name == "same_person"]
    assert (check.passed, check.limit, check.advice) == (False, "> 0.5", "Use pictures of one person only.")
    assert check.value < 0.5


def test_two_that_differ_are_both_refused() -> None:
    result = run(Operation.REGISTER, ONE, extra_images=[OTHER])
    assert (result.registered, result.reason, result.accepted, result.embedding) == (False, "same_person", 0, None)


def test_an_image_that_fails_a_check_is_left_out_and_the_others_register() -> None:
    result = run(Operation.REGISTER, SPOOF, extra_images=[NONE, ONE, SAME])
    assert (result.registered, result.accepted) == (True, 2)
    assert [image.reason for image in result.images] == ["liveness", "one_face", None, None]
    assert [image.num_faces for image in result.images] == [1, 0, 1, 1]
    assert result.liveness.outcome == "live"
    assert result.face == result.images[2].face


def test_fewer_accepted_images_than_required_are_refused() -> None:
    result = run(Operation.REGISTER, ONE, extra_images=[SPOOF, SAME], min_images=3)
    assert (result.registered, result.reason, result.accepted) == (False, "too_few_images", 2)
    assert result.embedding is None


def test_if_no_image_passes_the_first_one_gives_the_reason() -> None:
    result = run(Operation.REGISTER, SPOOF, extra_images=[NONE])
    assert (result.reason, result.accepted) == ("liveness", 0)
    assert result.face == result.images[0].face


def known(image: Picture, **more: Any) -> dict[str, Any]:
    return {"vector": run(Operation.REGISTER, image, skip_liveness=True).embedding.vector, **more}


def test_a_known_person_is_refused_as_a_duplicate_with_index_and_similarity() -> None:
    result = run(Operation.REGISTER, ONE, known_embeddings=[known(OTHER), known(SAME)])
    assert (result.registered, result.reason, result.embedding) == (False, "duplicate", None)
    assert [(each.index, each.similarity) for each in result.duplicates] == [(1, pytest.approx(1.0))]
    [check] = [check for check in result.checks if check.name == "duplicate"]
    assert (check.passed, check.limit) == (False, "<= 0.5")


def test_an_unknown_person_registers_and_the_nearest_is_reported() -> None:
    result = run(Operation.REGISTER, ONE, known_embeddings=[known(OTHER)])
    assert (result.registered, result.duplicates) == (True, [])
    [check] = [check for check in result.checks if check.name == "duplicate"]
    assert check.passed
    assert check.value < 0.5


def test_the_limit_for_duplicates_is_the_requests_then_the_packs() -> None:
    class Wary(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, thresholds=replace(super().info.thresholds, duplicate=0.9))

    def limit(engine: FakeEngine, **params: Any) -> str:
        result = run(Operation.REGISTER, ONE, engine=engine, known_embeddings=[known(OTHER)], **params)
        [check] = [check for check in result.checks if check.name == "duplicate"]
        return str(check.limit)

    assert [limit(FakeEngine()), limit(Wary()), limit(Wary(), duplicate_threshold=0.7)] == [
        "<= 0.5",
        "<= 0.9",
        "<= 0.7",
    ]


def test_a_known_embedding_of_another_contract_fails_the_job() -> None:
    with pytest.raises(JobError, match="Known embedding 1 has contract other"):
        run(Operation.REGISTER, ONE, known_embeddings=[known(SAME), known(SAME, contract="other")])
