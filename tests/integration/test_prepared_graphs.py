"""The prepared graphs of the real pack agree with its models for every face, size and batch."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tools import setup
from worker.engine import align
from worker.engine.base import Detection
from worker.engine.blobs import planar, scaled
from worker.engine.devices import choose_device
from worker.engine.insight import InsightEngine
from worker.engine.runtimes import compared
from worker.packs import cli, manifests
from worker.packs.manifests import Manifest
from worker.packs.prepare import prepared, unprepared

pytestmark = pytest.mark.integration

Floats = NDArray[np.float32]
Run = Callable[[Floats], list[Floats]]
FOLDER = setup.models_dir() / "compact"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return manifests.installed(setup.models_dir(), "compact")


def session(source: Path | onnx.ModelProto) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = str(source) if isinstance(source, Path) else source.SerializeToString()
    opened = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda batch: list(opened.run(None, {opened.get_inputs()[0].name: batch}))


@pytest.fixture(scope="module")
def both(manifest: Manifest) -> Callable[[manifests.Role], tuple[Run, Run]]:
    """The original and the prepared graph of a role."""

    def opened(role: manifests.Role) -> tuple[Run, Run]:
        file = manifest.file(role)
        assert file is not None
        ready = prepared(FOLDER, file)
        assert ready != FOLDER / file.name
        return session(FOLDER / file.name), session(ready)

    return opened


Both = Callable[[manifests.Role], tuple[Run, Run]]


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    spec = find_spec("insightface")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "data", "images", "t1.jpg")
    return np.asarray(cv2.imread(str(path)), np.uint8)


@pytest.fixture(scope="module")
def faces(photograph: NDArray[np.uint8]) -> list[Detection]:
    return InsightEngine(setup.models_dir(), pack="compact", device=choose_device("cpu")).detect(photograph)


@pytest.fixture(scope="module")
def crops(photograph: NDArray[np.uint8], faces: list[Detection]) -> Floats:
    return planar(align.crops(photograph, faces), scaled(mean=127.5, scale=1 / 127.5), order="rgb")


def cosine(one: Floats, other: Floats) -> float:
    a, b = one.astype(np.float64).reshape(-1), other.astype(np.float64).reshape(-1)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_setup_leaves_the_pack_prepared(manifest: Manifest) -> None:
    assert unprepared(FOLDER, manifest) == []


def test_every_face_embeds_as_with_the_original(both: Both, crops: Floats) -> None:
    original, ready = both("recognition")
    assert len(crops) == 6
    for crop in crops:
        assert cosine(original(crop[None])[0], ready(crop[None])[0]) >= 0.9999999


@pytest.mark.parametrize("count", [1, 2, 8, 17])
def test_a_face_embeds_the_same_in_any_batch(both: Both, crops: Floats, count: int) -> None:
    _, ready = both("recognition")
    alone = np.concatenate([ready(crop[None])[0] for crop in crops])
    order = np.arange(count) % len(crops)
    np.testing.assert_array_equal(ready(crops[order])[0], alone[order])


def test_the_detector_gives_the_same_candidates_at_its_own_size(both: Both, photograph: NDArray[np.uint8]) -> None:
    original, ready = both("detection")
    picture = planar([_fitted(photograph, 640, 640)], scaled(mean=127.5, scale=1 / 128), order="rgb")
    for before, after in zip(original(picture), ready(picture), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(320, 320), (448, 640), (640, 448)])
def test_the_detector_at_another_size_equals_the_original_exported_for_it(
    both: Both, manifest: Manifest, photograph: NDArray[np.uint8], height: int, width: int
) -> None:
    _, ready = both("detection")
    file = manifest.file("detection")
    assert file is not None
    exported = session(_exported_for(FOLDER / file.name, height, width))
    picture = planar([_fitted(photograph, height, width)], scaled(mean=127.5, scale=1 / 128), order="rgb")
    for expected, got in zip(exported(picture), ready(picture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


def test_pictures_of_a_batch_are_detected_as_alone(both: Both, photograph: NDArray[np.uint8]) -> None:
    _, ready = both("detection")
    views = [_fitted(photograph, 320, 320), _fitted(photograph[:, ::-1], 320, 320), _fitted(photograph[::-1], 320, 320)]
    batch = planar(views, scaled(mean=127.5, scale=1 / 128), order="rgb")
    together = ready(batch)
    for number, picture in enumerate(batch):
        for alone, rows in zip(ready(picture[None]), together, strict=True):
            np.testing.assert_array_equal(rows[number], alone[0])


def test_liveness_is_unchanged_alone_and_in_a_batch(
    both: Both, photograph: NDArray[np.uint8], faces: list[Detection]
) -> None:
    original, ready = both("liveness")
    x1, y1, x2, y2 = (int(value) for value in faces[0].box)
    views = [cv2.resize(photograph[y1 - 60 : y2 + 60, x1 - 60 - n : x2 + 60], (128, 128)) for n in range(3)]
    batch = planar([np.asarray(view, np.uint8) for view in views], scaled(mean=0.0, scale=1.0), order="bgr")
    together = ready(batch)[0]
    for number, picture in enumerate(batch):
        np.testing.assert_allclose(together[number], original(picture[None])[0][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("role", "planes", "side"), [("pose", 3, 224), ("points_68", 1, 64), ("eyes", 1, 24)])
def test_pose_points_and_eyes_are_unchanged_alone_and_in_a_batch(
    both: Both, photograph: NDArray[np.uint8], faces: list[Detection], role: manifests.Role, planes: int, side: int
) -> None:
    original, ready = both(role)
    crops = [photograph[int(y1) : int(y2), int(x1) : int(x2)] for x1, y1, x2, y2 in (face.box for face in faces)]
    views = [np.asarray(cv2.resize(crop, (side, side)), np.uint8) for crop in crops]
    batch = planar(views, scaled(mean=0.0, scale=1 / 255), order="rgb")[:, :planes]
    together = ready(batch)
    for number, picture in enumerate(batch):
        for alone, rows in zip(original(picture[None]), together, strict=True):
            np.testing.assert_allclose(rows[number], alone[0], rtol=1e-4, atol=1e-4)


def test_verify_finds_the_embeddings_of_insightface_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "compact", "--models-dir", str(setup.models_dir())]) == 0
    printed = capsys.readouterr().out
    assert "the prepared graphs are intact" in printed
    assert "for the 6 faces of t1.jpg have a cosine of at least 0.99999" in printed


def _fitted(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (width, height)), np.uint8)


def _exported_for(path: Path, height: int, width: int) -> onnx.ModelProto:
    """The original model with the numbers of another size in place of its own: no axis is dynamic."""
    model = onnx.load(path)
    for axis, side in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], (height, width), strict=True):
        axis.dim_value = side
    for value in model.graph.initializer:
        sizes = numpy_helper.to_array(value)
        if value.data_type == onnx.TensorProto.INT64 and sizes.shape == (4,):
            scaled_sizes = sizes * np.array([1, 1, height, width]) // np.array([1, 1, 640, 640])
            value.CopyFrom(numpy_helper.from_array(scaled_sizes.astype(np.int64), value.name))
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].ClearField("dim_value")
    del model.graph.value_info[:]
    return model


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")
def test_openvino_gives_the_outputs_of_onnxruntime(manifest: Manifest) -> None:
    comparison = compared(FOLDER, manifest)
    assert comparison is not None
    assert comparison.different is None
