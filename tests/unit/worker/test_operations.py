"""The six operations with the fake engine: bright rectangles are faces, their colour is their identity."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.errors import ErrorCode, JobError
from shared.operations import (
    RESULT,
    FacesResult,
    LivenessResult,
    Operation,
    RegisterResult,
    VerifyResult,
    parse_params,
)
from worker import operations
from worker.engine.base import Detection, EngineInfo, Image, Vectors
from worker.engine.fake import FakeEngine
from worker.operations import Work

WHITE, YELLOW, PINK = (255, 255, 255), (20, 255, 255), (255, 200, 255)


def picture(*faces: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> Image:
    """A dark picture with one bright, speckled rectangle for each face (box, BGR colour)."""
    image = np.full((300, 400, 3), 30, np.uint8)
    for (x1, y1, x2, y2), colour in faces:
        image[y1:y2, x1:x2] = colour
        image[y1 + 4 : y2 - 4 : 2, x1 + 4 : x2 - 4 : 2] = 10
    return image


ONE = picture(((100, 50, 220, 200), WHITE))
TWO = picture(((20, 50, 120, 180), WHITE), ((200, 50, 360, 250), PINK))
NONE = picture()


@contextmanager
def no_clock(_stage: str) -> Iterator[None]:
    yield


def run(operation: Operation, image: Image, *, reference: Image | None = None, **params: Any) -> Any:
    work = Work(engine=FakeEngine(), clock=no_clock, image=image, reference=reference)
    return operations.run(operation, parse_params(operation, params), work)


def test_detect_gives_every_face_the_largest_first_and_never_embeds() -> None:
    class DetectOnly(FakeEngine):
        def embed(self, _image: Image, _faces: Any) -> Vectors:
            pytest.fail("detect must not embed")

    work = Work(engine=DetectOnly(), clock=no_clock, image=TWO)
    result = operations.run(Operation.DETECT, parse_params(Operation.DETECT, {}), work)
    assert isinstance(result, FacesResult)
    assert [face.box for face in result.faces] == [(200, 50, 360, 250), (20, 50, 120, 180)]
    assert (result.image.width, result.image.height) == (400, 300)


def test_detect_keeps_at_most_max_faces() -> None:
    assert len(run(Operation.DETECT, TWO, max_faces=1).faces) == 1


def test_embed_gives_unit_vectors_with_length_and_contract() -> None:
    faces = run(Operation.EMBED, TWO).faces
    for face in faces:
        assert np.linalg.norm(face.embedding.vector) == pytest.approx(1)
        assert face.embedding.length == pytest.approx(20, rel=1e-4)
        assert face.embedding.contract == "vultus-emb-fake-v1"
    assert len(faces) == 2


def test_analyze_reads_liveness_of_every_face() -> None:
    faces = run(Operation.ANALYZE, picture(((20, 50, 120, 180), WHITE), ((200, 50, 360, 250), YELLOW))).faces
    assert [face.liveness.outcome for face in faces] == ["spoof", "live"]


@pytest.mark.parametrize("operation", [Operation.DETECT, Operation.EMBED, Operation.ANALYZE])
def test_no_face_is_an_empty_list(operation: Operation) -> None:
    assert run(operation, NONE).faces == []


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
def test_verify_names_what_stands_in_its_way(image: Image, reference: Image, reason: str) -> None:
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
def test_liveness_is_not_evaluated_without_exactly_one_face(image: Image, reason: str) -> None:
    result = run(Operation.LIVENESS, image)
    assert (result.liveness.outcome, result.liveness.score, result.reason) == ("not_evaluated", None, reason)


def test_bystanders_do_not_count_unless_asked() -> None:
    wall = picture(((100, 50, 300, 250), WHITE), ((350, 10, 370, 40), WHITE))
    assert run(Operation.LIVENESS, wall).num_faces == 1
    assert run(Operation.LIVENESS, wall, ignore_below=0.0).reason == "multiple_faces"


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
def test_registration_needs_exactly_one_face(image: Image, count: int) -> None:
    result = run(Operation.REGISTER, image)
    assert (result.registered, result.reason, result.num_faces) == (False, "one_face", count)


def test_a_pack_without_liveness_analyses_but_says_so() -> None:
    class Blind(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, liveness_model=None)

        def liveness(self, _image: Image, _face: Detection) -> float:
            raise JobError(ErrorCode.LIVENESS_UNAVAILABLE, "none")

    work = Work(engine=Blind(), clock=no_clock, image=ONE)
    result = operations.run(Operation.ANALYZE, parse_params(Operation.ANALYZE, {}), work)
    assert isinstance(result, FacesResult)
    assert result.faces[0].liveness is not None
    assert result.faces[0].liveness.outcome == "not_evaluated"
    with pytest.raises(JobError, match="liveness_unavailable"):
        operations.run(Operation.LIVENESS, parse_params(Operation.LIVENESS, {}), work)


@pytest.mark.parametrize("operation", list(Operation))
def test_every_result_survives_the_journey_as_json(operation: Operation) -> None:
    reference = ONE if operation is Operation.VERIFY else None
    result = run(operation, ONE, reference=reference)
    assert RESULT.validate_python(json.loads(json.dumps(result.model_dump(mode="json")))) == result
