"""Stores that freeze, lose data, are down for long, or lost the end of their file: accepted jobs are still done."""

import os
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
import requests
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.backend.backend import verify_ledger
from api.settings.api import ApiSettings
from shared.dispatch import QUEUE
from shared.errors import UnavailableError
from shared.ledger import keys
from shared.ledger.jobs.store import Ledger, Outcome
from tests.integration.breaking import breakable, history, job_of, picture, until
from tests.integration.poisons import HANGS, SLOW
from tests.integration.servers import Configured, Server
from tests.integration.test_faults import kill, readable, status, supervised
from tests.integration.test_ledger import accept
from tests.integration.test_ledger import status as kept_status
from tests.integration.test_poison import submit
from tools.stack import Stack


def outage(stack: Stack, number: int, *, seconds: float) -> None:
    """A store is killed, and restarted only after this time."""
    kill(stack.stores[number])
    time.sleep(seconds)
    stack.stores[number].start()


def all_succeeded(stack: Stack, jobs: list[str]) -> bool:
    return all(status(stack, job) == "succeeded" for job in jobs)


def test_a_broker_that_loses_all_data_loses_no_job(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack, stack.broker.client() as broker:
        jobs = []
        for number in range(20):
            jobs.append(submit(stack, SLOW if number % 4 == 0 else (30, 30, 30)))
            if number % 5 == 0:
                broker.flushall()
        until(lambda: all_succeeded(stack, jobs))
        assert all(history(stack, job) == ["queued", "running", "succeeded"] for job in jobs)


def test_a_lost_doorbell_costs_a_moment(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack, stack.broker.client() as broker:
        stack.workers[0].signal(signal.SIGSTOP)
        job = submit(stack)
        until(lambda: broker.delete(QUEUE) == 1)
        stack.workers[0].signal(signal.SIGCONT)
        begin = time.monotonic()
        until(lambda: status(stack, job) == "succeeded")
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("number", [0, 1], ids=["ledger", "broker"])
def test_a_store_that_is_down_for_ten_seconds_loses_no_job(tmp_path: Path, number: int, log: list[str]) -> None:
    with breakable(tmp_path, workers=2, log=log) as stack:
        jobs = [submit(stack, SLOW) for _ in range(8)]
        until(lambda: any(status(stack, job) == "running" for job in jobs))
        outage(stack, number, seconds=10)
        supervised(stack, lambda: all_succeeded(stack, jobs))
        assert all(history(stack, job).count("succeeded") == 1 for job in jobs)
        readable(log)


@pytest.fixture
def log() -> list[str]:
    return []


def test_a_frozen_broker_slows_no_submission_and_blocks_no_other_call(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        submit(stack)
        stack.stores[1].signal(signal.SIGSTOP)
        try:
            spent: list[float] = []
            alive: list[float] = []
            over = threading.Event()

            def ask() -> None:
                while not over.is_set():
                    begin = time.monotonic()
                    assert requests.get(f"{stack.url}/livez", timeout=10).status_code == 200
                    alive.append(time.monotonic() - begin)
                    time.sleep(0.02)

            def timed(_: int) -> str:
                begin = time.monotonic()
                job = submit(stack)
                spent.append(time.monotonic() - begin)
                return job

            with ThreadPoolExecutor(5) as pool:
                asking = pool.submit(ask)
                jobs = list(pool.map(timed, range(80)))
                over.set()
                asking.result()
        finally:
            stack.stores[1].signal(signal.SIGCONT)
        assert statistics.median(spent) < 0.5
        assert max(spent) < 2
        assert max(alive) < 1
        supervised(stack, lambda: all_succeeded(stack, jobs))


def test_a_frozen_ledger_is_a_503_in_bounded_time_and_the_loop_continues(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack:
        stack.stores[0].signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as pool:
                begin = time.monotonic()
                submission = pool.submit(
                    requests.post,
                    f"{stack.url}/v1/jobs",
                    data={"operation": "detect"},
                    files={"image": b"\x89PNG no image but never looked at"},
                    headers={"Idempotency-Key": "frozen"},
                    timeout=60,
                )
                while not submission.done():
                    began = time.monotonic()
                    assert requests.get(f"{stack.url}/livez", timeout=10).status_code == 200
                    assert time.monotonic() - began < 1
                    time.sleep(0.1)
                answer = submission.result()
                assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
                assert int(answer.headers["Retry-After"]) >= 1
                assert time.monotonic() - begin < 20
        finally:
            stack.stores[0].signal(signal.SIGCONT)
        job = submit(stack)
        supervised(stack, lambda: status(stack, job) == "succeeded")


def test_a_truncated_ledger_file_costs_only_the_last_step(ledger: Ledger, ledger_server: Server) -> None:
    jobs = [accept(ledger, image=b"x" * 500) for _ in range(20)]
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={"n": 1}))
    last = accept(ledger, image=b"y" * 500)
    ledger_server.kill()
    with pytest.raises(UnavailableError):
        ledger.read(jobs[0])
    (written,) = (ledger_server.store.directory / "appendonlydir").glob("*.incr.aof")
    os.truncate(written, written.stat().st_size - 40)
    ledger_server.start()
    assert kept_status(ledger, jobs[0]) == "succeeded"
    assert {kept_status(ledger, job) for job in jobs[1:]} == {"queued"}
    assert ledger.read(last) is None  # all or nothing: no partial job
    with ledger_server.store.client() as client:
        assert client.exists(keys.image(0, last)) == 0
    assert [claim.job.id for claim in iter(lambda: ledger.claim("w"), None)] == jobs[1:]


def test_a_gateway_that_starts_while_its_ledger_loads_waits_for_it(tmp_path: Path) -> None:
    slow_to_load = ("key-load-delay 1000", "loading-process-events-interval-bytes 1024")  # microseconds for each key
    server = Server(Configured("ledger", tmp_path, durable=True, more=slow_to_load))
    server.start()
    try:
        with server.store.client() as client, client.pipeline(transaction=False) as written:
            for number in range(4000):
                written.set(f"key-{number}", b"x")
            written.execute()
            client.bgrewriteaof()  # the delay applies to a rewritten file
            until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        server.kill()
        server.service.start()
        until(lambda: loads(server), seconds=10)
        verify_ledger(ApiSettings(ledger_url=server.url))
        assert not loads(server)
    finally:
        server.service.stop()


def loads(server: Server) -> bool:
    """Whether the server is up and reading its file; the driver itself would retry until it is done."""
    try:
        with redis.Redis.from_url(server.store.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            client.ping()
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        pass
    return False


def test_running_jobs_finish_in_a_full_ledger_and_submissions_are_refused(tmp_path: Path) -> None:
    with breakable(tmp_path) as stack, stack.ledger.client() as ledger:
        jobs = [submit(stack, SLOW) for _ in range(4)]
        until(lambda: any(status(stack, job) == "running" for job in jobs))
        ledger.config_set("maxmemory", "1mb")
        answer = requests.post(
            f"{stack.url}/v1/jobs", data={"operation": "detect"}, files={"image": picture()}, timeout=20
        )
        assert answer.status_code == 503
        assert answer.json()["code"] in {"queue_full", "store_unavailable"}
        assert int(answer.headers["Retry-After"]) >= 1
        until(lambda: all_succeeded(stack, jobs))
        ledger.config_set("maxmemory", "0")
        until(lambda: requests.get(f"{stack.url}/health", timeout=10).ok)
        supervised(stack, lambda: submit_again(stack))


def submit_again(stack: Stack) -> bool:
    answer = requests.post(f"{stack.url}/v1/jobs", data={"operation": "detect"}, files={"image": picture()}, timeout=20)
    return answer.status_code == 202


def test_images_of_queued_jobs_never_expire_and_a_missing_one_is_reported(tmp_path: Path) -> None:
    with breakable(tmp_path, settings={"VULTUS_WORKER_THREADS": "1"}) as stack, stack.ledger.client() as ledger:
        stack.workers[0].signal(signal.SIGSTOP)
        jobs = [submit(stack) for _ in range(3)]
        assert [ledger.ttl(keys.image(0, job)) for job in jobs] == [-1] * 3
        ledger.delete(keys.image(0, jobs[1]))
        stack.workers[0].signal(signal.SIGCONT)
        until(lambda: all(status(stack, job) in {"succeeded", "failed"} for job in jobs))
        assert [status(stack, job) for job in jobs] == ["succeeded", "failed", "succeeded"]
        assert job_of(stack, jobs[1])["error"]["code"] == "invalid_image"


def test_a_hanging_job_of_a_dead_worker_survives_a_killed_ledger_too(tmp_path: Path) -> None:
    with breakable(tmp_path, settings={"VULTUS_DRAIN": "1"}) as stack:
        job = submit(stack, HANGS)
        until(lambda: status(stack, job) == "running")
        kill(stack.stores[0])
        kill(stack.workers[0])
        supervised(stack, lambda: status(stack, job) == "running" and job_of(stack, job)["attempts"] == 2)


def test_a_broker_that_dies_during_a_job_stops_no_worker(tmp_path: Path, log: list[str]) -> None:
    with breakable(tmp_path, log=log) as stack:
        before = stack.workers[0].pid
        jobs = [submit(stack, SLOW)]  # the other thread is free: the worker listens for doorbells
        until(lambda: all(status(stack, job) == "running" for job in jobs))
        outage(stack, 1, seconds=2)
        until(lambda: all_succeeded(stack, jobs))
        later = submit(stack)
        until(lambda: status(stack, later) == "succeeded")
        assert (stack.workers[0].exit_code(), stack.workers[0].pid) == (None, before)
        assert [job_of(stack, job)["attempts"] for job in jobs] == [1]
        readable(log)


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_jobs_finish_even_without_a_broker_only_later(tmp_path: Path, fate: signal.Signals, log: list[str]) -> None:
    with breakable(tmp_path, log=log) as stack:
        stack.stores[1].signal(fate)
        jobs = [submit(stack) for _ in range(5)]
        until(lambda: all_succeeded(stack, jobs), seconds=20)
        stack.workers[0].signal(signal.SIGTERM)
        stack.stores[1].signal(signal.SIGCONT)
        assert stack.workers[0].wait(40)
        readable(log)
