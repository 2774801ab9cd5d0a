"""The operations on every face: what runs, which faces are answered, and in which pixels."""

from dataclasses import replace

import numpy as np
import pytest

from shared.errors import ErrorCode, JobError
from shared.operations import Operation
from shared.results import FacesResult
from tests.unit.worker.operations.asking import GREEN, NONE, ONE, TWO, WHITE, YELLOW, Gifted, Recording, picture, run
from worker.engine.base import AS_THE_PACK_SAYS, Crops, Detection, EngineInfo, Image, Search, Vectors
from worker.engine.fake import FakeEngine


def test_detect_gives_every_face_the_largest_first() -> None:
    result = run(Operation.DETECT, TWO)
    assert isinstance(result, FacesResult)
    assert [face.box for face in result.faces] == [(200, 50, 360, 250), (30, 60, 170, 240)]
    assert (result.image.width, result.image.height) == (400, 300)


@pytest.mark.parametrize(
    ("operation", "stages"),
    [
        (Operation.DETECT, [("detect", 2)]),
        (Operation.EMBED, [("detect", 2), ("align", 2), ("embed", 2)]),
        (Operation.ANALYZE, [("detect", 2), ("align", 2), ("embed", 2), ("liveness", 1), ("liveness", 1)]),
    ],
)
def test_only_what_the_operation_needs_runs(operation: Operation, stages: list[tuple[str, int]]) -> None:
    engine = Recording()
    run(operation, TWO, engine=engine)
    assert engine.stages == stages


@pytest.mark.parametrize("operation", [Operation.DETECT, Operation.EMBED, Operation.ANALYZE])
def test_one_selected_face_is_the_only_one_answered_and_worked_on(operation: Operation) -> None:
    engine = Recording()
    [face] = run(operation, TWO, engine=engine, select="largest").faces
    assert face.box == (200, 50, 360, 250)
    assert {count for stage, count in engine.stages if stage != "detect"} <= {1}


def test_the_search_is_handed_to_the_engine() -> None:
    engine = Recording()
    run(Operation.DETECT, TWO, engine=engine, det_size=[320, 640], det_threshold=0.3)
    run(Operation.DETECT, TWO, engine=engine)
    assert engine.searches == [Search(threshold=0.3, sizes=(320, 640)), AS_THE_PACK_SAYS]


def test_faces_with_a_short_side_are_left_out() -> None:
    assert [face.box[0] for face in run(Operation.DETECT, TWO, min_face_px=140.0).faces] == [200, 30]
    assert [face.box[0] for face in run(Operation.DETECT, TWO, min_face_px=140.5).faces] == [200]


def test_everything_is_answered_in_pixels_of_the_whole_image() -> None:
    half = picture(((100, 50, 220, 200), WHITE), fraction=2)
    result = run(Operation.ANALYZE, half, engine=Gifted(), min_face_px=239)
    [face] = result.faces
    assert (result.image.width, result.image.height) == (800, 600)
    assert face.box == (200, 100, 440, 400)
    assert face.landmarks[2] == pytest.approx((320, 265))
    assert face.quality.face_width_px == 240
    assert face.attributes.landmarks_68 == [(200, 100, 2)]
    assert run(Operation.DETECT, half, min_face_px=241).faces == []


def test_detect_keeps_at_most_max_faces() -> None:
    assert len(run(Operation.DETECT, TWO, max_faces=1).faces) == 1


def test_embed_gives_unit_vectors_with_length_and_contract() -> None:
    faces = run(Operation.EMBED, TWO).faces
    for face in faces:
        assert np.linalg.norm(face.embedding.vector) == pytest.approx(1)
        assert face.embedding.length == pytest.approx(20, rel=1e-4)
        assert face.embedding.contract == "vultus-emb-fake-v1"
    assert len(faces) == 2


def test_an_embedding_keeps_what_float32_holds_and_no_more_digits() -> None:
    class Uneven(FakeEngine):
        def embed(self, crops: Crops) -> Vectors:
            return np.random.default_rng(7).normal(0, 20, (len(crops), 512)).astype(np.float32)

    [face] = run(Operation.EMBED, ONE, engine=Uneven()).faces
    raw = Uneven().embed(np.empty((1, 112, 112, 3), np.uint8))[0].astype(np.float64)
    vector = np.array(face.embedding.vector)
    assert np.abs(vector * face.embedding.length - raw).max() / np.abs(raw).max() < 1e-6
    assert 1 - vector @ raw / np.linalg.norm(vector) / np.linalg.norm(raw) < 1e-12
    assert max(len(str(abs(number))) for number in face.embedding.vector if abs(number) > 1e-4) <= len("0.12345678")


def test_a_face_without_a_direction_fails_the_job() -> None:
    class Empty(FakeEngine):
        def embed(self, crops: Crops) -> Vectors:
            return np.zeros((len(crops), 512), np.float32)

    with pytest.raises(JobError) as caught:
        run(Operation.EMBED, ONE, engine=Empty())
    assert caught.value.code == ErrorCode.MODEL_FAILURE


def test_analyze_reads_liveness_of_every_face() -> None:
    faces = run(Operation.ANALYZE, picture(((30, 60, 170, 240), WHITE), ((200, 50, 360, 250), YELLOW))).faces
    assert [face.liveness.outcome for face in faces] == ["spoof", "live"]


@pytest.mark.parametrize("operation", [Operation.DETECT, Operation.EMBED, Operation.ANALYZE])
def test_no_face_is_an_empty_list(operation: Operation) -> None:
    assert run(operation, NONE).faces == []


def test_a_pack_without_liveness_analyses_but_says_so() -> None:
    class Blind(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, liveness_model=None)

        def liveness(self, _image: Image, _face: Detection) -> float:
            raise JobError(ErrorCode.LIVENESS_UNAVAILABLE, "none")

    [face] = run(Operation.ANALYZE, ONE, engine=Blind()).faces
    assert face.liveness.outcome == "not_evaluated"
    with pytest.raises(JobError, match="liveness_unavailable"):
        run(Operation.LIVENESS, ONE, engine=Blind())


def test_analyze_gives_every_attribute_that_the_pack_has() -> None:
    engine = Gifted()
    [face] = run(Operation.ANALYZE, ONE, engine=engine).faces
    assert engine.stages[-1] == ("age_gender landmarks_68", 1)
    assert (face.attributes.age, face.attributes.gender) == (120, "female")
    assert face.attributes.pose.model_dump() == {
        "pitch": 1.0,
        "yaw": 2.0,
        "roll": 3.0,
        "method": "landmarks_68",
        "error": None,
    }
    assert face.attributes.landmarks_106 is None


@pytest.mark.parametrize("names", [[], ["landmarks_68"]])
def test_analyze_gives_only_the_attributes_that_were_named(names: list[str]) -> None:
    engine = Gifted()
    [face] = run(Operation.ANALYZE, ONE, engine=engine, attributes=names).faces
    assert [stage for stage, _ in engine.stages if stage not in {"detect", "align", "embed", "liveness"}] == names
    assert (face.attributes is None) == (not names)
    assert face.attributes is None or face.attributes.age is None


def test_a_missing_attribute_fails_the_job_before_any_model_runs() -> None:
    engine = Gifted()
    with pytest.raises(JobError, match=r"attribute_unavailable.*landmarks_106") as caught:
        run(Operation.ANALYZE, ONE, engine=engine, attributes=["age_gender", "landmarks_106"])
    assert caught.value.code == ErrorCode.ATTRIBUTE_UNAVAILABLE
    assert engine.stages == []


def test_a_pack_without_attributes_answers_none() -> None:
    class Plain(FakeEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, attributes=())

    assert run(Operation.ANALYZE, ONE, engine=Plain()).faces[0].attributes is None


@pytest.mark.parametrize("operation", [Operation.EMBED, Operation.ANALYZE])
def test_every_embedding_says_whether_its_face_can_be_recognised(operation: Operation) -> None:
    image = picture(((20, 50, 120, 180), GREEN), ((200, 50, 360, 250), WHITE))
    good, bad = (face.embedding.recognisability for face in run(operation, image).faces)
    assert (good.recognisable, good.reasons, good.advice) == (True, [], None)
    assert (bad.recognisable, bad.reasons) == (False, ["degraded"])
    assert bad.advice
    assert bad.score < 0.1
    assert good.score > 0.7
