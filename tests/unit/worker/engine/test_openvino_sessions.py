"""OpenVINO says what onnxruntime says, from every thread, and in no other precision than the one asked for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine.devices import OPENVINO, Device, choose_device
from worker.engine.insight import InsightEngine
from worker.engine.sessions import open_session
from worker.execution.threads import usable_cores

openvino = pytest.importorskip("openvino", reason="OpenVINO is an optional dependency")

SHAPES = {"detection": (1, 3, 640, 640), "recognition": (1, 3, 112, 112), "liveness": (1, 3, 128, 128)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_pack(folder)
    write_pack(folder, name="free", flexible=True)
    return folder


def noise(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("role", SHAPES)
def test_it_says_what_onnxruntime_says(models: Path, role: str) -> None:
    plain, other = (
        open_session(models / "tiny" / f"{role}.onnx", device) for device in (Device(), choose_device("openvino"))
    )
    assert (other.name, other.provider) == (f"{role}.onnx", OPENVINO)
    assert (other.input_shape, other.outputs) == (plain.input_shape, plain.outputs)
    blob = noise(SHAPES[role], 3)
    for ours, theirs in zip(other.run(blob), plain.run(blob), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_free_axes_have_no_length_and_take_any(models: Path) -> None:
    detector, recogniser = (
        open_session(models / "free" / f"{role}.onnx", choose_device("openvino"))
        for role in ("detection", "recognition")
    )
    assert detector.input_shape == (1, 3, None, None)
    assert recogniser.input_shape == (None, 3, 112, 112)
    plain = open_session(models / "free" / "recognition.onnx", Device())
    for count in (1, 5, 2):
        blob = noise((count, 3, 112, 112), count)
        np.testing.assert_allclose(recogniser.run(blob)[0], plain.run(blob)[0], atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 3])
def test_threads_get_what_a_single_one_gets(models: Path, at_once: int) -> None:
    """Each with its own picture, more threads than runs at once; answers are kept, not overwritten by the next run."""
    session = open_session(models / "tiny" / "recognition.onnx", choose_device("openvino", at_once=at_once))
    blobs = [noise(SHAPES["recognition"], seed) for seed in range(24)]
    alone = [session.run(blob)[0] for blob in blobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(session.run, blobs * 3))
    for number, [answer] in enumerate(together):
        np.testing.assert_array_equal(answer, alone[number % len(blobs)])


@pytest.mark.skipif(usable_cores() < 2, reason="a single core runs one job at a time")
def test_jobs_do_not_wait_for_each_other_at_a_model(models: Path) -> None:
    session = open_session(models / "tiny" / "recognition.onnx", choose_device("openvino", at_once=2))
    assert session._model.get_property("NUM_STREAMS") == 2  # type: ignore[attr-defined]


def test_it_computes_in_f32_unless_told_otherwise(models: Path) -> None:
    session = open_session(models / "tiny" / "recognition.onnx", choose_device("openvino"))
    assert session._model.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32  # type: ignore[attr-defined]


def has_bf16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16")
def test_bf16_is_another_contract(models: Path) -> None:
    plain, other = (
        InsightEngine(models, pack="tiny", device=choose_device("openvino", precision=precision))
        for precision in ("f32", "bf16")
    )
    assert plain.info.contract == InsightEngine(models, pack="tiny", device=Device()).info.contract
    assert other.info.contract != plain.info.contract
    crops = np.random.default_rng(9).integers(0, 256, (2, 112, 112, 3), np.uint8)
    assert not np.array_equal(plain.embed(crops), other.embed(crops))


def test_a_processor_without_bf16_does_not_pass_for_one_with_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO would compute in f32 silently, and the results would carry the contract of bf16."""
    compile_model = openvino.Core.compile_model

    def without(core: Any, path: str, device: str, options: dict[str, Any]) -> Any:
        return compile_model(core, path, device, {**options, "INFERENCE_PRECISION_HINT": openvino.Type.f32})

    monkeypatch.setattr(openvino.Core, "compile_model", without)
    with pytest.raises(SettingsError, match="VULTUS_PRECISION=bf16, but this processor does not support it") as error:
        open_session(models / "tiny" / "recognition.onnx", choose_device("openvino", precision="bf16"))
    assert "\n" not in str(error.value)
