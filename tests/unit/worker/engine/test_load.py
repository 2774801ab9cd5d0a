"""The engine that the settings ask for."""

from pathlib import Path

import cv2
import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine.fake import FakeEngine
from worker.engine.insight import InsightEngine
from worker.engine.load import load_engine
from worker.settings import WorkerSettings


def test_the_fake_engine_is_a_supported_mode() -> None:
    assert isinstance(load_engine(WorkerSettings(engine="fake")), FakeEngine)


def test_the_real_engine_takes_pack_and_folder_from_the_settings(tmp_path: Path) -> None:
    write_pack(tmp_path, name="mine")
    engine = load_engine(WorkerSettings(engine="insightface", pack="mine", models_dir=tmp_path, provider="cpu"))
    assert isinstance(engine, InsightEngine)
    assert engine.info.pack == "mine"


def test_opencv_keeps_to_one_thread() -> None:
    cv2.setNumThreads(2)
    load_engine(WorkerSettings(engine="fake"))
    assert cv2.getNumThreads() == 1


def test_a_pack_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not installed"):
        load_engine(WorkerSettings(engine="insightface", pack="buffalo_l", models_dir=tmp_path))
