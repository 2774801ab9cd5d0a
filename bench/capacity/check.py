"""Compare the simulator with the real stack: `python -m bench.capacity.check`, about two minutes.

Submits jobs to a real gateway, ledger and worker: first a burst, which measures the maximum rate, then random arrivals
at 50 % and 80 % of that rate. Each run is then simulated with its own arrivals in two ways: once with its own service
times, which checks only the rules of the queue, and 200 times with service times drawn from the run, as plans do. The
engine sleeps for a random time, so other work on the machine has little effect. `--engine models` runs the real models
and compares only the first way: on shared cores, other processes slow down several jobs in a row, which independent
draws do not reproduce.
"""

import argparse
import heapq
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from bench import client, pictures, process_stats
from bench.capacity.simulation import Leg, Seen, Station, in_order, one_of, poisson, simulate
from bench.statistic import percentile
from tools.loopback import urlopen
from tools.stack import Stack

RUNS: Final = 200
SLACK: Final = 1.25
"""Factor by which a measured value may differ from the prediction, or from the middle 95 % of drawn predictions."""
GRAIN: Final = 0.02
"""Seconds; shorter waits depend more on the clock and the doorbell than on the queue."""
SHARES: Final = (0.5, 0.8)
TIMED: Final = "bench.capacity.timed_worker"


@dataclass(frozen=True, slots=True)
class Done:
    """Timing of one finished job by the ledger's clock, in seconds."""

    created: float
    waited: float
    served: float
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """The values that are compared."""

    utilization: float
    median: float
    """Median wait, seconds."""
    p99: float
    """99th percentile of the waits, seconds."""

    @classmethod
    def of(cls, waits: Sequence[float], busy: float, *, servers: int, span: float) -> "Figures":
        """Compute the figures of one run, measured or simulated."""
        return cls(busy / servers / span, percentile(waits, 0.5), percentile(waits, 0.99))


def predict(jobs: Sequence[Done], *, servers: int, doorbell: float, handover: float, seed: int | None) -> Figures:
    """Simulate one run with the arrivals of a real run.

    Args:
        jobs: Jobs of the real run.
        servers: Number of job threads.
        doorbell: Seconds from acceptance to claim if the queue is empty.
        handover: Seconds from the end of a job to the next claim of the same thread.
        seed: Seed of the drawn service times; None = use the measured service times in order.
    """
    served = [job.served + handover for job in sorted(jobs, key=lambda job: job.created + job.waited)]
    draw = in_order(served) if seed is None else one_of(served)
    created = sorted(job.created for job in jobs)
    arrivals = ((time - created[0], (Leg("workers", delay=doorbell),)) for time in created)
    seen: Seen = simulate([Station("workers", servers, draw)], arrivals, seed=seed or 0)["workers"]
    span = max(seen.begun) - min(seen.begun)
    waits = [wait + doorbell for wait in seen.waits]
    return Figures.of(waits, seen.busy - handover * len(waits), servers=servers, span=span)


def measured(jobs: Sequence[Done], *, servers: int) -> Figures:
    """Return the same figures for the real run."""
    begun = [job.created + job.waited for job in jobs]
    span = max(begun) - min(begun)
    return Figures.of([job.waited for job in jobs], sum(job.served for job in jobs), servers=servers, span=span)


def handover_time(jobs: Sequence[Done], *, servers: int, waited: float = GRAIN) -> float:
    """Return the seconds from the end of a job to the next claim of the same thread while a job is queued.

    This is the median: a late doorbell also leaves a thread idle, and such a gap must not count.

    Args:
        jobs: Jobs of one run.
        servers: Number of job threads.
        waited: Minimum seconds in the queue for a job that waited for a thread and not only for its doorbell.
    """
    free = [min(job.created for job in jobs)] * servers
    gaps = []
    for job in sorted(jobs, key=lambda job: job.created + job.waited):
        begun = job.created + job.waited
        gap = begun - heapq.heapreplace(free, begun + job.served)
        if job.waited > waited:
            gaps.append(max(0.0, gap))
    return statistics.median(gaps) if gaps else 0.0


def within(value: float, simulated: Sequence[float], *, grain: float = 0.0) -> bool:
    """Return True if a value is in the middle 95 % of the simulated values, widened by `SLACK` and `grain`."""
    low, high = percentile(simulated, 0.025), percentile(simulated, 0.975)
    return low / SLACK - grain <= value <= high * SLACK + grain


def drive(stack: Stack, picture: pictures.Picture, times: Sequence[float]) -> list[Done]:
    """Submit a job at each of these times, wait for all of them, and return their timings."""
    bodies = client.open_loop(client.job(stack.port, picture, wait=0), times=times)
    return [_read(stack, str(json.loads(body)["id"])) for body in bodies]


def _read(stack: Stack, job_id: str) -> Done:
    with urlopen(f"{stack.url}/v1/jobs/{job_id}?wait=60", timeout=70) as response:
        job = json.load(response)
    if job["status"] != "succeeded":
        raise client.LoadError(json.dumps(job)[:600])
    created, started, finished = (
        datetime.fromisoformat(job[name]).timestamp() for name in ("created_at", "started_at", "finished_at")
    )
    return Done(created, job["metrics"]["queue_ms"] / 1000, finished - started, job["attempts"])


def compare(
    jobs: Sequence[Done], *, name: str, servers: int, doorbell: float, handover: float, drawn: bool = True
) -> bool:
    """Print the figures of one load and return True if all match; `drawn` includes the drawn service times."""
    real = measured(jobs, servers=servers)
    run_once = partial(predict, jobs, servers=servers, doorbell=doorbell, handover=handover)
    replay, runs, all_match = run_once(seed=None), [run_once(seed=seed) for seed in range(RUNS)], True
    for label, field, grain in (
        ("utilization", "utilization", 0.0),
        ("wait p50", "median", GRAIN),
        ("wait p99", "p99", GRAIN),
    ):
        value, own, values = getattr(real, field), getattr(replay, field), [getattr(run, field) for run in runs]
        middle, low, high = (percentile(values, share) for share in (0.5, 0.025, 0.975))
        match = within(value, [own], grain=grain) and (not drawn or within(value, values, grain=grain))
        all_match &= match
        print(
            f"{name:<4} {label:<11}  measured {value:6.3f}   own times {own:6.3f} (x{_ratio(value, own)})   "
            f"drawn times {middle:6.3f} [{low:.3f}, {high:.3f}] (x{_ratio(value, middle)})   "
            f"{'as predicted' if match else 'DIFFERS'}"
        )
    return all_match


def _ratio(value: float, prediction: float) -> str:
    return f"{value / prediction:.2f}" if prediction else "-"


def main() -> int:
    """Return exit status 1 if the real stack differs from the prediction."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2, help="job threads of the worker")
    options.add_argument(
        "--engine", choices=("timed", "models"), default="timed", help="a sleeping engine, or the real models"
    )
    options.add_argument("--jobs", type=int, default=600, help="jobs per load")
    arguments = options.parse_args()
    timed, all_match = arguments.engine == "timed", True
    picture = pictures.empty() if timed else pictures.portrait()
    app = TIMED if timed else process_stats.WORKER
    with process_stats.vultus(app=app, worker_threads=str(arguments.threads), queue_limit="100000") as stack:
        idle = [_read(stack, str(job["id"])) for _, job in _alone(stack, picture)]
        doorbell = statistics.median(job.waited for job in idle)
        with stack.ledger.client() as store:
            before = store.info("memory")["used_memory"]
            burst = drive(stack, picture, [0.0] * (arguments.jobs // 4))
            kept = (store.info("memory")["used_memory"] - before) / len(burst)
        begun = [job.created + job.waited for job in burst]
        span = max(at + job.served for at, job in zip(begun, burst, strict=True)) - min(begun)
        rate = len(burst) / span
        print(
            f"{arguments.threads} job threads: {rate:.1f} jobs/s, {arguments.threads / rate * 1000:.1f} ms per job, "
            f"of which {handover_time(burst, servers=arguments.threads) * 1000:.1f} ms between two jobs; "
            f"idle doorbell {doorbell * 1000:.1f} ms"
        )
        if not timed:
            print(f"a finished job occupies {kept / 1024:.1f} KiB in the ledger")
        for share in SHARES:
            times = poisson(share * rate, seconds=arguments.jobs / (share * rate), seed=round(100 * share))
            jobs = drive(stack, picture, times)
            if restarted := sum(job.attempts > 1 for job in jobs):
                print(f"{share:.0%}: {restarted} jobs were started more than once: heartbeats get too little CPU time")
            all_match &= compare(
                jobs,
                name=f"{share:.0%}",
                servers=arguments.threads,
                doorbell=doorbell,
                handover=handover_time(jobs, servers=arguments.threads),
                drawn=timed,
            )
    return 0 if all_match else 1


def _alone(stack: Stack, picture: pictures.Picture) -> list[tuple[float, dict[str, object]]]:
    return client.one_by_one(client.job(stack.port, picture, wait=60), times=20, pause=0.05)


if __name__ == "__main__":
    sys.exit(main())
