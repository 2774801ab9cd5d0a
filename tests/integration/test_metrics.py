"""The running service observed from outside: numbers that add up, and readiness."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.metrics import families
from tests.integration.watched_stack import Watched, soon, watched
from tools.ports import port_is_free
from tools.stack import Stack

JOBS = 5


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("metrics"), settings={"VULTUS_RESULT_CACHE_TTL": "60"}) as running:
        for _ in range(JOBS):
            assert running.submit().status_code == 202
        soon(lambda: running.value("courier", "vultus_webhook_attempts_total") == JOBS)
        yield running


def test_every_process_serves_its_metrics(seen: Watched) -> None:
    for process in ("gateway", "worker-1", "courier"):
        typed = dict(
            line.split(" ")[2:4]
            for line in seen.ask(process, "/metrics").text.splitlines()
            if line.startswith("# TYPE")
        )
        expected = {one.name: one.kind for one in families() if process.startswith(one.process.split(" ")[0])}
        assert expected.items() <= typed.items()
        assert {name for name in typed if name.startswith("vultus_")} == set(expected)
        assert "process_resident_memory_bytes" in typed


def test_accepted_jobs_add_up_to_finished_and_delivered_ones(seen: Watched) -> None:
    assert seen.value("gateway", "vultus_http_requests_total", route="/v1/jobs", status="202", method="POST") == JOBS
    assert seen.value("gateway", "vultus_ledger_jobs_accepted_total", operation="embed") == JOBS
    assert seen.value("gateway", "vultus_ledger_jobs_started_total", operation="embed") == JOBS
    ended = {"operation": "embed", "status": "succeeded", "code": ""}
    assert seen.value("gateway", "vultus_ledger_jobs_ended_total", **ended) == JOBS
    assert seen.value("worker-1", "vultus_worker_jobs_total", operation="embed", outcome="succeeded") == JOBS
    assert seen.value("worker-1", "vultus_job_queue_duration_seconds_count", priority="normal") == JOBS
    assert seen.value("worker-1", "vultus_job_run_duration_seconds_count", operation="embed") == JOBS
    assert seen.value("courier", "vultus_webhook_attempts_total", outcome="delivered", answer="2xx") == JOBS
    assert seen.value("courier", "vultus_webhook_lag_seconds_count") == JOBS
    assert 0 < seen.value("courier", "vultus_webhook_lag_seconds_sum") < JOBS * 20


def test_a_repeated_image_is_a_cache_hit_and_runs_no_stage(seen: Watched) -> None:
    hits = seen.value("worker-1", "vultus_result_cache_lookups_total", result="hit")
    misses = seen.value("worker-1", "vultus_result_cache_lookups_total", result="miss")
    assert (hits + misses, misses >= 1) == (JOBS, True)
    assert seen.value("worker-1", "vultus_job_stage_duration_seconds_count", stage="decode") == misses


def test_the_ledger_reports_its_state(seen: Watched) -> None:
    assert seen.value("gateway", "vultus_ledger_up") == 1
    assert seen.value("gateway", "vultus_ledger_workers") == 1
    assert seen.value("gateway", "vultus_ledger_append_only") == 1
    assert seen.value("gateway", "vultus_ledger_append_only_ok") == 1
    assert seen.value("gateway", "vultus_ledger_memory_bytes") > 100_000
    assert seen.value("gateway", "vultus_ledger_queue_jobs") == 0


def test_a_worker_reports_what_it_runs(seen: Watched) -> None:
    assert seen.value("worker-1", "vultus_worker_info", engine="fake", pack="fake") == 1
    assert seen.value("worker-1", "vultus_worker_threads") >= 1


def test_every_process_is_live_and_ready(seen: Watched) -> None:
    for process in ("gateway", "worker-1", "courier"):
        for path, word in (("/livez", "alive"), ("/readyz", "ready")):
            answer = seen.ask(process, path)
            assert (process, answer.status_code, answer.json()) == (process, 200, {"status": word})
        assert seen.ask(process, "/v1/jobs").status_code == 404


def test_the_public_port_has_no_metrics(seen: Watched) -> None:
    assert requests.get(f"{seen.stack.url}/metrics", timeout=10).status_code == 404
    assert requests.get(f"{seen.stack.url}/readyz", timeout=10).json() == {"status": "ready", "accepts_jobs": True}


def test_a_taken_port_stops_the_start_with_one_line(seen: Watched, tmp_path: Path) -> None:
    lines: list[str] = []
    environment = {**seen.stack.environment, "VULTUS_METRICS_PORT": str(seen.metrics_port)}
    other = Stack(data=tmp_path, port=seen.stack.port, sink=lambda _, line: lines.append(line))
    other.gateway.environment = environment
    other.gateway.start()
    assert other.gateway.wait(20)
    assert other.gateway.exit_code() == 2
    (line,) = lines
    refusal = json.loads(line)
    assert (refusal["event"], refusal["process"]) == ("start.refused", "vultus-api")
    where = f"VULTUS_METRICS_PORT {seen.metrics_port} on 127.0.0.1"
    assert refusal["detail"].startswith(f"{where} cannot be listened on")


def test_waiting_jobs_are_shown_with_their_age_and_a_dead_ledger_as_down(tmp_path: Path) -> None:
    with watched(tmp_path) as running:
        running.stack.workers[0].signal(signal.SIGKILL)
        running.stack.workers[0].wait(5)
        running.stack.courier.signal(signal.SIGKILL)
        running.submit()
        assert running.value("gateway", "vultus_ledger_queue_jobs", shard="0", queue="normal") == 1
        soon(lambda: running.value("gateway", "vultus_ledger_queue_oldest_seconds", queue="normal") > 0.5)
        assert running.value("gateway", "vultus_ledger_queue_oldest_seconds", queue="high") == 0
        job = running.submit("detect").json()
        requests.post(f"{running.stack.url}{job['urls']['cancel']}", timeout=10)
        assert running.value("gateway", "vultus_ledger_outbox_rows") == 1
        assert running.value("gateway", "vultus_ledger_jobs_ended_total", operation="detect", status="canceled") == 1
        running.stack.stores[0].signal(signal.SIGKILL)
        running.stack.stores[0].wait(5)
        assert running.samples("gateway")["vultus_ledger_up"] == {(): 0}
        assert running.ask("gateway", "/readyz").json() == {"status": "away"}
        assert running.ask("gateway", "/livez").status_code == 200
        running.stack.start_stores()
        soon(lambda: running.value("gateway", "vultus_ledger_up") == 1)
        assert running.value("gateway", "vultus_ledger_jobs_accepted_total", operation="detect") == 1
    assert port_is_free(running.metrics_port)
