"""The engine that the settings ask for."""

from pathlib import Path

import cv2
import onnxruntime
import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine.devices import Device
from worker.engine.fake import FakeEngine
from worker.engine.insight import InsightEngine
from worker.engine.library import LibraryEngine
from worker.engine.load import load_engine
from worker.settings import WorkerSettings


def test_the_fake_engine_is_a_supported_mode() -> None:
    assert isinstance(load_engine(WorkerSettings(engine="fake")), FakeEngine)


def test_the_real_engine_takes_pack_and_folder_from_the_settings(tmp_path: Path) -> None:
    write_pack(tmp_path, name="mine")
    engine = load_engine(WorkerSettings(engine="vultus", pack="mine", models_dir=tmp_path, provider="cpu"))
    assert isinstance(engine, InsightEngine)
    assert engine.info.pack == "mine"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_library_is_an_engine_of_its_own(tmp_path: Path) -> None:
    write_pack(tmp_path, name="mine")
    engine = load_engine(WorkerSettings(engine="insightface", pack="mine", models_dir=tmp_path, provider="cpu"))
    assert isinstance(engine, LibraryEngine)
    assert engine.info.pack == "mine"


def test_opencv_keeps_to_one_thread() -> None:
    cv2.setNumThreads(2)
    load_engine(WorkerSettings(engine="fake"))
    assert cv2.getNumThreads() == 1


def test_a_pack_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not installed"):
        load_engine(WorkerSettings(engine="vultus", pack="buffalo_l", models_dir=tmp_path))


def test_a_device_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    write_pack(tmp_path)
    with pytest.raises(SettingsError, match="VULTUS_PROVIDER=cuda, but"):
        load_engine(WorkerSettings(pack="tiny", models_dir=tmp_path, provider="cuda"))


def test_the_device_is_the_one_that_the_settings_describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Device] = []

    class Noted(InsightEngine):
        def __init__(self, models_dir: Path, *, pack: str, device: Device) -> None:
            seen.append(device)
            super().__init__(models_dir, pack=pack, device=device)

    monkeypatch.setattr("worker.engine.insight.InsightEngine", Noted)
    write_pack(tmp_path)
    pytest.importorskip("openvino", reason="OpenVINO is an optional dependency")
    load_engine(
        WorkerSettings(
            pack="tiny",
            models_dir=tmp_path,
            provider="openvino",
            intra_op_threads=2,
            worker_threads=3,
            micro_batch="on",
        )
    )
    assert seen == [Device(provider="OpenVINO", threads=2, at_once=3, batching=True)]
