"""Centroids of unrecognizable faces: measured on portraits at hand, the same every time, and loaded by the engine."""

import base64
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from tests.unit.worker.engine import tiny_pack
from worker.engine import centroids, portraits
from worker.engine.base import Crops, Vectors
from worker.engine.centroids import FAMILIES
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.packs import manifests, measurements, prepare
from worker.packs.measurements import Measurement
from worker.packs.recognisability import Measure

COMPACT = "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581"


def embed(crops: Crops) -> Vectors:
    """A crop as 48 numbers: its thumbnail, and a part that every dark crop has."""
    small = crops[:, ::28, ::28].reshape(len(crops), -1).astype(np.float32)
    small[:, 0] = np.where(small.mean(axis=1) < 20, 500.0, 0.0)
    return small


def directions(measure: Measure) -> np.ndarray:
    return np.array(measure.centroids)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_pack.write_pack(tmp_path)
    return tmp_path / "tiny"


def test_the_astronaut_is_always_at_hand() -> None:
    sources, faces = portraits.at_hand()
    assert (len(sources), len(faces)) == (1, 1)
    assert faces[0].image.shape[2] == 3
    x1, y1, x2, y2 = faces[0].face.box
    assert all(x1 < x < x2 and y1 < y < y2 for x, y in faces[0].face.landmarks)


def test_archives_without_the_pictures_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "scrfd-0.3.0.tar.gz").write_bytes(b"no archive")
    assert portraits.at_hand(tmp_path)[0] == portraits.at_hand()[0]


def test_directions_exclude_what_the_portraits_have_in_common() -> None:
    _, faces = portraits.at_hand()
    found = centroids.centroids(faces, embed, tuple(FAMILIES))
    rows = {name: np.frombuffer(base64.b64decode(text), np.int8) for name, text in found.items()}
    assert set(rows) == set(FAMILIES)
    assert {len(row) for row in rows.values()} == {48}
    assert rows["dark"][0] == 127
    clean = embed(np.concatenate([centroids._crop(face, None) for face in faces]))[0]
    cosines = [row @ clean / np.linalg.norm(row.astype(float)) / np.linalg.norm(clean) for row in rows.values()]
    assert np.abs(cosines).max() < 0.05


def test_damage_that_changes_nothing_has_no_direction() -> None:
    _, faces = portraits.at_hand()
    assert centroids.centroids(faces, lambda crops: np.ones((len(crops), 4), np.float32), ("dark", "blur")) == {}


def test_the_same_model_gives_the_same_bytes(folder: Path) -> None:
    manifest = manifests.read(folder / manifests.MANIFEST)
    one, two = (centroids.measured(folder, manifest) for _ in range(2))
    assert isinstance(one, Measurement)
    assert one == two
    assert (one.portraits, one.min_length) == (1, None)
    assert set(one.centroids) == set(FAMILIES) - {"mouth", "eyes", "negative"}  # the model is linear


def test_a_prepared_pack_has_a_measure_and_an_unprepared_one_says_so(folder: Path) -> None:
    with capture_logs() as logs:
        bare = InsightEngine(folder.parent, pack="tiny", device=Device()).info.recognisability
    assert "pack.unmeasured" in {entry["event"] for entry in logs}
    assert (bare.centroids, bare.max_roll) == ((), 40.0)
    said: list[str] = []
    prepare.prepare(folder, manifests.read(folder / manifests.MANIFEST), say=said.append, measure=centroids.measured)
    assert "measured recognisability with 1 portrait" in said[-1]
    with capture_logs() as logs:
        measure = InsightEngine(folder.parent, pack="tiny", device=Device()).info.recognisability
    assert "pack.unmeasured" not in {entry["event"] for entry in logs}
    assert directions(measure).shape == (7, tiny_pack.DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(directions(measure), axis=1), 1.0)


def test_a_measurement_of_another_model_is_not_used(folder: Path) -> None:
    prepare.prepare(folder, manifests.read(folder / manifests.MANIFEST), say=lambda _: None, measure=centroids.measured)
    record = folder / prepare.FOLDER / prepare.RECORD
    read = prepare.Record.model_validate_json(record.read_bytes())
    assert read.recognisability is not None
    other = read.recognisability.model_copy(update={"recogniser": "0" * 64})
    record.write_text(read.model_copy(update={"recognisability": other}).model_dump_json())
    recogniser = manifests.read(folder / manifests.MANIFEST).recogniser.sha256
    assert prepare.recognisability(folder, recogniser).centroids == ()


def test_limits_of_the_manifest_go_before_the_measured_ones(folder: Path) -> None:
    manifest = manifests.read(folder / manifests.MANIFEST)
    own = manifests.RecognisabilityLimits(max_similarity=0.2, min_length=5.0)
    prepare.prepare(folder, manifest, say=lambda _: None, measure=centroids.measured)
    measure = prepare.recognisability(folder, manifest.recogniser.sha256, limits=own)
    assert (measure.max_similarity, measure.min_length, measure.max_roll) == (0.2, 5.0, 40.0)


def test_a_model_that_returns_non_finite_numbers_is_not_measured(tmp_path: Path) -> None:
    manifest = tiny_pack.write_pack(tmp_path, poisoned="recognition")
    assert "not finite" in str(centroids.measured(tmp_path / "tiny", manifest))


def test_the_recogniser_of_compact_comes_measured() -> None:
    result = measurements.known(COMPACT)
    assert result is not None
    assert (result.recogniser, result.portraits, result.min_length) == (COMPACT, 31, 2.3)
    assert directions(result.measure()).shape == (10, 512)
    assert measurements.known("0" * 64) is None
