"""Does the simulator foretell what the real stack does? `python -m bench.capacity.check`, about two minutes.

Gateway, ledger, doorbells and a worker take jobs at random times: first a burst, which tells what they can do, then at
a half and at four fifths of that. Each run is foretold twice from the arrivals as they were: with the service times as
they came, which checks the rules of the queue alone, and 200 times with service times drawn from those of
the run, which is how plans are made. The engine sleeps for a drawn time, so that other work on the machine changes
little; `--engine models` runs the real one instead, and judges the first alone: on shared cores slow moments slow
several jobs in a row, and draws know nothing of that.
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
"""How far from what was foretold a measured figure may lie, and beyond the middle 95 % where it was drawn."""
GRAIN: Final = 0.02
"""Seconds below which a wait says more of the clock and the doorbell than of the queue."""
SHARES: Final = (0.5, 0.8)
TIMED: Final = "bench.capacity.timed_worker"


@dataclass(frozen=True, slots=True)
class Done:
    """One job as the ledger's clock saw it, in seconds."""

    created: float
    waited: float
    served: float
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared."""

    utilisation: float
    middle: float
    """Median wait, seconds."""
    late: float
    """99th percentile of the waits, seconds."""

    @classmethod
    def of(cls, waits: Sequence[float], busy: float, *, servers: int, span: float) -> "Figures":
        """Of one run, measured or simulated."""
        return cls(busy / servers / span, percentile(waits, 0.5), percentile(waits, 0.99))


def foretold(jobs: Sequence[Done], *, servers: int, doorbell: float, turn: float, seed: int | None) -> Figures:
    """One simulated run with the arrivals as they were.

    Args:
        jobs: of the real run.
        servers: job threads.
        doorbell: seconds from accepted to claimed where nobody waits.
        turn: seconds from one job's end to the same thread's next claim.
        seed: of the service times that are drawn; None = as they came.
    """
    served = [job.served + turn for job in sorted(jobs, key=lambda job: job.created + job.waited)]
    draw = in_order(served) if seed is None else one_of(served)
    created = sorted(job.created for job in jobs)
    arrivals = ((time - created[0], (Leg("workers", delay=doorbell),)) for time in created)
    seen: Seen = simulate([Station("workers", servers, draw)], arrivals, seed=seed or 0)["workers"]
    span = max(seen.begun) - min(seen.begun)
    waits = [wait + doorbell for wait in seen.waits]
    return Figures.of(waits, seen.busy - turn * len(waits), servers=servers, span=span)


def measured(jobs: Sequence[Done], *, servers: int) -> Figures:
    """The same figures of the real run."""
    begun = [job.created + job.waited for job in jobs]
    span = max(begun) - min(begun)
    return Figures.of([job.waited for job in jobs], sum(job.served for job in jobs), servers=servers, span=span)


def turning(jobs: Sequence[Done], *, servers: int, waited: float = GRAIN) -> float:
    """Seconds from one job's end to the same thread's next claim, where a job was waiting for it.

    The median: a doorbell that came late leaves a thread idle, and such a gap is not the thread's.

    Args:
        jobs: of one run.
        servers: job threads.
        waited: seconds in the queue from which a job is taken to have waited for a thread, and not for its doorbell.
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
    """Whether a measured figure lies in the middle 95 % of the simulated ones, widened by `SLACK` and `grain`."""
    low, high = percentile(simulated, 0.025), percentile(simulated, 0.975)
    return low / SLACK - grain <= value <= high * SLACK + grain


def drive(stack: Stack, picture: pictures.Picture, times: Sequence[float]) -> list[Done]:
    """Submit a job at each of these times, wait for all of them, and read what became of each."""
    bodies = client.open_loop(client.job(stack.port, picture, wait=0), times=times)
    return [_read(stack, str(json.loads(body)["id"])) for body in bodies]


def _read(stack: Stack, job_id: str) -> Done:
    with urlopen(f"{stack.url}/v1/jobs/{job_id}?wait=60", timeout=70) as answer:
        job = json.load(answer)
    if job["status"] != "succeeded":
        raise client.LoadError(json.dumps(job)[:600])
    created, started, finished = (
        datetime.fromisoformat(job[name]).timestamp() for name in ("created_at", "started_at", "finished_at")
    )
    return Done(created, job["metrics"]["queue_ms"] / 1000, finished - started, job["attempts"])


def compare(jobs: Sequence[Done], *, name: str, servers: int, doorbell: float, turn: float, drawn: bool = True) -> bool:
    """Print one load's figures; whether all of them are where they were foretold. `drawn` says which way counts too."""
    real = measured(jobs, servers=servers)
    told = partial(foretold, jobs, servers=servers, doorbell=doorbell, turn=turn)
    same, runs, right = told(seed=None), [told(seed=seed) for seed in range(RUNS)], True
    for label, field, grain in (
        ("utilisation", "utilisation", 0.0),
        ("wait p50", "middle", GRAIN),
        ("wait p99", "late", GRAIN),
    ):
        value, came, values = getattr(real, field), getattr(same, field), [getattr(run, field) for run in runs]
        middle, low, high = (percentile(values, share) for share in (0.5, 0.025, 0.975))
        said = within(value, [came], grain=grain) and (not drawn or within(value, values, grain=grain))
        right &= said
        print(
            f"{name:<4} {label:<11}  measured {value:6.3f}   as they came {came:6.3f} (x{_ratio(value, came)})   "
            f"drawn {middle:6.3f} [{low:.3f}, {high:.3f}] (x{_ratio(value, middle)})   "
            f"{'as foretold' if said else 'OTHERWISE'}"
        )
    return right


def _ratio(value: float, foretold: float) -> str:
    return f"{value / foretold:.2f}" if foretold else "-"


def main() -> int:
    """Exit status 1 where the real stack does otherwise."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2, help="job threads of the one worker")
    options.add_argument("--engine", choices=("timed", "models"), default="timed", help="what does the work")
    options.add_argument("--jobs", type=int, default=600, help="jobs of each load")
    given = options.parse_args()
    timed, right = given.engine == "timed", True
    picture = pictures.empty() if timed else pictures.portrait()
    app = TIMED if timed else process_stats.WORKER
    with process_stats.vultus(app=app, worker_threads=str(given.threads), queue_limit="100000") as stack:
        idle = [_read(stack, str(job["id"])) for _, job in _alone(stack, picture)]
        doorbell = statistics.median(job.waited for job in idle)
        with stack.ledger.client() as store:
            before = store.info("memory")["used_memory"]
            burst = drive(stack, picture, [0.0] * (given.jobs // 4))
            kept = (store.info("memory")["used_memory"] - before) / len(burst)
        begun = [job.created + job.waited for job in burst]
        span = max(at + job.served for at, job in zip(begun, burst, strict=True)) - min(begun)
        rate = len(burst) / span
        print(
            f"{given.threads} job threads do {rate:.1f} jobs/s: {given.threads / rate * 1000:.1f} ms each, "
            f"{turning(burst, servers=given.threads) * 1000:.1f} of them from one job to the next; "
            f"idle doorbell {doorbell * 1000:.1f} ms"
        )
        if not timed:
            print(f"a job that ended stays with {kept / 1024:.1f} KiB in the ledger")
        for share in SHARES:
            times = poisson(share * rate, seconds=given.jobs / (share * rate), seed=round(100 * share))
            jobs = drive(stack, picture, times)
            if again := sum(job.attempts > 1 for job in jobs):
                print(f"{share:.0%}: {again} jobs were started more than once: the machine starves the heartbeats")
            right &= compare(
                jobs,
                name=f"{share:.0%}",
                servers=given.threads,
                doorbell=doorbell,
                turn=turning(jobs, servers=given.threads),
                drawn=timed,
            )
    return 0 if right else 1


def _alone(stack: Stack, picture: pictures.Picture) -> list[tuple[float, dict[str, object]]]:
    return client.one_by_one(client.job(stack.port, picture, wait=60), times=20, pause=0.05)


if __name__ == "__main__":
    sys.exit(main())
