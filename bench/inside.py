"""What the engine costs in this process: bare models, FaceAnalysis, this engine, and its stages."""

import contextlib
import io
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
from insightface.app import FaceAnalysis
from numpy.typing import NDArray

from bench.pictures import Picture
from worker.engine import insight
from worker.engine.base import Image
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.engine.sessions import Session, open_session

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a model as the engine made it: the graph's file and what it was fed."""

    path: Path
    blob: NDArray[np.float32]


class Recorder:
    """A session that keeps what it is fed."""

    def __init__(self, path: Path, session: Session, runs: list[Run]) -> None:
        self._path, self._session, self._runs = path, session, runs
        self.name, self.provider = session.name, session.provider
        self.input_shape, self.outputs = session.input_shape, session.outputs

    def run(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Keep the blob, and run it."""
        self._runs.append(Run(self._path, blob.copy()))
        return self._session.run(blob)


def embedded(engine: InsightEngine, image: Image) -> NDArray[np.float32]:
    """What an `embed` job asks of the engine for a decoded image."""
    return engine.embed(engine.align(image, engine.detect(image)))


def runs_of(models_dir: Path, picture: Picture) -> list[Run]:
    """Every run of a model that the engine makes for a picture."""
    runs: list[Run] = []
    with patch.object(insight, "open_session", lambda path, device: Recorder(path, open_session(path, device), runs)):
        engine = InsightEngine(models_dir, pack="compact", device=Device())
    runs.clear()
    embedded(engine, picture.pixels)
    return runs


def bare(runs: list[Run]) -> Work:
    """The same graphs fed the same numbers, and nothing else: onnxruntime with the options that are best here."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    sessions = {
        path: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for path in {run.path for run in runs}
    }
    feeds = [(sessions[run.path], {sessions[run.path].get_inputs()[0].name: run.blob}) for run in runs]

    def work() -> None:
        for session, feed in feeds:
            session.run(None, feed)

    return work


def face_analysis(models: Path) -> Any:
    """Insightface's own pipeline over the original files, with one thread for each session as ours has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = FaceAnalysis(
            name=str(models.absolute()),
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
            sess_options=options,
        )
        theirs.prepare(ctx_id=-1, det_size=(640, 640))
    return theirs


def cpu_seconds(works: Mapping[str, Work], *, rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each piece of work, one thread, in turn: A B A B ..."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            begin = time.process_time()
            work()
            spent[name].append(time.process_time() - begin)
    return spent


def rates(works: Mapping[str, Work], *, threads: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Pieces of work per second on this many threads, in turn: A B A B ..."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(_rate(work, threads=threads, seconds=seconds))
    return found


def _rate(work: Work, *, threads: int, seconds: float) -> float:
    ends: list[float] = []
    counts = [0] * threads
    begin = time.perf_counter()

    def loop(number: int) -> None:
        while time.perf_counter() - begin < seconds:
            work()
            counts[number] += 1
        ends.append(time.perf_counter())

    pool = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return sum(counts) / (statistics.fmean(ends) - begin)
