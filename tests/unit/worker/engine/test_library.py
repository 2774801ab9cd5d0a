"""insightface's own `FaceAnalysis` as an engine: the same faces as ours, and packs that ours do not know."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from shared.errors import ErrorCode, JobError, SettingsError
from tests.unit.worker.engine.test_insight import FACE, bright
from tests.unit.worker.engine.tiny_pack import DIMENSIONS, write_pack
from worker.engine.base import Search
from worker.engine.devices import CUDA, OPENVINO, Device
from worker.engine.insight import InsightEngine
from worker.engine.library import THRESHOLDS, LibraryEngine
from worker.packs.calibration import Calibration, Point
from worker.packs.manifests import MANIFEST, Manifest, PackFile, Role, sha256_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # pytest drops the filter that the engine sets

PICTURE = bright((64, 64, 32), (320, 256, 32), size=(640, 480))
NEEDED = ("detection.onnx", "recognition.onnx")


def library(models_dir: Path, device: Device | None = None) -> LibraryEngine:
    return LibraryEngine(models_dir, pack="tiny", device=device or Device())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[LibraryEngine, InsightEngine, Manifest]:
    models_dir = tmp_path_factory.mktemp("models")
    manifest = write_pack(models_dir)
    return library(models_dir), InsightEngine(models_dir, pack="tiny", device=Device()), manifest


def bare(models_dir: Path, **options: Any) -> Manifest:
    """A folder with a detector and a recogniser and nothing else; the manifest that it could have."""
    manifest = write_pack(models_dir, **options)
    (models_dir / "tiny" / MANIFEST).unlink()
    (models_dir / "tiny" / "liveness.onnx").unlink(missing_ok=True)
    return manifest


def refusal(models_dir: Path, device: Device | None = None) -> str:
    """The one line with which the start fails."""
    with pytest.raises(SettingsError) as error:
        library(models_dir, device)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_pack_with_a_manifest_is_described_as_by_our_engine(
    tiny: tuple[LibraryEngine, InsightEngine, Manifest],
) -> None:
    theirs, ours, _ = tiny
    assert theirs.info == ours.info


def test_boxes_points_embeddings_and_liveness_are_ours(tiny: tuple[LibraryEngine, InsightEngine, Manifest]) -> None:
    theirs, ours, _ = tiny
    faces, expected = theirs.detect(PICTURE), ours.detect(PICTURE)
    assert len(faces) == len(expected) == 2
    for face, other in zip(faces, expected, strict=True):
        np.testing.assert_allclose(face.box, other.box, atol=0.01)
        np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.01)
        assert face.score == pytest.approx(other.score, abs=1e-5)
    np.testing.assert_array_equal(theirs.align(PICTURE, faces), ours.align(PICTURE, faces))
    crops = ours.align(PICTURE, faces)
    np.testing.assert_allclose(theirs.embed(crops), ours.embed(crops), rtol=1e-4, atol=1e-5)
    assert theirs.liveness(PICTURE, FACE) == ours.liveness(PICTURE, FACE)


def test_no_face_gives_no_embedding(tiny: tuple[LibraryEngine, InsightEngine, Manifest]) -> None:
    theirs = tiny[0]
    assert theirs.detect(bright()) == []
    assert theirs.embed(theirs.align(bright(), [])).shape == (0, DIMENSIONS)


@pytest.mark.parametrize("size", [(1, 1), (640, 1), (1, 641), (5, 4000)])
def test_tiny_and_thin_images_have_no_face_and_no_error(
    tiny: tuple[LibraryEngine, InsightEngine, Manifest], size: tuple[int, int]
) -> None:
    assert tiny[0].detect(bright(size=size)) == []


def test_a_threshold_of_the_caller_replaces_the_packs(tiny: tuple[LibraryEngine, InsightEngine, Manifest]) -> None:
    assert tiny[0].detect(PICTURE, Search(threshold=0.99)) == []


def test_a_fixed_detector_refuses_another_size(tiny: tuple[LibraryEngine, InsightEngine, Manifest]) -> None:
    with pytest.raises(JobError, match="supports only 640x640") as error:
        tiny[0].detect(PICTURE, Search(sizes=(320,)))
    assert error.value.code == ErrorCode.INVALID_REQUEST
    assert len(tiny[0].detect(PICTURE, Search(sizes=(640,)))) == 2


@pytest.mark.parametrize("sizes", [(640,), (1280,), (640, 1280)])
def test_a_free_detector_takes_any_size(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    write_pack(tmp_path, flexible=True)
    ours = InsightEngine(tmp_path, pack="tiny", device=Device())
    search = Search(sizes=sizes)
    assert len(library(tmp_path).detect(PICTURE, search)) == len(ours.detect(PICTURE, search)) > 0


def test_threads_get_what_a_single_one_gets(tiny: tuple[LibraryEngine, InsightEngine, Manifest]) -> None:
    def read(number: int) -> tuple[Any, bytes]:
        image = bright((64 * (1 + number % 4), 96, 32))
        faces = tiny[0].detect(image)
        return faces, tiny[0].embed(tiny[0].align(image, faces)).tobytes()

    alone = [read(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(32))) == alone * 8


def test_sessions_have_the_threads_of_the_device(tmp_path: Path) -> None:
    write_pack(tmp_path)
    models = library(tmp_path, Device(threads=2))._models
    assert {model.session.get_session_options().intra_op_num_threads for model in models.values()} == {2}


def test_a_folder_without_a_manifest_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = bare(tmp_path)
    engine = library(tmp_path)
    info = engine.info
    assert (info.pack, info.contract, info.embedding_size) == ("tiny", manifest.contract("f32"), DIMENSIONS)
    assert (info.thresholds, info.calibration, info.liveness_model) == (THRESHOLDS, None, None)
    assert len(engine.detect(PICTURE)) == 2
    with pytest.raises(JobError) as error:
        engine.liveness(PICTURE, FACE)
    assert error.value.code == ErrorCode.LIVENESS_UNAVAILABLE
    assert all("pack.unmeasured" in line for line in capfd.readouterr().out.splitlines())


def test_a_models_folder_may_have_spaces_and_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare(tmp_path / "my models")
    monkeypatch.chdir(tmp_path)
    assert library(Path("my models")).info.pack == "tiny"


def test_a_pack_that_insightface_describes_itself_runs(tmp_path: Path) -> None:
    manifest = bare(tmp_path)
    folder = tmp_path / "tiny"
    (folder / "models").mkdir()
    for name in NEEDED:
        (folder / name).rename(folder / "models" / name)
    (folder / "MODEL.LICENSE").write_text("Made by a test.")
    tasks = {"detection": {"file": f"models/{NEEDED[0]}"}, "recognition": {"file": f"models/{NEEDED[1]}"}}
    described = {"manifest_version": 2, "model_id": "tiny", "tasks": tasks, "license": "MODEL.LICENSE"}
    (folder / MANIFEST).write_text(json.dumps(described))
    engine = library(tmp_path)
    assert engine.info.contract == manifest.contract("f32")
    assert len(engine.detect(PICTURE)) == 2


def test_a_recogniser_that_scales_its_input_has_a_contract_of_its_own(tmp_path: Path) -> None:
    """The library feeds such a model 0..255, where our stages would scale; the embeddings are not comparable."""
    manifest = bare(tmp_path)
    path = tmp_path / "tiny" / "recognition.onnx"
    model = onnx.load(path)
    model.graph.node[0].input[0] = "scaled"
    model.graph.node.insert(0, helper.make_node("Mul", ["shifted", "factor"], ["scaled"], name="_mulscalar0"))
    model.graph.node.insert(0, helper.make_node("Sub", ["input", "mean"], ["shifted"], name="_minusscalar0"))
    for name, value in (("mean", 127.5), ("factor", 1 / 127.5)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    onnx.save(model, path)
    file = manifest.files[1].model_copy(update={"sha256": sha256_of(path)})
    described = manifest.model_copy(update={"files": (manifest.files[0], file)})
    assert library(tmp_path).info.contract != described.contract("f32")


def test_a_calibration_counts_only_for_the_same_contract(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path)
    points = (Point(0.01, 0.3), Point(0.001, 0.4))
    table = Calibration(manifest.contract("f32"), source="made up", impostor_pairs=30_000, points=points)
    described = manifest.model_copy(update={"calibration": table})
    (tmp_path / "tiny" / MANIFEST).write_text(described.model_dump_json())
    assert library(tmp_path).info.calibration == table


def colours(path: Path, *, side: int, numbers: int) -> None:
    """A model whose answer follows the mean colour of what it is shown; it shifts and scales its input by itself."""
    random = np.random.default_rng(numbers)
    constants = {
        "mean": np.full((1, 3, 1, 1), 127.5),
        "factor": np.full((1, 3, 1, 1), 1 / 128),
        "w": random.normal(0, 0.2, (numbers, 3, 1, 1)),
        "b": random.uniform(-0.9, 0.9, numbers),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["data", "mean"], ["a"], name="_minusscalar0"),
            helper.make_node("Mul", ["a", "factor"], ["c"], name="_mulscalar0"),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Conv", ["d", "w", "b"], ["e"]),
            helper.make_node("Flatten", ["e"], ["fc1"]),
        ],
        "colours",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("fc1", onnx.TensorProto.FLOAT, ["batch", numbers])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_attributes_are_ours(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path, liveness=False)
    extra: list[PackFile] = []
    models: tuple[tuple[Role, int, int], ...] = (
        ("age_gender", 96, 3),
        ("landmarks_106", 192, 212),
        ("landmarks_68", 192, 3309),
    )
    for role, side, numbers in models:
        path = tmp_path / "tiny" / f"{role}.onnx"
        colours(path, side=side, numbers=numbers)
        preprocessing: Any = f"box-1.5-rgb-{side}"
        extra.append(PackFile(name=path.name, sha256=sha256_of(path), role=role, preprocessing=preprocessing))
    described = manifest.model_copy(update={"files": (*manifest.files, *extra)})
    (tmp_path / "tiny" / MANIFEST).write_text(described.model_dump_json())
    theirs, ours = library(tmp_path), InsightEngine(tmp_path, pack="tiny", device=Device())
    names = theirs.info.attributes
    assert set(names) == set(ours.info.attributes) == {"age_gender", "landmarks_106", "landmarks_68", "pose"}
    picture = np.random.default_rng(1).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    [answer], [expected] = theirs.attributes(picture, [FACE], names), ours.attributes(picture, [FACE], names)
    assert (answer.age, answer.gender) == (expected.age, expected.gender)
    np.testing.assert_allclose(np.array(answer.landmarks_106), np.array(expected.landmarks_106), atol=0.01)
    np.testing.assert_allclose(np.array(answer.landmarks_68), np.array(expected.landmarks_68), atol=0.01)
    assert answer.pose is not None
    assert expected.pose is not None
    np.testing.assert_allclose(answer.pose[:3], expected.pose[:3], atol=0.1)
    assert theirs.attributes(picture, [FACE], ["age_gender"])[0].pose is None


@pytest.mark.parametrize("role", ["detection", "recognition"])
def test_a_model_that_returns_non_finite_numbers_stops_the_start(tmp_path: Path, role: Role) -> None:
    write_pack(tmp_path, poisoned=role)
    assert refusal(tmp_path) == (
        f"The model pack tiny fails its first run: The model {role}.onnx returned a number that is not finite."
    )


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def spoil(folder: Path) -> None:
    (folder / "other.onnx").write_bytes(b"no model")


def nest(folder: Path) -> None:
    (folder / "tiny").mkdir()
    for name in NEEDED:
        (folder / name).rename(folder / "tiny" / name)


def flatten(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop("detection.onnx"), "it found no detection model there"),
        (drop("recognition.onnx"), "insightface found no recognition model in"),
        (spoil, "/tiny/other.onnx: "),
        (nest, "/tiny/tiny into it"),
        (shutil.rmtree, "put the pack's *.onnx files there"),
        (flatten, "is a file, but must be a folder"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_run_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[Path], object], complaint: str
) -> None:
    bare(tmp_path)
    change(tmp_path / "tiny")
    assert complaint in refusal(tmp_path)


def test_a_damaged_pack_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path)
    (tmp_path / "tiny" / "detection.onnx").write_bytes(b"broken")
    assert "damaged: detection.onnx is not the file" in refusal(tmp_path)


def test_a_pack_that_is_not_there_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=r"'buffalo_l' is not installed in .*; run: make models"):
        LibraryEngine(tmp_path, pack="buffalo_l", device=Device())
    assert list(tmp_path.iterdir()) == []


def test_openvino_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path)
    assert "runs on onnxruntime" in refusal(tmp_path, Device(provider=OPENVINO))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_device_that_is_not_there_is_not_replaced_by_the_cpu(tmp_path: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    write_pack(tmp_path)
    assert "run on CPUExecutionProvider although CUDAExecutionProvider was requested" in refusal(
        tmp_path, Device(provider=CUDA)
    )
