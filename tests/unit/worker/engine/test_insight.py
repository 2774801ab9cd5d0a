"""The real engine over a tiny pack: what it promises whatever the weights are."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ErrorCode, JobError, SettingsError
from tests.pictures import Pixels
from tests.unit.worker.engine.tiny_pack import DIMENSIONS, write_pack
from worker.engine.base import Detection, Search
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.packs import manifests
from worker.packs.calibration import Calibration, Point
from worker.packs.manifests import MANIFEST, DetectionPlan, Precision, Role

POINTS = ((40.0, 40.0), (80.0, 40.0), (60.0, 60.0), (45.0, 80.0), (75.0, 80.0))
FACE = Detection(box=(30.0, 30.0, 90.0, 90.0), landmarks=POINTS, score=0.9)


def bright(*squares: tuple[int, int, int], size: tuple[int, int] = (640, 640)) -> Pixels:
    """A black picture (width, height) with white squares (left, top, side)."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for left, top, side in squares:
        image[top : top + side, left : left + side] = 255
    return image


def engine(models_dir: Path) -> InsightEngine:
    return InsightEngine(models_dir, pack="tiny", device=Device())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> InsightEngine:
    models_dir = tmp_path_factory.mktemp("models")
    write_pack(models_dir)
    return engine(models_dir)


def test_it_says_what_it_is(tiny: InsightEngine) -> None:
    assert (tiny.info.pack, tiny.info.provider, tiny.info.embedding_size) == ("tiny", "CPUExecutionProvider", 64)
    assert tiny.info.liveness_model is not None
    assert tiny.info.liveness_model.startswith("liveness-")


@pytest.mark.parametrize(("precision", "known"), [("f32", True), ("bf16", False)])
def test_a_table_of_another_precision_says_nothing_about_this_engine(
    tmp_path: Path, precision: Precision, *, known: bool
) -> None:
    manifest = write_pack(tmp_path)
    points = (Point(0.01, 0.3), Point(0.001, 0.4))
    table = Calibration(manifest.contract(precision), source="made up", impostor_pairs=30_000, points=points)
    described = manifest.model_copy(update={"calibration": table})
    (tmp_path / "tiny" / manifests.MANIFEST).write_text(described.model_dump_json())
    assert engine(tmp_path).info.calibration == (table if known else None)


def test_boxes_and_points_are_in_the_pixels_of_the_image(tiny: InsightEngine) -> None:
    [face] = tiny.detect(bright((128, 64, 64), size=(1280, 1280)))
    assert face.box == (-128.0, -192.0, 384.0, 320.0)
    assert face.landmarks == ((64.0, 0.0), (192.0, 0.0), (128.0, 64.0), (64.0, 128.0), (192.0, 128.0))
    assert face.score == pytest.approx(0.98, abs=0.01)


def test_the_largest_face_comes_first(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path, flexible=True)
    both = manifest.model_copy(update={"detection": DetectionPlan(input_sizes=((640, 640), (320, 320)))})
    (tmp_path / "tiny" / MANIFEST).write_text(both.model_dump_json())
    faces = engine(tmp_path).detect(bright((0, 0, 32), (320, 320, 96)))
    assert len({round(face.area) for face in faces}) > 1
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)


def test_a_threshold_of_the_caller_replaces_the_packs(tiny: InsightEngine) -> None:
    image = bright((320, 320, 32))
    assert (len(tiny.detect(image, Search(threshold=0.9))), len(tiny.detect(image, Search(threshold=0.99)))) == (1, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 1300), (5, 5)])
def test_tiny_and_thin_images_have_no_face_and_no_error(tiny: InsightEngine, size: tuple[int, int]) -> None:
    assert tiny.detect(bright(size=size)) == []


def test_embeddings_come_in_the_order_of_the_faces(tiny: InsightEngine) -> None:
    image = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    other = Detection(box=FACE.box, landmarks=tuple((x + 50, y + 30) for x, y in POINTS), score=0.9)
    together = tiny.embed(tiny.align(image, [FACE, other]))
    assert (together.shape, together.dtype) == ((2, DIMENSIONS), np.dtype(np.float32))
    np.testing.assert_array_equal(together[0], tiny.embed(tiny.align(image, [FACE]))[0])
    np.testing.assert_array_equal(together[1], tiny.embed(tiny.align(image, [other]))[0])


def test_no_face_gives_no_embedding(tiny: InsightEngine) -> None:
    assert tiny.embed(tiny.align(bright(), [])).shape == (0, DIMENSIONS)


def test_red_and_blue_are_not_swapped_for_liveness(tiny: InsightEngine) -> None:
    blue = np.full((200, 200, 3), (255, 0, 0), np.uint8)
    assert (tiny.liveness(blue, FACE), tiny.liveness(blue[..., ::-1], FACE)) == pytest.approx((0.98, 0.02), abs=0.01)


def test_models_with_free_shapes_give_the_same_results(tiny: InsightEngine, tmp_path: Path) -> None:
    write_pack(tmp_path, flexible=True)
    free = engine(tmp_path)
    image = bright((320, 320, 32), (0, 0, 32))
    assert free.detect(image) == tiny.detect(image)
    faces = [FACE] * 11
    np.testing.assert_allclose(
        np.asarray(free.embed(free.align(image, faces))),
        np.asarray(tiny.embed(tiny.align(image, faces))),
        rtol=1e-4,
        atol=1e-5,
    )


def test_several_detector_sizes_are_merged(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path, flexible=True)
    both = manifest.model_copy(update={"detection": DetectionPlan(input_sizes=((128, 128), (640, 640)))})
    (tmp_path / "tiny" / MANIFEST).write_text(both.model_dump_json())
    assert len(engine(tmp_path).detect(bright((0, 0, 640)))) >= 1


def test_threads_get_what_a_single_one_gets(tiny: InsightEngine) -> None:
    dice = np.random.default_rng(2)
    images = [bright((32 * int(dice.integers(0, 18)), 96, 40), size=(640, 480 + 16 * n)) for n in range(16)]

    def read(image: Pixels) -> tuple[list[Detection], bytes, float | None]:
        faces = tiny.detect(image)
        return faces, tiny.embed(tiny.align(image, faces)).tobytes(), tiny.liveness(image, FACE)

    alone = [read(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, images * 4)) == alone * 4


def test_work_batched_across_jobs_gives_the_results_of_a_job_alone(tmp_path: Path) -> None:
    write_pack(tmp_path, flexible=True)
    alone = engine(tmp_path)
    joined = InsightEngine(tmp_path, pack="tiny", device=Device(batching=True))
    dice = np.random.default_rng(7)
    images = [dice.integers(0, 256, (200, 200, 3), np.uint8) for _ in range(12)]
    faces = [[FACE] * int(dice.integers(1, 6)) for _ in images]

    def read(one: InsightEngine, number: int) -> list[list[float]]:
        vectors: list[list[float]] = one.embed(one.align(images[number], faces[number])).tolist()
        return vectors

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: read(joined, number % len(images)), range(48)))
    for number, vectors in enumerate(together):
        np.testing.assert_allclose(vectors, read(alone, number % len(images)), atol=1e-5)


class Cold(InsightEngine):
    """Starts without the first run that would find a broken model."""

    def _warm_up(self) -> None:
        pass


@pytest.mark.parametrize("role", ["detection", "recognition", "liveness"])
def test_a_number_that_is_not_finite_is_a_model_failure(tmp_path: Path, role: Role) -> None:
    write_pack(tmp_path, poisoned=role)
    broken = Cold(tmp_path, pack="tiny", device=Device())
    calls: dict[Role, Callable[[], object]] = {
        "detection": lambda: broken.detect(bright()),
        "recognition": lambda: broken.embed(broken.align(bright(), [FACE])),
        "liveness": lambda: broken.liveness(bright(), FACE),
    }
    with pytest.raises(JobError) as caught:
        calls[role]()
    assert caught.value.code == ErrorCode.MODEL_FAILURE


@pytest.mark.parametrize("role", ["detection", "recognition", "liveness"])
def test_a_pack_that_fails_its_first_run_does_not_start(tmp_path: Path, role: Role) -> None:
    write_pack(tmp_path, poisoned=role)
    with pytest.raises(SettingsError, match=f"tiny fails its first run: The model {role}.onnx"):
        engine(tmp_path)


def test_a_pack_without_a_liveness_model_says_so(tmp_path: Path) -> None:
    write_pack(tmp_path, liveness=False)
    without = engine(tmp_path)
    assert without.info.liveness_model is None
    with pytest.raises(JobError) as caught:
        without.liveness(bright(), FACE)
    assert caught.value.code == ErrorCode.LIVENESS_UNAVAILABLE


def test_several_liveness_models_are_read_as_one_and_named_as_one(tmp_path: Path, tiny: InsightEngine) -> None:
    manifest = write_pack(tmp_path)
    [first] = manifest.files_of("liveness")
    shutil.copyfile(tmp_path / "tiny" / first.name, tmp_path / "tiny" / "second.onnx")
    both = manifest.model_copy(update={"files": (*manifest.files, first.model_copy(update={"name": "second.onnx"}))})
    (tmp_path / "tiny" / MANIFEST).write_text(both.model_dump_json())
    together = engine(tmp_path)
    mark = first.sha256[:8]
    assert together.info.liveness_model == f"liveness-{mark}+second-{mark}"
    blue = np.full((200, 200, 3), (255, 0, 0), np.uint8)
    assert together.liveness(blue, FACE) == pytest.approx(tiny.liveness(blue, FACE))


def test_a_missing_pack_is_told_in_one_line_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^Model pack 'compact' is not installed in .*make models PACK=compact"):
        InsightEngine(tmp_path, pack="compact", device=Device())


def test_a_changed_model_file_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    write_pack(tmp_path)
    (tmp_path / "tiny" / "recognition.onnx").write_bytes(b"not a model")
    with pytest.raises(SettingsError, match=r"damaged: recognition\.onnx is not the file"):
        engine(tmp_path)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path)
    path = tmp_path / "tiny" / "recognition.onnx"
    path.write_bytes(b"not a model")
    files = [
        file.model_copy(update={"sha256": manifests.sha256_of(path)}) if file.name == path.name else file
        for file in manifest.files
    ]
    changed = manifest.model_copy(update={"files": tuple(files)})
    (tmp_path / "tiny" / MANIFEST).write_text(changed.model_dump_json())
    with pytest.raises(SettingsError, match=r"recognition\.onnx cannot be loaded"):
        engine(tmp_path)


def test_an_embedding_size_that_differs_from_the_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path)
    wrong = manifest.model_copy(update={"embedding_size": 512})
    (tmp_path / "tiny" / MANIFEST).write_text(wrong.model_dump_json())
    with pytest.raises(SettingsError, match="returns 64 numbers"):
        engine(tmp_path)
