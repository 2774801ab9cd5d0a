"""Which part of the image each liveness model sees, and what is made of its answer."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from insightface.addons.liveness import Liveness
from onnx import TensorProto, helper, numpy_helper

from tests.unit.worker.engine.sessions import ScriptedSession
from worker.engine.base import Detection, Image
from worker.engine.passive import ALIGNED_TEMPLATE, READERS, AlignedLiveness, Ensemble, surroundings

SIDES = st.integers(1, 4000)
COORDINATES = st.floats(-2000, 5000)


def test_the_box_grows_about_its_centre() -> None:
    assert surroundings((400.0, 400.0, 500.0, 500.0), width=1000, height=1000) == (315, 315, 586, 586)


def test_near_the_border_it_is_shifted_inside_and_keeps_its_size() -> None:
    assert surroundings((0.0, 900.0, 100.0, 1000.0), width=1000, height=1000) == (0, 729, 271, 1000)


def test_it_grows_less_where_it_does_not_fit() -> None:
    left, top, right, bottom = surroundings((100.0, 100.0, 300.0, 300.0), width=400, height=1000)
    assert (right - left, bottom - top) == (400, 400)


@given(x=COORDINATES, y=COORDINATES, wide=st.floats(0, 3000), high=st.floats(0, 3000), width=SIDES, height=SIDES)
def test_it_is_never_empty_and_never_over_the_border(
    x: float, y: float, wide: float, high: float, width: int, height: int
) -> None:
    left, top, right, bottom = surroundings((x, y, x + wide, y + high), width=width, height=height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("box", [(1500.0, 10.0, 1600.0, 90.0), (-300.0, 10.0, -200.0, 90.0)])
def test_a_box_outside_the_image_is_brought_inside(box: tuple[float, float, float, float]) -> None:
    left, _, right, _ = surroundings(box, width=1000, height=500)
    assert (left == 0) == (box[0] < 0)
    assert right - left in {217, 271}


def adjusted(image: Image, shift: float = 0.0) -> Detection:
    """A face in the middle of an image, its points as far apart as a real one's."""
    centre = np.array([image.shape[1] / 2 + shift, image.shape[0] / 2])
    points = centre + (ALIGNED_TEMPLATE - 40) * 4
    return Detection(box=(0.0, 0.0, 1.0, 1.0), landmarks=tuple((x, y) for x, y in points.tolist()), score=0.9)


def add_on(path: Path) -> tuple[AlignedLiveness, Liveness]:
    """Our reader and insightface's own over one model that tells red from blue."""
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], strides=[80, 80]),
        helper.make_node("Sigmoid", ["c"], ["p"]),
        helper.make_node("Reshape", ["p", "flat"], ["live"]),
    ]
    weights = np.random.default_rng(4).normal(0, 0.02, (1, 3, 80, 80)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "add-on",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 80, 80])],
        [helper.make_tensor_value_info("live", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([-1], np.int64), "flat")],
    )
    file = path / "liveness.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    runtime = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    session = ScriptedSession(lambda blob: runtime.run(None, {"input": blob}), shape=(None, 3, 80, 80))
    return AlignedLiveness(session), Liveness(str(file), session=runtime)


def test_the_add_on_reads_what_insightface_reads(tmp_path: Path) -> None:
    ours, theirs = add_on(tmp_path)
    image = np.asarray(cv2.blur(np.random.default_rng(5).integers(0, 256, (480, 640, 3), np.uint8), (9, 9)), np.uint8)
    for shift in (0.0, 37.5, 160.0):
        face = adjusted(image, shift)
        expected = theirs.predict(image, np.array(face.landmarks))["live_score"]
        assert ours.read(image, face) == pytest.approx(expected, abs=1e-3)


def test_the_add_on_does_not_judge_a_face_largely_outside_the_image(tmp_path: Path) -> None:
    ours, theirs = add_on(tmp_path)
    image = np.random.default_rng(5).integers(0, 256, (480, 640, 3), np.uint8)
    cut_off = adjusted(image, 320.0)
    assert theirs.predict(image, np.array(cut_off.landmarks))["status"] == "input_rejected"
    assert ours.read(image, cut_off) is None


@pytest.mark.parametrize(
    ("preprocessing", "side", "growth", "live"),
    [("context-2.7-bgr-128", 128, 2.7, 0), ("minifas-2.7-bgr-80", 80, 2.7, 1), ("minifas-4.0-bgr-80", 80, 4.0, 1)],
)
def test_context_models_differ_in_size_growth_and_index(
    preprocessing: str, side: int, growth: float, live: int
) -> None:
    logits = np.zeros((1, 3), np.float32)
    logits[0, live] = 9.0
    session = ScriptedSession(lambda _: [logits], shape=(None, 3, side, side))
    image = np.random.default_rng(7).integers(0, 256, (900, 900, 3), np.uint8)
    face = Detection(box=(400.0, 400.0, 500.0, 500.0), landmarks=(), score=0.9)
    assert READERS[preprocessing](session).read(image, face) == pytest.approx(1.0, abs=0.001)
    left, top, right, bottom = surroundings(face.box, width=900, height=900, growth=growth)
    seen = cv2.resize(image[top:bottom, left:right], (side, side)).transpose(2, 0, 1)
    np.testing.assert_array_equal(session.seen[0][0], seen.astype(np.float32))


class Says:
    """A model that always says the same."""

    def __init__(self, score: float | None) -> None:
        self.score = score

    def read(self, _image: Image, _face: Detection) -> float | None:
        return self.score


@pytest.mark.parametrize(
    ("scores", "mean"), [([0.9], 0.9), ([0.9, 0.3], 0.6), ([None, 0.3], 0.3), ([None, None], None)]
)
def test_an_ensemble_is_the_mean_of_the_models_that_can_judge(scores: list[float | None], mean: float | None) -> None:
    together = Ensemble([Says(score) for score in scores], pack="tiny")
    answer = together.read(np.zeros((1, 1, 3), np.uint8), Detection(box=(0.0, 0.0, 1.0, 1.0), landmarks=(), score=1.0))
    assert answer == (mean if mean is None else pytest.approx(mean))
