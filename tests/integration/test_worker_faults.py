"""Workers that freeze, thaw, are stopped in every way, or have a wrong clock: a job has one visible result."""

import signal
import statistics
import time
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from shared.dispatch import QUEUE, Doorbell, celery_app
from tests.integration.breaking import ENDS, LEASE, breakable, history, holder, job_of, picture, until
from tests.integration.poisons import DIES_AFTER, HANGS, SLOW
from tests.integration.test_faults import kill, readable, status, supervised
from tests.integration.test_poison import submit
from tools.service import Service

ODD = "tests.integration.odd_worker"


def ended(found: str) -> bool:
    return found in ENDS


@pytest.fixture
def log() -> list[str]:
    return []


def test_a_worker_frozen_beyond_its_lease_is_fenced_when_it_thaws(tmp_path: Path, log: list[str]) -> None:
    with breakable(tmp_path, workers=2, log=log) as stack:
        job = submit(stack, SLOW)
        until(lambda: status(stack, job) == "running")
        frozen = stack.workers[holder(stack, job)]
        frozen.signal(signal.SIGSTOP)
        until(lambda: ended(status(stack, job)))
        before = job_of(stack, job)
        frozen.signal(signal.SIGCONT)
        until(lambda: any(f"{frozen.name} |" in line and ("job.fenced" in line or "job.taken" in line) for line in log))
        assert job_of(stack, job) == before
        assert (before["status"], before["attempts"]) == ("succeeded", 2)
        assert history(stack, job) == ["queued", "running", "queued", "running", "succeeded"]
        readable(log)


def test_a_worker_that_dies_before_acknowledging_repeats_nothing(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        job = submit(stack, DIES_AFTER)
        until(lambda: stack.workers[0].exit_code() is not None)
        later = submit(stack)
        supervised(stack, lambda: status(stack, later) == "succeeded")
        assert history(stack, job) == ["queued", "running", "succeeded"]
        assert job_of(stack, job)["attempts"] == 1


def test_a_worker_is_one_process_without_children(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        tasks = Path(f"/proc/{stack.workers[0].pid}/task").iterdir()
        assert [children for task in tasks if (children := (task / "children").read_text())] == []


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("remap", [{}, {"REMAP_SIGTERM": "SIGQUIT"}], ids=["plain", "remapped"])
def test_a_worker_that_is_stopped_in_any_way_loses_no_job(
    tmp_path: Path, stop: signal.Signals, remap: dict[str, str]
) -> None:
    with breakable(tmp_path, workers=1, oddities={0: remap}) as stack:
        jobs = [submit(stack, SLOW) for _ in range(4)]
        until(lambda: any(status(stack, job) == "running" for job in jobs))
        stack.workers[0].signal(stop)
        assert stack.workers[0].wait(15)
        supervised(stack, lambda: all(status(stack, job) == "succeeded" for job in jobs))
        assert [history(stack, job)[-1] for job in jobs] == ["succeeded"] * 4
        assert max(job_of(stack, job)["attempts"] for job in jobs) <= 2


def test_a_worker_that_is_killed_while_it_drains_loses_no_job(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        job = submit(stack, SLOW)
        until(lambda: status(stack, job) == "running")
        stack.workers[0].signal(signal.SIGTERM)
        time.sleep(0.2)
        kill(stack.workers[0])
        supervised(stack, lambda: status(stack, job) == "succeeded")
        assert job_of(stack, job)["attempts"] == 2


def test_a_drain_that_takes_too_long_releases_the_job_without_counting(tmp_path: Path, log: list[str]) -> None:
    with breakable(tmp_path, settings={"VULTUS_DRAIN": "0.5"}, log=log) as stack:
        job = submit(stack, HANGS)
        until(lambda: status(stack, job) == "running")
        stack.workers[0].signal(signal.SIGTERM)
        assert stack.workers[0].wait(10)
        assert stack.workers[0].exit_code() == 1
        assert (status(stack, job), job_of(stack, job)["attempts"]) == ("queued", 0)
        readable(log)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_with_a_clock_off_by_an_hour_works_normally(tmp_path: Path, hours: int) -> None:
    with breakable(tmp_path, workers=2, worker=ODD, oddities={0: {"ODD_CLOCK_AHEAD": str(hours * 3600)}}) as stack:
        jobs = [submit(stack, SLOW) for _ in range(10)]
        until(lambda: all(status(stack, job) == "succeeded" for job in jobs))
        found = [job_of(stack, job) for job in jobs]
        assert [job["attempts"] for job in found] == [1] * 10
        assert len({job["provenance"]["worker"] for job in found}) == 2
        assert all(0 <= job["metrics"]["queue_ms"] < 20_000 for job in found)
        assert all(history(stack, job) == ["queued", "running", "succeeded"] for job in jobs)


def test_models_that_load_slowly_delay_jobs_and_lose_none(
    tmp_path: Path,
) -> None:
    loading = 6.0  # longer than the default limit of a process pool
    with breakable(tmp_path, worker=ODD, oddities={0: {"ODD_LOADING": str(loading)}}, ready=False) as stack:
        first = submit(stack)
        assert requests.get(f"{stack.url}/health", timeout=10).status_code == 503
        supervised(stack, lambda: ended(status(stack, first)))
        kill(stack.workers[0])
        second = submit(stack)
        supervised(stack, lambda: ended(status(stack, second)))
        assert [(job_of(stack, job)["status"], job_of(stack, job)["attempts"]) for job in (first, second)] == [
            ("succeeded", 1)
        ] * 2


def test_a_busy_worker_hoards_no_jobs(tmp_path: Path) -> None:
    with breakable(tmp_path, workers=2, settings={"VULTUS_WORKER_THREADS": "1", "VULTUS_DRAIN": "1"}) as stack:
        hanging = submit(stack, HANGS)
        until(lambda: status(stack, hanging) == "running")
        waits = []
        for _ in range(15):
            answer = requests.post(
                f"{stack.url}/v1/jobs",
                data={"operation": "detect"},
                files={"image": picture()},
                headers={"Prefer": "wait=10"},
                timeout=20,
            )
            assert answer.status_code == 200
            waits.append(answer.json()["metrics"]["queue_ms"])
        assert statistics.median(waits) < 50
        assert max(waits) < 500  # the sweep rings again after a second: none of them had to wait for it


def test_a_doorbell_that_rings_ten_times_starts_each_job_once(tmp_path: Path) -> None:
    with breakable(tmp_path, workers=2) as stack:
        bell = Doorbell(celery_app(SecretStr(stack.broker.url)))
        try:
            jobs = []
            for _ in range(12):
                jobs.append(submit(stack))
                bell.ring(times=10)
            until(lambda: all(status(stack, job) == "succeeded" for job in jobs))
            time.sleep(LEASE)
            assert all(history(stack, job) == ["queued", "running", "succeeded"] for job in jobs)
        finally:
            bell.close()


def test_without_a_worker_the_gateway_requeues_the_jobs_of_the_dead(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        job = submit(stack, HANGS)
        until(lambda: status(stack, job) == "running")
        worker: Service = stack.workers[0]
        kill(worker)
        until(lambda: status(stack, job) == "queued", seconds=LEASE + 3)
        assert worker.exit_code() is not None


def test_a_ready_worker_that_stopped_listening_works_all_the_same(tmp_path: Path, log: list[str]) -> None:
    with breakable(tmp_path, log=log) as stack:
        with celery_app(SecretStr(stack.broker.url)) as app:
            until(
                lambda: bool(app.control.cancel_consumer(QUEUE, reply=True, timeout=3))
            )  # it may not be listening yet
        jobs = [submit(stack) for _ in range(3)]
        time.sleep(2)
        assert {status(stack, job) for job in jobs} == {"queued"}
        until(lambda: all(status(stack, job) == "succeeded" for job in jobs), seconds=15)
        assert len([line for line in log if "doorbell.silent" in line]) == 1
        readable(log)
