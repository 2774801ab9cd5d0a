"""Measure the engine without a service: compared with FaceAnalysis, with its bare models, and with a large photo."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Final

from bench import targets
from bench.contender import Contender, Kind
from bench.length import Length
from bench.report import Report
from bench.statistic import ratio

PICTURES: Final = ("t1", "one")
RAW_THREADS: Final = "raw limit, threads"
RAW_PROCESSES: Final = "raw limit, processes"
STAGES: Final = ("decode", "detect", "align", "embed")
MODELS: Final = ("models alone", "detector alone", "recogniser alone")


class EngineFigures:
    """The contenders of one run, each in its own process."""

    def __init__(self, report: Report, *, length: Length, cores: int, running: ExitStack) -> None:
        self._report, self._length, self._cores = report, length, cores

        def contender(kind: Kind) -> Contender:
            return running.enter_context(Contender(kind, first=length.first))

        self._ours, self._theirs = contender("ours"), contender("face_analysis")
        self._defaults = contender("face_analysis_defaults")
        self._openvino = contender("ours_openvino") if find_spec("openvino") else None
        self._bare = [contender("bare") for _ in range(cores)]

    def one_thread(self) -> None:
        """Compare CPU times for the same decoded picture, with one thread per model on both sides."""
        for picture in PICTURES:
            self._one_thread(picture)

    def _one_thread(self, picture: str) -> None:
        works = {"FaceAnalysis.get": (self._theirs, "FaceAnalysis.get"), "engine": (self._ours, "engine")}
        if self._openvino is not None:
            works["engine with OpenVINO"] = (self._openvino, "engine")
        works |= {piece: (self._bare[0], piece) for piece in MODELS} | {piece: (self._ours, piece) for piece in STAGES}
        spent: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(self._length.loops):
            for name, (contender, piece) in works.items():
                spent[name].append(1000 * contender.once(piece, picture))
        for name, samples in spent.items():
            self._report.note(f"{name}, one thread", picture, samples, unit="CPU ms")
        self._report.put(targets.FACE_ANALYSIS, picture, ratio(spent["FaceAnalysis.get"], spent["engine"]))

    def all_cores(self) -> None:
        """Run the bare models in threads and in processes; the better rate is the raw limit."""
        for picture in PICTURES:
            self._all_cores(picture)

    def _all_cores(self, picture: str) -> None:
        raw: dict[str, list[float]] = {RAW_THREADS: [], RAW_PROCESSES: []}
        engine, alone = [], []
        for _ in range(self._length.rounds):
            raw[RAW_THREADS].append(self.raw_rate(picture, way=RAW_THREADS)[0])
            engine.append(self._rate([self._ours], "engine", picture, threads=self._cores)[0])
            raw[RAW_PROCESSES].append(self.raw_rate(picture, way=RAW_PROCESSES)[0])
            alone.append(self._rate([self._defaults], "FaceAnalysis.get", picture, threads=1)[0])
        for name, samples in raw.items():
            self._report.note(f"{name}, all cores", picture, samples, unit="pictures/s")
        self._report.note("engine, all cores", picture, engine, unit="pictures/s")
        self._report.note("FaceAnalysis.get in a loop, default options", picture, alone, unit="pictures/s")
        best = max(raw.values(), key=statistics.median)
        self._report.put(targets.RAW_LIMIT, picture, ratio(engine, best))

    def raw_way(self, picture: str) -> str:
        """Return the faster way of running the bare models, as measured by `all_cores`."""
        return max(
            (RAW_THREADS, RAW_PROCESSES), key=lambda way: self._report.median(f"{way}, all cores", picture) or 0.0
        )

    def raw_rate(self, picture: str, *, way: str) -> tuple[float, float]:
        """Return the pictures per second of the bare models on all cores, and the CPU milliseconds per picture."""
        if way == RAW_THREADS:
            return self._rate(self._bare[:1], "models alone", picture, threads=self._cores)
        return self._rate(self._bare, "models alone", picture, threads=1)

    def _rate(self, contenders: Sequence[Contender], piece: str, picture: str, *, threads: int) -> tuple[float, float]:
        for contender in contenders:  # warmed one after another, measured together
            contender.once(piece, picture)
        for contender in contenders:
            contender.ask(piece, picture, threads=threads, seconds=self._length.window)
        outcomes = [contender.answer() for contender in contenders]
        cpu_seconds = sum(outcome["cpu"] for outcome in outcomes) / sum(outcome["count"] for outcome in outcomes)
        return sum(outcome["rate"] for outcome in outcomes), 1000 * cpu_seconds

    def large_photo(self) -> None:
        """Compare an `embed` job (with decoding, without the stores) of the same scene at 12 megapixels and at 1."""
        names = {size: f"one, {size} MP" for size in (12, 1)}
        spent: dict[int, list[float]] = {size: [] for size in names}
        for _ in range(self._length.loops):
            for size, picture in names.items():
                spent[size].append(1000 * self._ours.once("job", picture))
        for size, samples in spent.items():
            self._report.note(f"embed job at {size} megapixels, one thread", "one", samples, unit="CPU ms")
        self._report.put(targets.LARGE, "one", ratio(spent[12], spent[1]))
