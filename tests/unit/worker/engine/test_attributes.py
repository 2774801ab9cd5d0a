"""Age, gender, landmarks and pose equal what insightface's own classes make of the same model."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from insightface.model_zoo.attribute import Attribute
from insightface.model_zoo.landmark import Landmark
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.errors import SettingsError
from tests.unit.worker.engine.sessions import Blob, ScriptedSession
from worker.engine.attributes import OUTPUTS, AttributeReader, mean_face, pose
from worker.engine.base import AttributeName, Detection

IMAGE = np.random.default_rng(8).integers(0, 256, (300, 400, 3), np.uint8)
FACE = Detection(box=(100.0, 60.0, 190.0, 180.0), landmarks=((0.0, 0.0),) * 5, score=0.9)
SIDES: dict[AttributeName, int] = {"age_gender": 96, "landmarks_106": 192, "landmarks_68": 192}


def model(path: Path, name: AttributeName) -> Path:
    """A graph with the shapes of the real one that begins, as it does, by scaling its input; it sees a part of it."""
    side, count = SIDES[name], OUTPUTS[name]
    dice = np.random.default_rng(len(name))
    weights = {
        "half": np.array([0.5], np.float32),
        "scale": np.array([1 / 255], np.float32),
        "w": dice.normal(0, 0.5, (count, 3, side // 16, side // 16)).astype(np.float32) / (side // 4),
        "b": dice.uniform(-0.8, 0.8, count).astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["data", "scale"], ["m"], name="_mul0"),
        helper.make_node("Sub", ["m", "half"], ["s"], name="_minus0"),
        helper.make_node("Conv", ["s", "w", "b"], ["c"], strides=[side // 4] * 2),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["n", count])],
        [numpy_helper.from_array(np.asarray(values), key) for key, values in weights.items()],
    )
    file = path / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def over(file: Path, name: AttributeName) -> AttributeReader:
    runtime = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    session = ScriptedSession(lambda blob: runtime.run(None, {"data": blob}), shape=(None, 3, *[SIDES[name]] * 2))
    return AttributeReader({name: session})


class Theirs(dict[str, Any]):
    """What insightface writes its answers to."""

    bbox = np.array(FACE.box)


def test_age_and_gender(tmp_path: Path) -> None:
    file = model(tmp_path, "age_gender")
    theirs = Theirs()
    Attribute(str(file), onnxruntime.InferenceSession(str(file))).get(IMAGE, theirs)
    [ours] = over(file, "age_gender").read(IMAGE, [FACE], ["age_gender"])
    assert (ours.age, ours.gender) == (theirs["age"], ["female", "male"][theirs["gender"]])
    assert (ours.landmarks_106, ours.landmarks_68, ours.pose) == (None, None, None)


def test_landmarks_106(tmp_path: Path) -> None:
    file = model(tmp_path, "landmarks_106")
    theirs = Theirs()
    Landmark(str(file), onnxruntime.InferenceSession(str(file))).get(IMAGE, theirs)
    [ours] = over(file, "landmarks_106").read(IMAGE, [FACE], ["landmarks_106"])
    np.testing.assert_allclose(np.array(ours.landmarks_106), theirs["landmark_2d_106"], atol=1e-3)


def test_landmarks_68_and_pose(tmp_path: Path) -> None:
    file = model(tmp_path, "landmarks_68")
    theirs = Theirs()
    Landmark(str(file), onnxruntime.InferenceSession(str(file))).get(IMAGE, theirs)
    [ours] = over(file, "landmarks_68").read(IMAGE, [FACE], ["landmarks_68"])
    np.testing.assert_allclose(np.array(ours.landmarks_68), theirs["landmark_3d_68"], atol=1e-3)
    assert ours.pose is not None
    np.testing.assert_allclose(np.array(ours.pose[:3]), theirs["pose"], atol=1e-2)


def turned(*, pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    """The mean face turned by these degrees, as a picture shows it."""
    x, y, z = (math.radians(angle) for angle in (pitch, yaw, roll))
    about_x = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_z = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    moved: NDArray[np.float64] = 3.0 * mean_face() @ (about_z @ about_y @ about_x).T + (200.0, 150.0, 0.0)
    return moved


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, 0, 0), (0, -35, 0), (0, 0, 50), (10, 20, -15)])
def test_the_pose_is_the_turn_of_the_mean_face(angles: tuple[float, float, float]) -> None:
    pitch, yaw, roll = angles
    assert pose(turned(pitch=pitch, yaw=yaw, roll=roll))[:3] == pytest.approx(angles, abs=1e-6)


def test_faces_keep_their_order_and_only_requested_models_run() -> None:
    def brightness(blob: Blob) -> list[Blob]:
        return [np.array([[0.0, 1.0, blob.mean() / 500]], np.float32)]

    asked = ScriptedSession(brightness, shape=(None, 3, 96, 96))
    idle = ScriptedSession(brightness, shape=(None, 3, 192, 192))
    reader = AttributeReader({"age_gender": asked, "landmarks_106": idle})
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    faces = [SimpleNamespace(box=(float(left), 30.0, left + 20.0, 50.0)) for left in (40, 140)]
    dark, bright = reader.read(image, faces, ["age_gender"])  # type: ignore[arg-type]
    assert (dark.age, bright.age) == (0.0, 51.0)
    assert idle.seen == []


def of_shape(*shape: int | None) -> ScriptedSession:
    return ScriptedSession(lambda blob: [blob], shape=shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("age_gender", (3, 96, 80)), ("landmarks_106", (1, 192, 192)), ("pose", (3, 128, 128)), ("eyes", (3, 24, 24))],
)
def test_a_model_of_another_shape_is_refused(name: AttributeName, shape: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match=f"cannot serve as {name} model"):
        AttributeReader({name: of_shape(None, *shape)})


def test_points_with_depth_give_a_pose_without_a_pose_model(tmp_path: Path) -> None:
    reader = over(model(tmp_path, "landmarks_68"), "landmarks_68")
    assert reader.names == ("landmarks_68", "pose")
    [both] = reader.read(IMAGE, [FACE], ["landmarks_68"])
    [alone] = reader.read(IMAGE, [FACE], ["pose"])
    assert (alone.pose, alone.landmarks_68) == (both.pose, None)
    assert alone.pose is not None
    assert alone.pose.method == "landmarks_68"


def test_a_pose_model_takes_precedence_over_points_with_depth() -> None:
    head = ScriptedSession(lambda _: [np.eye(1, 66, 33, dtype=np.float32) * 99] * 3, shape=(None, 3, 224, 224))
    solid = ScriptedSession(lambda _: [np.zeros((1, 3309), np.float32)], shape=(None, 3, 192, 192))
    reader = AttributeReader({"landmarks_68": solid, "pose": head})
    assert reader.names == ("landmarks_68", "pose")
    [told] = reader.read(IMAGE, [FACE], ["pose"])
    assert told.pose is not None
    assert told.pose.method == "model"
    assert told.pose.pitch == pytest.approx(1.5)
    assert solid.seen == []


def test_eyes_use_the_points_which_are_returned_only_on_request() -> None:
    shares = np.random.default_rng(3).uniform(0.2, 0.8, (1, 136)).astype(np.float32)
    shares[0, [72, 84]] = 0.1
    shares[0, [78, 90]] = 0.5
    points = ScriptedSession(lambda _: [shares], shape=(None, 1, 64, 64))
    eyes = ScriptedSession(lambda _: [np.zeros((2, 2), np.float32)], shape=(None, 1, 24, 24))
    reader = AttributeReader({"points_68": points, "eyes": eyes})
    [told] = reader.read(IMAGE, [FACE], ["eyes"])
    assert (told.eyes, told.points_68, told.pose) == ((0.5, 0.5), None, None)
    [told] = reader.read(IMAGE, [FACE], ["points_68"])
    assert told.eyes is None
    assert told.points_68 is not None
    assert told.points_68[0] == pytest.approx((100 + 90 * shares[0, 0], 60 + 120 * shares[0, 1]))
