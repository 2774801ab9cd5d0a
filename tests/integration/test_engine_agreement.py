"""The engine with the compact pack agrees with insightface, alone or with concurrent jobs, on any canvas."""

import contextlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from insightface.app import FaceAnalysis
from numpy.typing import NDArray

from tests.photos import ASTRONAUT, NO_FACE, SIX_FACES
from tools.setup import models_dir
from worker.engine import align
from worker.engine.base import Detection, Image, Search
from worker.engine.detector import Detector
from worker.engine.devices import Device, choose_device
from worker.engine.insight import InsightEngine
from worker.engine.library_files import library_pack
from worker.engine.sessions import open_session
from worker.images import decode
from worker.packs.manifests import MANIFEST, DetectionPlan, installed
from worker.packs.prepare import prepared

Answer = tuple[list[Detection], bytes, list[float | None]]


@cache
def engine() -> InsightEngine:
    if not (models_dir() / "compact" / MANIFEST).exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    return InsightEngine(models_dir(), pack="compact", device=Device())


@cache
def photos() -> tuple[Image, ...]:
    """A group, a portrait, a picture without a face, and parts of the group in several shapes."""
    group, one, none = (
        decode(path.read_bytes(), max_pixels=40_000_000).pixels for path in (SIX_FACES, ASTRONAUT, NO_FACE)
    )
    return group, one, none, group[:, :640], group[200:700, 300:], np.ascontiguousarray(group[:, ::-1])


@cache
def insightface() -> Any:
    source = library_pack(models_dir(), "compact")
    with contextlib.redirect_stdout(io.StringIO()), source.opened() as alone:
        app = FaceAnalysis(
            name=alone,
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
        )
        app.prepare(ctx_id=-1, det_size=(640, 640))
    return app


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = (rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two))
    result: NDArray[np.float64] = (a * b).sum(axis=1)
    return result


def answer(which: InsightEngine, image: Image) -> Answer:
    faces = which.detect(image)
    vectors = which.embed(which.align(image, faces))
    return faces, vectors.tobytes(), [which.liveness(image, face) for face in faces]


def test_embeddings_of_the_same_crop_are_insightfaces() -> None:
    image = photos()[0]
    faces = engine().detect(image)
    crops = engine().align(image, faces)
    theirs = np.concatenate([insightface().models["recognition"].get_feat(crop) for crop in crops])
    assert 1 - cosines(engine().embed(crops), theirs).min() < 1e-4


@pytest.mark.parametrize("number", [0, 1])
def test_faces_are_those_of_face_analysis(number: int) -> None:
    image = photos()[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own alignment calls a function that scikit-image will remove
        theirs = sorted(insightface().get(image), key=lambda face: -np.prod(face.bbox[2:] - face.bbox[:2]))
    ours = engine().detect(image)
    assert len(ours) == len(theirs) > 0
    vectors = engine().embed(engine().align(image, ours))
    assert cosines(vectors, np.array([face.embedding for face in theirs])).min() > 0.995
    for face, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(face.box, other.bbox, atol=2)


def test_the_full_square_and_the_cropped_canvas_find_the_same_faces() -> None:
    manifest = installed(models_dir(), "compact")
    file = manifest.file("detection")
    assert file is not None
    session = open_session(prepared(models_dir() / "compact", file), Device())
    plan = DetectionPlan(retry_margins=())
    full, trimmed = (Detector(session, plan, threshold=0.5, trimmed=short) for short in (False, True))
    for image in photos():
        wide, narrow = full.detect(image), trimmed.detect(image)
        assert len(wide) == len(narrow)
        if wide:
            vectors = [engine().embed(align.crops(image, faces)) for faces in (wide, narrow)]
            assert cosines(*vectors).min() > 0.99


def test_concurrent_jobs_get_the_results_of_each_alone() -> None:
    alone = [answer(engine(), image) for image in photos()]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: answer(engine(), photos()[number % 6]), range(36)))
    assert together == [alone[number % 6] for number in range(36)]


def test_batching_across_jobs_changes_no_face_and_no_order() -> None:
    joined = InsightEngine(models_dir(), pack="compact", device=Device(batching=True))
    alone = [answer(engine(), image) for image in photos()]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: answer(joined, photos()[number % 6]), range(36)))
    for number, (faces, vectors, live) in enumerate(together):
        expected_faces, expected_vectors, expected_live = alone[number % 6]
        assert len(faces) == len(expected_faces)
        for face, expected in zip(faces, expected_faces, strict=True):
            np.testing.assert_allclose(face.box, expected.box, atol=0.05)
        mine, theirs = (np.frombuffer(rows, np.float32).reshape(-1, 512) for rows in (vectors, expected_vectors))
        assert not len(mine) or cosines(mine, theirs).min() > 1 - 1e-6
        np.testing.assert_allclose(np.array(live, float), np.array(expected_live, float), atol=1e-3)


def test_a_smaller_detector_finds_the_same_people_and_a_larger_one_more() -> None:
    image = photos()[0]
    assert len(engine().detect(image, Search(sizes=(320,)))) == 6
    assert len(engine().detect(image, Search(sizes=(320, 640, 1280)))) == 6


@pytest.mark.parametrize(("precision", "least"), [("f32", 0.9999), ("bf16", 0.99)])
def test_openvino_embeds_the_same_people(precision: Any, least: float) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an optional dependency")
    other = InsightEngine(models_dir(), pack="compact", device=choose_device("openvino", precision=precision))
    assert (other.info.contract == engine().info.contract) == (precision == "f32")
    image = photos()[0]
    ours, theirs = engine().detect(image), other.detect(image)
    assert len(ours) == len(theirs) == 6
    vectors = [which.embed(which.align(image, found)) for which, found in ((engine(), ours), (other, theirs))]
    assert cosines(*vectors).min() > least
