"""Measure the host's overhead per job, without the models: `python -m bench.host` takes about a minute.

The models return at once or after 2 ms without the interpreter lock, as on a GPU. The rates are therefore the capacity
of one worker process, one gateway process and the ledger.
"""

import os
from functools import partial
from typing import Final

from bench import client, pictures, process_stats
from bench.length import FULL, Length
from bench.report import Report
from bench.statistic import percentile

PAUSES: Final = (0, 2)
"""Milliseconds of a model run."""
THREADS: Final = "8"
"""Concurrent jobs, as in a worker on a GPU."""


def measure(report: Report, *, length: Length) -> None:
    """Add the rate, latency and CPU time of every process for each model duration."""
    picture = pictures.portrait()
    for pause in PAUSES:
        os.environ["BENCH_MODEL_MS"] = str(pause)
        name = f"models of {pause} ms, eight jobs at once"
        note = partial(report.note, column="one")
        with process_stats.vultus(app="bench.instant_models", worker_threads=THREADS) as stack:
            target = client.job(stack.port, picture, wait=60)
            processes = process_stats.parts(stack)
            client.closed_loop(target, clients=4, warm=0, seconds=min(1.0, length.load))
            rates, waits = [], []
            spent: dict[str, list[float]] = {}
            for _ in range(length.rounds):
                before = process_stats.processor_seconds(processes)
                load = client.window(target, clients=length.clients, warm=0, seconds=length.load / 2)
                after = process_stats.processor_seconds(processes)
                rates.append(load.rate)
                waits.append(1000 * percentile(load.latencies, 0.5))
                for process, milliseconds in process_stats.cpu_ms_per_job(
                    before, after, answered=load.answered
                ).items():
                    spent.setdefault(process, []).append(milliseconds)
            note(f"{name}, finished", samples=rates, unit="jobs/s")
            note(f"{name}, p50", samples=waits, unit="ms")
            for process, samples in spent.items():
                note(f"{name}, {process}, per job", samples=samples, unit="CPU ms")
            idle = client.one_by_one(target, times=length.probes // 4 + 5, pause=0.02)[5:]
            note(f"{name}, idle, of that not the engine's", samples=process_stats.besides_engine_ms(idle), unit="ms")


def main() -> None:
    """Measure and print every figure."""
    report = Report(about={})
    measure(report, length=FULL)
    for name, columns in report.figures.items():
        for figure in columns.values():
            spread = f"{figure['least']:.2f} to {figure['most']:.2f}"
            print(f"{name}: {figure['median']:.2f} {figure['unit']} ({spread})")


if __name__ == "__main__":
    main()
