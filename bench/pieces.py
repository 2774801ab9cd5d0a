"""The pieces of work that are compared in process: this engine, its stages, a whole job, and the bare models."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.pictures import Picture
from shared.operations import EmbedParams, Operation
from tools.setup import models_dir
from worker import operations
from worker.analysis import Stopwatch
from worker.engine import insight
from worker.engine.base import Engine, Image
from worker.engine.devices import Device
from worker.engine.load import load_engine
from worker.engine.session import Session
from worker.engine.sessions import open_session
from worker.images import decode, min_long_side_for
from worker.settings import WorkerSettings

Work = Callable[[], object]
Pieces = Callable[[Picture], Mapping[str, Work]]


def settings() -> WorkerSettings:
    """Return the worker's settings: those of the environment, with the folder in which `make` keeps the packs."""
    return WorkerSettings(models_dir=models_dir(), pack=os.environ.get("VULTUS_PACK", "compact"))


@dataclass(frozen=True, slots=True)
class Run:
    """One model run of the engine: the graph's file, the device and the input."""

    path: Path
    device: Device
    blob: NDArray[np.float32]


class Recorder:
    """A session that records its inputs."""

    def __init__(self, path: Path, device: Device, runs: list[Run]) -> None:
        self._path, self._device, self._runs = path, device, runs
        self._session = open_session(path, device)
        self.name, self.provider = self._session.name, self._session.provider
        self.input_shape, self.outputs = self._session.input_shape, self._session.outputs

    def run(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Record the blob and run the model."""
        self._runs.append(Run(self._path, self._device, blob.copy()))
        return self._session.run(blob)


def ours(provider: Literal["openvino"] | None = None) -> Pieces:
    """Load this engine as a worker does: the whole `embed`, its stages, and a job without the stores."""
    engine = load_engine(settings().model_copy(update={"provider": provider} if provider else {}))
    most = settings().max_pixels

    def job(picture: Picture) -> object:
        params = EmbedParams()
        pixels = decode(picture.data, max_pixels=most, min_long_side=operations.min_long_side(params, engine.info))
        work = operations.Work(engine=engine, clock=Stopwatch(), image=pixels, reference=None)
        return operations.run(Operation.EMBED, params, work).model_dump(mode="json")

    def pieces(picture: Picture) -> dict[str, Work]:
        image = picture.pixels
        faces = engine.detect(image)
        crops = engine.align(image, faces)
        return {
            "engine": partial(_embedded, engine, image),
            "decode": partial(
                decode, picture.data, max_pixels=most, min_long_side=min_long_side_for([engine.info.largest_side])
            ),
            "detect": partial(engine.detect, image),
            "align": partial(engine.align, image, faces),
            "embed": partial(engine.embed, crops),
            "job": partial(job, picture),
        }

    return pieces


def bare() -> Pieces:
    """Run the graphs of the engine with the same inputs in onnxruntime alone."""
    runs: list[Run] = []

    def recording(path: Path, device: Device) -> Session:
        return Recorder(path, device, runs)

    with patch.object(insight, "open_session", recording):
        engine = load_engine(settings())
    sessions = {run.path: _session(run.path, run.device.providers) for run in runs}

    def pieces(picture: Picture) -> dict[str, Work]:
        runs.clear()
        faces = engine.detect(picture.pixels)
        detecting = len(runs)
        engine.embed(engine.align(picture.pixels, faces))
        feeds = [(sessions[run.path], {sessions[run.path].get_inputs()[0].name: run.blob}) for run in runs]
        return {
            "models alone": partial(_fed, feeds),
            "detector alone": partial(_fed, feeds[:detecting]),
            "recogniser alone": partial(_fed, feeds[detecting:]),
        }

    return pieces


def _embedded(engine: Engine, image: Image) -> object:
    return engine.embed(engine.align(image, engine.detect(image)))


def _fed(feeds: list[tuple[Any, dict[str, Any]]]) -> None:
    for session, feed in feeds:
        session.run(None, feed)


def _session(path: Path, providers: list[Any]) -> Any:
    return onnxruntime.InferenceSession(str(path), one_thread(), providers=providers)


def one_thread() -> Any:
    """Return onnxruntime options that use one core per run, as the engine does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
