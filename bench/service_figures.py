"""Measure the service as clients see it: saturation, one job when idle, accepting; and the worker's memory."""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

from bench import client, pictures, process_stats, rivals, targets
from bench.engine_figures import PICTURES, EngineFigures
from bench.length import Length
from bench.pictures import Picture
from bench.report import Report
from bench.statistic import percentile, ratio

OURS, SYNC, BF16 = "service", "synchronous service", "service with OpenVINO bf16"
COARSE_TO_FINE = {"select": "largest", "detection": "coarse_to_fine"}
CELERY, SERVER = "plain Celery service", "model server"


@dataclass(slots=True)
class Rival:
    """A running service and its measurements with one picture."""

    name: str
    target: client.Target
    parts: dict[str, list[int]]
    """Its processes."""
    share: float = 1.0
    """Length of its window relative to a full one."""
    rates: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    spent: dict[str, list[float]] = field(default_factory=dict)
    """CPU milliseconds per request of each process and of the clients."""

    def load(self, picture: Picture, length: Length) -> None:
        """Measure one window."""
        before = process_stats.processor_seconds(self.parts)
        warm, seconds = length.warm * self.share, length.load * self.share
        load = client.window(self.target, clients=length.clients, warm=warm, seconds=seconds)
        after = process_stats.processor_seconds(self.parts)
        for part, milliseconds in process_stats.cpu_ms_per_job(before, after, answered=load.answered).items():
            self.spent.setdefault(part, []).append(milliseconds)
        _check(load, picture)
        self.rates.append(load.rate)
        self.p99.append(1000 * percentile(load.latencies, 0.99))
        self.latencies += (1000 * latency for latency in load.latencies)

    def note(self, report: Report, column: str) -> None:
        """Add the figures to the report."""
        report.note(f"{self.name}, saturated", column, self.rates, unit="pictures/s")
        report.note(f"{self.name}, saturated, p50", column, [percentile(self.latencies, 0.5)], unit="ms")
        report.note(f"{self.name}, saturated, p99", column, self.p99, unit="ms")
        for part, samples in self.spent.items():
            report.note(f"{self.name}, saturated, {part}, of a job", column, samples, unit="CPU ms")


class ServiceFigures:
    """The parts of one run that start services; each part stops the services that it started."""

    def __init__(self, report: Report, *, length: Length, engine: EngineFigures) -> None:
        self._report, self._length, self._engine = report, length, engine
        self._pictures = {name: pictures.named(name) for name in PICTURES}

    def saturation(self) -> None:
        """Saturate this service, its alternatives, and this service with OpenVINO bf16 in a closed loop."""
        with ExitStack() as running:
            ours = running.enter_context(process_stats.vultus())
            others = {
                SYNC: running.enter_context(rivals.synchronous()),
                CELERY: running.enter_context(rivals.plain_celery()),
                SERVER: running.enter_context(rivals.model_server()),
            }
            bf16 = None
            if find_spec("openvino") is None:
                self._report.skipped[targets.BF16] = "skipped: OpenVINO is not installed"
            else:
                bf16 = running.enter_context(process_stats.vultus(provider="openvino", precision="bf16"))
            for column, picture in self._pictures.items():
                job = partial(client.job, picture=picture, wait=60)
                contenders = [Rival(OURS, job(ours.port), process_stats.parts(ours))]
                for name, other in others.items():
                    target = client.classic(other.port, picture)
                    contenders.append(Rival(name, target, other.processes(), share=1.0 if name == SYNC else 0.5))
                if bf16 is not None:
                    contenders.append(Rival(BF16, job(bf16.port), process_stats.parts(bf16), share=0.5))
                one_person = None
                if picture.faces == 1:
                    one_person = Rival(OURS, job(ours.port, params=COARSE_TO_FINE), process_stats.parts(ours))
                self._saturate(column, picture, contenders, one_person)

    def _saturate(
        self, column: str, picture: Picture, contenders: list[Rival], one_person: Rival | None = None
    ) -> None:
        way = self._engine.raw_way(column)
        raw: list[float] = []
        spent: list[float] = []
        for _ in range(self._length.rounds):
            rate, cost = self._engine.raw_rate(column, way=way)
            raw.append(rate)
            spent.append(cost)
            for contender in (*contenders, *([one_person] if one_person else [])):
                contender.load(picture, self._length)
        ours, theirs, celery, server, *bf16 = contenders
        self._compare(column, way, (raw, spent), ours, theirs, celery)
        for contender in (server, *bf16):
            contender.note(self._report, column)
        if bf16:
            self._report.put(targets.BF16, column, ratio(bf16[0].rates, theirs.rates))
        if one_person:
            self._compare(targets.ONE_PERSON, way, (raw, spent), one_person, theirs, celery)

    def _compare(
        self, column: str, way: str, raw: tuple[list[float], list[float]], ours: Rival, theirs: Rival, celery: Rival
    ) -> None:
        rates, spent = raw
        self._report.note(f"{way}, between the services", column, rates, unit="pictures/s")
        self._report.note(f"{way}, between the services, of a picture", column, spent, unit="CPU ms")
        for contender in (ours, theirs, celery):
            contender.note(self._report, column)
        self._report.put(targets.SERVICE_RAW, column, ratio(ours.rates, rates))
        self._report.put(targets.SERVICE_SYNC, column, ratio(ours.rates, theirs.rates))
        self._report.put(targets.SERVICE_CELERY, column, ratio(ours.rates, celery.rates))
        self._report.put(targets.P99, column, ratio(ours.p99, theirs.p99))

    def idle(self) -> None:
        """Measure one client with one job at a time, by stage."""
        with process_stats.vultus() as ours:
            for column, picture in self._pictures.items():
                target = client.job(ours.port, picture, wait=60)
                answers = client.one_by_one(target, times=self._length.probes // 4 + 5, pause=0.02)[5:]
                over = process_stats.besides_engine_ms(answers)
                note = partial(self._report.note, column=column, unit="ms")
                note("idle, submit to result", samples=[1000 * seconds for seconds, _ in answers])
                note("idle, of that not the engine's", samples=over)
                for stage in ("queue_ms", *process_stats.stages(answers[0][1])):
                    name = f"idle, stage {stage.removesuffix('_ms')}"
                    note(name, samples=[job["metrics"][stage] for _, job in answers])
                self._report.put(targets.IDLE, column, statistics.median(over))

    def accepting(self) -> None:
        """Measure the gateway without a worker, then the time to a 202 while workers are saturated."""
        picture = self._pictures["one"]
        at_once = partial(client.job, picture=picture, wait=0)
        note = partial(self._report.note, column="one")
        with process_stats.vultus(workers=0, queue_limit="100000") as alone:
            loads = [
                client.window(at_once(alone.port), clients=8, warm=0.5, seconds=self._length.load / 6)
                for _ in range(self._length.rounds)
            ]
            note("gateway alone, 8 clients, accepted", samples=[load.rate for load in loads], unit="jobs/s")
            for share in (0.5, 0.99):
                samples = [1000 * percentile(load.latencies, share) for load in loads]
                note(f"gateway alone, 8 clients, 202, p{share * 100:.0f}", samples=samples, unit="ms")
        with process_stats.vultus(queue_limit="100000") as busy:
            saturating = client.job(busy.port, picture, wait=60)
            waits = client.probed(
                saturating, at_once(busy.port), clients=self._length.clients, times=self._length.probes, every=0.05
            )
            samples = [1000 * seconds for seconds in waits]
            note("202 while workers are saturated", samples=samples, unit="ms")
            self._report.put(targets.ACCEPTED, "one", percentile(samples, 0.99))

    def memory(self) -> None:
        """Measure the memory of a new worker with two job threads, after a tenth of the jobs and after all."""
        with process_stats.vultus(worker_threads="2") as ours:
            mixed = [client.job(ours.port, picture, wait=60) for picture in pictures.mixed()]
            worker = ours.workers[0].pid
            sizes = [process_stats.memory_mib(worker)]
            for times in (self._length.jobs // 10, self._length.jobs - self._length.jobs // 10):
                client.in_turn(mixed, times=times, clients=4)
                sizes.append(process_stats.memory_mib(worker))
            when = ("at start", f"after {self._length.jobs // 10:,} jobs", f"after {self._length.jobs:,} jobs")
            for name, size in zip(when, sizes, strict=True):
                self._report.note(f"worker memory {name}, resident", "mixed", [size["Rss"]], unit="MiB")
                self._report.note(f"worker memory {name}, shared pages in part", "mixed", [size["Pss"]], unit="MiB")
            self._report.put(targets.GROWTH, "mixed", sizes[2]["Rss"] / sizes[1]["Rss"])
            self._report.put(targets.MEMORY, "mixed", sizes[2]["Rss"])


def _check(load: client.Load, picture: Picture) -> None:
    """Check that the last response of every client contains an embedding for each face."""
    for body in load.bodies:
        if body.count(b'"embedding"') != picture.faces:
            raise client.LoadError(body[:300].decode(errors="replace"))
