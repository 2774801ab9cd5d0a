"""`make bench`: one run of every measurement, one report.

All comparisons are interleaved (A B A B ...) within the run, so that a machine whose speed drifts does not decide them.
"""

import argparse
import importlib.metadata
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2

from bench import client, inside, outside, pictures
from bench.pictures import Picture
from bench.report import Report, percentile
from tools.setup import ROOT, models_dir
from tools.stack import Stack
from worker.engine.devices import Device
from worker.engine.insight import InsightEngine
from worker.images import decode, enough_for
from worker.threads import usable_cores

RESULTS: Final = ROOT / "bench" / "results"
MAX_PIXELS: Final = 40_000_000


@dataclass(frozen=True, slots=True)
class Length:
    """How long each part measures."""

    rounds: int
    """Turns of each comparison."""
    loops: int
    """Single jobs in process, per turn of a comparison."""
    window: float
    """Seconds of a window in process."""
    load: float
    """Seconds of a window through HTTP."""
    warm: float
    """Seconds before such a window that do not count."""
    clients: int
    """Clients that saturate a service."""
    probes: int
    jobs: int
    """Jobs of the memory run."""


FULL: Final = Length(rounds=3, loops=30, window=5.0, load=12.0, warm=6.0, clients=64, probes=200, jobs=2000)
QUICK: Final = Length(rounds=1, loops=2, window=0.4, load=1.5, warm=1.0, clients=3, probes=10, jobs=40)


def main() -> int:
    """Measure, write the report, say where it is."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it works, no more")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    length = QUICK if options.quick else FULL
    begin = time.monotonic()
    bench = Bench(length)
    for name, part in bench.parts.items():
        say(f"{name} ...")
        part()
    bench.report.about["took"] = f"{time.monotonic() - begin:.0f} s"
    written = bench.report.write(options.out, datetime.now(tz=UTC).date().isoformat())
    print("\n" + bench.report.markdown())
    print("written: " + ", ".join(str(path) for path in written))
    return 0


def say(line: str) -> None:
    """Tell where the run is."""
    print(f"[{datetime.now(tz=UTC):%H:%M:%S}] {line}", flush=True)


class Bench:
    """One run: its pictures, its engine and what it found."""

    def __init__(self, length: Length) -> None:
        self.length = length
        self.models = models_dir()
        self.group, self.portrait = pictures.group(), pictures.portrait()
        self.cores = usable_cores()
        self.raw_rate: dict[str, list[float]] = {}
        self.report = Report(about=self._about())
        self.engine = InsightEngine(self.models, pack="compact", device=Device())
        self.parts: dict[str, Callable[[], None]] = {
            "engine and FaceAnalysis, one thread": self.engine_and_face_analysis,
            "engine and raw limit, all cores": self.engine_and_raw_limit,
            "12 megapixels and 1": self.large_photo,
            "the whole service at saturation": self.saturation,
            "one job when idle": self.idle,
            "accepting": self.accepting,
            "memory": self.memory,
        }

    def _about(self) -> dict[str, Any]:
        versions = {name: importlib.metadata.version(name) for name in ("onnxruntime", "insightface", "celery")}
        return {
            "date": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "command": "make bench" if self.length is FULL else "python -m bench.run --quick",
            "commit": _commit(),
            "machine": f"{self.cores} cores, {_processor()}, Python {platform.python_version()}",
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "pack": "compact",
            "t1": self.group.text,
            "one": self.portrait.text,
        }

    @property
    def both(self) -> tuple[Picture, Picture]:
        """Six faces, and one."""
        return self.group, self.portrait

    def engine_and_face_analysis(self) -> None:
        """(b) and (c): the same decoded picture, one thread for each session on both sides."""
        theirs = inside.face_analysis(self.models / "compact")
        for picture in self.both:
            image = picture.pixels
            faces = self.engine.detect(image)
            crops = self.engine.align(image, faces)
            spent = inside.cpu_seconds(
                {
                    "FaceAnalysis.get": partial(theirs.get, image),
                    "engine": partial(inside.embedded, self.engine, image),
                    "models alone": inside.bare(inside.runs_of(self.models, picture)),
                    "decode": partial(self._decode, picture),
                    "detect": partial(self.engine.detect, image),
                    "align": partial(self.engine.align, image, faces),
                    "embed": partial(self.engine.embed, crops),
                },
                rounds=self.length.loops,
            )
            for name in ("FaceAnalysis.get", "engine"):
                self.report.note(f"{name}, one thread", picture.name, _ms(spent[name]), unit="CPU ms")
            self.report.put("engine in process / FaceAnalysis.get", picture.name,
                            _over(spent["FaceAnalysis.get"], spent["engine"]))  # fmt: skip
            self.report.stages[picture.name] = {
                name: 1000 * statistics.median(spent[name])
                for name in ("decode", "detect", "align", "embed", "engine", "models alone", "FaceAnalysis.get")
            }

    def engine_and_raw_limit(self) -> None:
        """(a) and (c): all cores, the same graphs fed the same numbers."""
        for picture in self.both:
            found = inside.rates(
                {
                    "raw limit": inside.bare(inside.runs_of(self.models, picture)),
                    "engine": partial(inside.embedded, self.engine, picture.pixels),
                },
                threads=self.cores,
                seconds=self.length.window,
                rounds=self.length.rounds,
            )
            for name, samples in found.items():
                self.report.note(f"{name}, all cores", picture.name, samples, unit="pictures/s")
            self.report.put("engine, all cores / raw limit", picture.name, _over(found["engine"], found["raw limit"]))

    def large_photo(self) -> None:
        """What a job costs, decoding included, for the same scene at 12 megapixels and at 1."""
        works = {
            f"{size:g} MP": partial(self._whole, pictures.scaled(self.portrait, megapixels=size)) for size in (1, 12)
        }
        spent = inside.cpu_seconds(works, rounds=self.length.loops)
        for name, samples in spent.items():
            self.report.note(f"decode, detect, embed at {name}", "one", _ms(samples), unit="CPU ms")
        self.report.put("12-megapixel JPEG / 1-megapixel", "one", _over(spent["12 MP"], spent["1 MP"]))

    def saturation(self) -> None:
        """(d): 64 clients in a closed loop against ours, ours with OpenVINO bf16, and the synchronous service."""
        with ExitStack() as running:
            ours = running.enter_context(outside.vultus(self.models))
            port, _ = running.enter_context(outside.classic(self.models / "compact"))
            services = {"service": ours.port, "synchronous service": port}
            if find_spec("openvino") is not None:
                bf16 = running.enter_context(outside.vultus(self.models, provider="openvino", precision="bf16"))
                services["service with OpenVINO bf16"] = bf16.port
            else:
                row = "whole service with OpenVINO bf16 / synchronous service"
                self.report.skipped[row] = "OpenVINO is not installed"
            for picture in self.both:
                self._saturate(picture, services, ours)

    def _saturate(self, picture: Picture, services: dict[str, int], ours: Stack) -> None:
        bare = inside.bare(inside.runs_of(self.models, picture))
        raw: list[float] = []
        loads: dict[str, list[client.Load]] = {name: [] for name in services}
        spent: list[dict[str, float]] = []
        for _ in range(self.length.rounds):
            raw += inside.rates({"raw": bare}, threads=self.cores, seconds=self.length.window, rounds=1)["raw"]
            for name, port in services.items():
                sent = client.classic(port, picture) if "sync" in name else client.job(port, picture, wait=60)
                before = outside.processor_seconds_of(ours)
                load = client.closed_loop(
                    sent, clients=self.length.clients, warm=self.length.warm, seconds=self.length.load
                )
                if name == "service":
                    after = outside.processor_seconds_of(ours)
                    spent.append({part: 1000 * (after[part] - before[part]) / load.answered for part in after})
                _check(load, picture)
                loads[name].append(load)
        for part in spent[0]:
            samples = [found[part] for found in spent]
            self.report.note(f"of a job at saturation, {part}", picture.name, samples, unit="CPU ms")
        rates = {name: [load.rate for load in found] for name, found in loads.items()}
        p99 = {name: [percentile(load.latencies, 0.99) for load in found] for name, found in loads.items()}
        for name in services:
            self.report.note(f"{name}, {self.length.clients} clients", picture.name, rates[name], unit="pictures/s")
            self.report.note(f"{name}, p99 of {self.length.clients} clients", picture.name, _ms(p99[name]), unit="ms")
        put = partial(self.report.put, column=picture.name)
        theirs = rates["synchronous service"]
        put("whole service at saturation / raw limit", value=_over(rates["service"], raw))
        put("whole service / synchronous service", value=_over(rates["service"], theirs))
        put("p99 at 64 clients / synchronous service", value=_over(p99["service"], p99["synchronous service"]))
        if "service with OpenVINO bf16" in rates:
            row = "whole service with OpenVINO bf16 / synchronous service"
            put(row, value=_over(rates["service with OpenVINO bf16"], theirs))

    def idle(self) -> None:
        """(e): one client, one job at a time, split by stage."""
        with outside.vultus(self.models) as ours:
            for picture in self.both:
                target = client.job(ours.port, picture, wait=60)
                answers = client.one_by_one(target, times=self.length.probes // 4 + 5, pause=0.02)[5:]
                over = [1000 * (seconds - outside.own_seconds(job)) for seconds, job in answers]
                self.report.note("submit to result, idle", picture.name, _ms([s for s, _ in answers]), unit="ms")
                self.report.note("of that, not the engine's", picture.name, over, unit="ms")
                for stage in ("queue_ms", *outside.stages(answers[0][1])):
                    samples = [job["metrics"][stage] for _, job in answers]
                    self.report.note(f"stage {stage.removesuffix('_ms')}, idle", picture.name, samples, unit="ms")
                if picture is self.portrait:
                    row = "submit to result when idle, less the engine's own time (median)"
                    self.report.put(row, "one", statistics.median(over))

    def accepting(self) -> None:
        """(f): the gateway alone, without a worker; then the wait for a 202 while workers are saturated."""
        at_once = partial(client.job, picture=self.portrait, wait=0)
        with outside.vultus(self.models, workers=0, queue_limit="100000") as alone:
            load = client.closed_loop(
                at_once(alone.port), clients=8, warm=self.length.warm / 4, seconds=self.length.load / 2
            )
            self.report.note("accepted by the gateway alone, 8 clients", "one", [load.rate], unit="jobs/s")
            samples = [1000 * percentile(load.latencies, share) for share in (0.5, 0.99)]
            self.report.note("202 of the gateway alone, p50", "one", samples[:1], unit="ms")
            self.report.note("202 of the gateway alone, p99", "one", samples[1:], unit="ms")
        with outside.vultus(self.models, queue_limit="100000") as busy:
            saturating = client.job(busy.port, self.portrait, wait=60)
            waits = client.probed(saturating, at_once(busy.port), clients=16, times=self.length.probes, every=0.05)
            self.report.note("202 while workers are saturated", "one", _ms(waits), unit="ms")
            row = "accepted 202 while workers are saturated (p99)"
            self.report.put(row, "one", 1000 * percentile(waits, 0.99))

    def memory(self) -> None:
        """A fresh worker's memory after a tenth of the jobs and after all of them."""
        with outside.vultus(self.models, worker_threads="2") as ours:
            targets = [client.job(ours.port, picture, wait=60) for picture in pictures.mixed()]
            worker = ours.workers[0].pid
            sizes = [outside.memory_mib(worker)]
            for times in (self.length.jobs // 10, self.length.jobs - self.length.jobs // 10):
                client.in_turn(targets, times=times, clients=4)
                sizes.append(outside.memory_mib(worker))
            for name, size in zip(("at start", "after a tenth", "after all jobs"), sizes, strict=True):
                self.report.note(f"worker memory {name}", "mixed", [size], unit="MiB")
            self.report.put("worker memory after all jobs / after a tenth of them", "mixed", sizes[2] / sizes[1])
            self.report.put("worker memory with two job threads", "mixed", sizes[2])

    def _decode(self, picture: Picture) -> Any:
        return decode(picture.data, max_pixels=MAX_PIXELS, enough=enough_for([self.engine.info.largest_side])).pixels

    def _whole(self, picture: Picture) -> object:
        return inside.embedded(self.engine, self._decode(picture))


def _check(load: client.Load, picture: Picture) -> None:
    """Answers without the work would be fast: every client's last one must hold an embedding for each face."""
    for body in load.bodies:
        if body.count(b'"embedding"') != picture.faces:
            raise client.LoadError(body[:300].decode(errors="replace"))


def _ms(seconds: list[float]) -> list[float]:
    return [1000 * value for value in seconds]


def _over(above: list[float], below: list[float]) -> float:
    return statistics.median(above) / statistics.median(below)


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.strip() + (" with changes" if changed else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
