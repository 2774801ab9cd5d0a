"""VULTUS_ENGINE=insightface: the library and this project's stages agree on real models and real pictures."""

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from insightface.app import FaceAnalysis

from tests.photos import ASTRONAUT, SIX_FACES, labelled
from tests.stacks import serving
from tools.setup import models_dir
from worker.engine.base import Detection, Image
from worker.engine.detector import Detector
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.engine.library import LibraryEngine
from worker.engine.library_files import library_pack
from worker.engine.sessions import open_session
from worker.images import decode
from worker.packs.manifests import MANIFEST, installed
from worker.packs.prepare import prepared

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # pytest drops the filter that the engine sets


@cache
def library() -> LibraryEngine:
    if not (models_dir() / "compact" / MANIFEST).exists():
        pytest.fail("the compact pack is not installed; run: make setup")
    return LibraryEngine(models_dir(), pack="compact", device=Device())


@cache
def ours() -> InsightEngine:
    return InsightEngine(models_dir(), pack="compact", device=Device())


@cache
def full_square() -> Detector:
    """Our detector in the library's mode: one pass on a full square, where our CPU mode leaves out empty areas."""
    manifest = installed(models_dir(), "compact")
    file = manifest.file("detection")
    assert file is not None
    session = open_session(prepared(models_dir() / "compact", file), Device())
    once = manifest.detection.model_copy(update={"retry_margins": ()})
    return Detector(session, once, threshold=manifest.thresholds.detection, trimmed=False)


def picture(path: Path) -> Image:
    return decode(path.read_bytes(), max_pixels=40_000_000).pixels


def overlap(one: Detection, other: Detection) -> float:
    """Intersection over union."""
    low, high = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (one.area + other.area - shared)


def differences(image: Image) -> list[str]:
    """The differences between the two in a picture."""
    theirs, mine = library().detect(image), full_square().detect(image)
    if len(theirs) != len(mine):
        return [f"{len(theirs)} faces instead of {len(mine)}"]
    found = []
    for face, other in zip(theirs, mine, strict=True):
        [a], [b] = (engine.embed(engine.align(image, [one])) for engine, one in ((library(), face), (ours(), other)))
        cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        checks = {
            "box": overlap(face, other) >= 0.99,
            "points": float(np.abs(np.subtract(face.landmarks, other.landmarks)).max()) < 0.1,
            "score": abs(face.score - other.score) < 1e-4,
            "embedding": cosine >= 0.9999,
            "liveness": library().liveness(image, face) == pytest.approx(ours().liveness(image, other), abs=1e-3),
        }
        found += [name for name, passed in checks.items() if not passed]
    return found


@pytest.mark.parametrize("path", [ASTRONAUT, SIX_FACES], ids=lambda path: path.name)
def test_the_library_and_our_stages_agree(path: Path) -> None:
    assert library().detect(picture(path))
    assert differences(picture(path)) == []


def test_they_agree_on_every_labelled_picture() -> None:
    expected: dict[str, dict[str, Any]] = json.loads(labelled("expected.json").read_text())
    names = [name for name, entry in expected.items() if "error" not in entry]
    assert {name: found for name in names if (found := differences(picture(labelled(name))))} == {}


def test_they_have_the_same_identity_and_comparable_embeddings() -> None:
    theirs, mine = library().info, ours().info
    assert (theirs.contract, theirs.liveness_model) == (mine.contract, mine.liveness_model)
    assert (theirs.thresholds, theirs.calibration) == (mine.thresholds, mine.calibration)
    assert theirs.recognisability == mine.recognisability


def test_all_stages_together_equal_face_analysis_to_the_bit() -> None:
    with library_pack(models_dir(), "compact").opened() as folder:
        analysis = FaceAnalysis(folder, providers=["CPUExecutionProvider"])
    analysis.prepare(0, det_size=(640, 640))
    image = picture(SIX_FACES)
    expected = sorted(analysis.get(image), key=lambda face: -np.prod(face.bbox[2:] - face.bbox[:2]))
    faces = library().detect(image)
    vectors = library().embed(library().align(image, faces))
    assert len(faces) == len(expected) == 6
    for face, vector, other in zip(faces, vectors, expected, strict=True):
        assert face.box == tuple(other.bbox.tolist())
        np.testing.assert_array_equal(np.array(face.landmarks, np.float32), other.kps)
        np.testing.assert_array_equal(vector, other.embedding)


@pytest.fixture
def folder_of_ones_own(tmp_path: Path) -> Iterator[Path]:
    """A models folder, with spaces in its name, that has a pack of two model files and no manifest."""
    folder = tmp_path / "my models" / "mine"
    folder.mkdir(parents=True)
    for name in ("scrfd.onnx", "fr_feature.onnx"):
        shutil.copyfile(models_dir() / "compact" / name, folder / name)
    yield folder.parent
    assert sorted(path.name for path in folder.iterdir()) == ["fr_feature.onnx", "scrfd.onnx"]


def job(url: str, operation: str, **images: Path) -> dict[str, Any]:
    files = {name: path.read_bytes() for name, path in images.items()}
    answer = requests.post(
        f"{url}/v1/jobs", data={"operation": operation}, files=files, headers={"Prefer": "wait=30"}, timeout=40
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_folder_of_model_files_serves_jobs(tmp_path: Path, folder_of_ones_own: Path) -> None:
    settings = {
        "VULTUS_ENGINE": "insightface",
        "VULTUS_PACK": "mine",
        "VULTUS_MODELS_DIR": str(folder_of_ones_own),
        "VULTUS_PROVIDER": "cpu",
    }
    with serving(tmp_path / "data", settings) as stack:
        embedded = job(stack.url, "embed", image=ASTRONAUT)
        verified = job(stack.url, "verify", image=ASTRONAUT, reference=ASTRONAUT)
        liveness = job(stack.url, "liveness", image=ASTRONAUT)
    assert embedded["status"] == "succeeded", embedded
    assert embedded["provenance"]["model_pack"] == "mine"
    assert embedded["provenance"]["embedding_contract"] == ours().info.contract
    [face] = embedded["result"]["faces"]
    vector = np.array(face["embedding"]["vector"])
    image = picture(ASTRONAUT)
    [expected] = ours().embed(ours().align(image, full_square().detect(image)))
    assert float(vector @ expected / (np.linalg.norm(vector) * np.linalg.norm(expected))) >= 0.9999
    assert verified["result"]["verified"] is True
    assert (liveness["status"], liveness["error"]["code"]) == ("failed", "liveness_unavailable")
