"""A prepared graph is loaded only if it proved equal, is intact, and belongs to the file; otherwise the original is."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from tests.unit.worker.engine.toy_graphs import detector, noise, operators, prelu, run
from worker.packs import graphs, manifests, prepare, rewriting
from worker.packs.manifests import Manifest, PackFile
from worker.packs.prepare import FOLDER, RECORD, prepared, unprepared
from worker.packs.proof import Original, RejectedError
from worker.packs.rewriting import Rewritten, rewritten

SLOPES = np.linspace(-0.5, 1.5, 8, dtype=np.float32).reshape(8, 1, 1)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A pack with a fixed-size detector with older heads and a recogniser with PRelu."""
    tiny = write_pack(tmp_path, liveness=False)
    files = []
    for file, model in zip(tiny.files, (detector(interleaved=True), prelu(SLOPES)), strict=True):
        path = tmp_path / "tiny" / file.name
        onnx.save(model, path)
        files.append(file.model_copy(update={"sha256": manifests.sha256_of(path)}))
    changed = tiny.model_copy(update={"files": tuple(files)})
    (tmp_path / "tiny" / manifests.MANIFEST).write_text(changed.model_dump_json())
    return changed


@pytest.fixture
def folder(tmp_path: Path, manifest: Manifest) -> Path:
    return tmp_path / manifest.name


def chosen(folder: Path, manifest: Manifest, *, provider: str = prepare.CPU) -> list[str]:
    return [str(prepared(folder, file, provider=provider).relative_to(folder)) for file in manifest.files]


ORIGINALS = ["detection.onnx", "recognition.onnx"]


def test_a_prepared_pack_gives_each_provider_its_graph(folder: Path, manifest: Manifest) -> None:
    said: list[str] = []
    assert chosen(folder, manifest) == ORIGINALS
    prepare.prepare(folder, manifest, say=said.append)
    assert chosen(folder, manifest) == ["prepared/detection.onnx", "prepared/recognition.cpu.onnx"]
    assert chosen(folder, manifest, provider="CUDAExecutionProvider") == [
        "prepared/detection.onnx",
        "prepared/recognition.onnx",
    ]
    assert unprepared(folder, manifest) == []
    assert len(said) == 1
    assert said[0].startswith("tiny: prepared 2 of 2 models, outputs within ")


def test_the_record_lists_the_steps_and_their_accuracy(folder: Path, manifest: Manifest) -> None:
    record = prepare.prepare(folder, manifest, say=print)
    graph = record.files["recognition.onnx"].cpu
    assert graph is not None
    assert graph.steps == ("any batch", "convolved PRelu")
    assert graph.cosine >= 0.99999
    assert graph.difference <= 1e-4
    assert "PRelu" not in operators(onnx.load(folder / FOLDER / graph.name))
    assert json.loads((folder / FOLDER / RECORD).read_text()) == record.model_dump(mode="json")


def test_the_same_models_give_the_same_bytes(folder: Path, manifest: Manifest) -> None:
    def made() -> dict[str, bytes]:
        prepare.prepare(folder, manifest, say=print)
        return {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()}

    assert made() == made()


@pytest.mark.parametrize(
    "harm",
    [
        lambda target: (target / "recognition.cpu.onnx").write_bytes(b"torn"),
        lambda target: (target / "recognition.cpu.onnx").unlink(),
        lambda target: (target / RECORD).write_text('{"format": 1'),
        lambda target: (target / RECORD).write_text(
            (target / RECORD).read_text().replace(f'"version": {prepare.VERSION}', '"version": 0')
        ),
        lambda target: (target / RECORD).unlink(),
    ],
    ids=["torn graph", "no graph", "torn record", "older version", "no record"],
)
def test_a_stale_or_damaged_graph_is_not_loaded_and_is_recreated(
    folder: Path, manifest: Manifest, harm: object
) -> None:
    prepare.prepare(folder, manifest, say=print)
    assert callable(harm)
    harm(folder / FOLDER)
    assert chosen(folder, manifest)[1] == "recognition.onnx"
    assert "recognition.onnx" in unprepared(folder, manifest)
    prepare.prepare(folder, manifest, say=print)
    assert chosen(folder, manifest)[1] == "prepared/recognition.cpu.onnx"


def test_a_graph_made_of_another_model_is_not_loaded(folder: Path, manifest: Manifest) -> None:
    prepare.prepare(folder, manifest, say=print)
    other = manifest.files[1].model_copy(update={"sha256": "0" * 64})
    assert prepared(folder, other) == folder / "recognition.onnx"


def test_a_killed_run_leaves_a_pack_with_its_original_graphs(
    folder: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def killed_at_the_record(path: Path, target: Path) -> Path:
        if Path(target).name == RECORD:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", killed_at_the_record)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(folder, manifest, say=print)
    monkeypatch.setattr(Path, "replace", real)
    assert (folder / FOLDER / "detection.onnx").is_file()
    assert chosen(folder, manifest) == ORIGINALS
    prepare.prepare(folder, manifest, say=print)
    assert chosen(folder, manifest) != ORIGINALS
    assert [path.name for path in (folder / FOLDER).iterdir() if path.name.startswith(".")] == []


def test_an_unusable_folder_is_reported_and_the_originals_are_loaded(folder: Path, manifest: Manifest) -> None:
    (folder / FOLDER).write_text("a file in the way")
    with pytest.raises(SettingsError, match="tiny was not prepared and runs with its original graphs"):
        prepare.prepare(folder, manifest, say=print)
    (folder / FOLDER).unlink()
    assert chosen(folder, manifest) == ORIGINALS


def with_other_weights(model: ModelProto) -> ModelProto:
    """A rewrite with an error of one hundredth in one value."""
    made = ModelProto()
    made.CopyFrom(model)
    weights = numpy_helper.to_array(made.graph.initializer[0]).copy()
    weights.flat[0] += 0.01 * np.abs(weights).max()
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, made.graph.initializer[0].name))
    return made


def without_output(model: ModelProto) -> ModelProto:
    """A rewrite that does not return a valid graph."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[-1]
    return made


def stumbling(model: ModelProto) -> ModelProto:
    """A rewrite that raises on unexpected input."""
    raise IndexError(model.graph.name)


@pytest.mark.parametrize("wrong", [with_other_weights, without_output, stumbling])
def test_a_wrong_rewrite_is_skipped_and_the_next_one_is_tried(
    wrong: graphs.Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prelu(SLOPES)
    monkeypatch.setitem(rewriting.REWRITES, "any batch", wrong)
    made = rewritten(Rewritten(model), ("any batch", "convolved PRelu"), original=Original(model, "arcface-112-rgb"))
    assert made.steps == ("convolved PRelu",)
    assert list(made.rejected) == ["any batch"]
    np.testing.assert_allclose(run(made.model, batch := noise(1, 3, 16, 16))[0], run(model, batch)[0], atol=1e-5)


def test_a_wrong_rewrite_is_reported_and_the_original_is_loaded(
    folder: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in rewriting.REWRITES:
        monkeypatch.setitem(rewriting.REWRITES, step, with_other_weights)
    said: list[str] = []
    prepare.prepare(folder, manifest, say=said.append)
    assert chosen(folder, manifest) == ORIGINALS
    assert any("recognition.onnx stays without 'any batch': output 0 differs: cosine" in line for line in said)
    assert unprepared(folder, manifest) == []


def test_a_batch_whose_pictures_mix_is_rejected() -> None:
    """An older head with only its input axis freed runs with any batch, but interleaves the rows of all pictures."""
    model = detector(interleaved=True, side=64)
    freed = ModelProto()
    freed.CopyFrom(detector(interleaved=True, side="side"))
    freed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    weights = {value.name: value for value in model.graph.initializer}
    for value in freed.graph.initializer:
        value.CopyFrom(weights.get(value.name, value))
    with pytest.raises(RejectedError, match="output 0 differs"):
        Original(model, "scrfd-5").agreement(freed)


def test_a_model_that_returns_nan_is_left_unchanged(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path, name="poisoned", poisoned="recognition")
    record = prepare.prepare(tmp_path / "poisoned", manifest, say=print)
    assert record.files["recognition.onnx"].free is None


def test_a_file_that_is_not_a_model_is_left_unchanged(tmp_path: Path) -> None:
    manifest = write_pack(tmp_path)
    (tmp_path / "tiny" / "detection.onnx").write_bytes(b"no model at all")
    said: list[str] = []
    prepare.prepare(tmp_path / "tiny", manifest, say=said.append)
    assert said[0].startswith("tiny: detection.onnx stays without 'any step'")


def test_a_file_without_a_role_is_not_prepared(folder: Path, manifest: Manifest) -> None:
    (folder / "notes.onnx").write_bytes(b"kept, not loaded")
    kept = PackFile(name="notes.onnx", sha256=manifests.sha256_of(folder / "notes.onnx"))
    record = prepare.prepare(folder, manifest.model_copy(update={"files": (*manifest.files, kept)}), say=print)
    assert list(record.files) == ORIGINALS
