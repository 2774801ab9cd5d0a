"""The ledger behind sentinels: its primary dies, its replica takes over, and every client finds it."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.ledger.connection import connect, verify_durability
from shared.ledger.jobs.store import Ledger, Outcome
from tests.integration.breaking import breakable, picture, until
from tests.integration.sentinels import SERVICE, Watched, patient
from tests.integration.test_ledger import accept
from tools.stack import Stack


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    servers = Watched(tmp_path)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def ledger(watched: Watched) -> Iterator[Ledger]:
    with connect(watched.url) as client:
        yield Ledger(client, shards=1, lease=timedelta(seconds=30))


def takes(ledger: Ledger) -> bool:
    try:
        accept(ledger)
    except UnavailableError:
        return False
    return True


def test_the_replicas_data_survives_its_primary(ledger: Ledger, watched: Watched) -> None:
    jobs = [accept(ledger, image=b"x" * 10_000) for _ in range(20)]
    claim = ledger.claim("w")
    assert claim is not None
    patient(watched.copied)
    old = watched.primary()
    old.kill()
    with pytest.raises(UnavailableError) as refused:
        ledger.read(jobs[0])
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    patient(lambda: takes(ledger))
    assert watched.primary() is not old
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={}))  # the lease and its token were replicated
    rest = [ledger.claim("w") for _ in jobs[1:]]
    assert [(found.job.id, found.image) for found in rest if found] == [(job, b"x" * 10_000) for job in jobs[1:]]


def test_a_primary_that_comes_back_follows_and_undoes_nothing(ledger: Ledger, watched: Watched) -> None:
    patient(watched.copied)
    old = watched.primary()
    old.kill()
    patient(lambda: takes(ledger))
    new = [accept(ledger) for _ in range(5)]
    old.start()
    patient(watched.copied)
    with old.store.client() as client:
        assert client.info("replication")["role"] == "slave"
    assert all(ledger.read(job) for job in new)


def test_a_frozen_primary_is_replaced_and_undoes_nothing_when_it_thaws(ledger: Ledger, watched: Watched) -> None:
    job = accept(ledger)
    patient(watched.copied)
    old = watched.primary()
    old.service.signal(signal.SIGSTOP)
    patient(lambda: takes(ledger), seconds=60)
    assert watched.primary() is not old
    old.service.signal(signal.SIGCONT)
    new = accept(ledger)
    patient(watched.copied)
    assert ledger.read(job)
    assert ledger.read(new)


def test_a_primary_without_its_required_replica_accepts_nothing(ledger: Ledger, watched: Watched) -> None:
    with watched.primary().store.client() as client:
        client.config_set("min-replicas-max-lag", "1")
        client.config_set("min-replicas-to-write", "1")
    job = accept(ledger)
    replica = next(server for server in watched.servers if server is not watched.primary())
    replica.kill()
    patient(lambda: not takes(ledger))
    with pytest.raises(UnavailableError) as refused:
        accept(ledger)
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    assert ledger.read(job)  # existing data can still be read
    replica.start()
    patient(lambda: takes(ledger))


def test_the_current_primary_must_meet_the_durability_promise(watched: Watched) -> None:
    with connect(watched.url) as client, watched.primary().store.client() as server:
        verify_durability(client, "always")
        server.config_set("appendfsync", "everysec")
        with pytest.raises(SettingsError, match="appendfsync is everysec"):
            verify_durability(client, "always")
    wrong = SecretStr(watched.url.get_secret_value().replace(f":{watched.password}@", ":guess@"))
    with connect(wrong) as client, pytest.raises(SettingsError, match="user or the password"):
        verify_durability(client, "always")
    other = SecretStr(watched.url.get_secret_value().replace(f"/{SERVICE}?", "/other?"))
    with connect(other) as client, pytest.raises(UnavailableError):
        verify_durability(client, "always")


@pytest.fixture
def service(watched: Watched, tmp_path: Path) -> Iterator[Stack]:
    """A gateway and a worker over them."""
    url = watched.url.get_secret_value()
    with breakable(tmp_path / "stack", ledger_url=url, worker="worker.app") as stack:
        yield stack


def submit(stack: Stack, **headers: str) -> requests.Response:
    return requests.post(
        f"{stack.url}/v1/jobs",
        data={"operation": "detect"},
        files={"image": picture()},
        headers=headers,
        timeout=40,
    )


def heard_in_time(stack: Stack) -> bool:
    """A job finished and its completion was announced: without the announcement it is read again only every 1.5 s."""
    begin = time.monotonic()
    answer = submit(stack, Prefer="wait=20")
    return answer.status_code == 200 and time.monotonic() - begin < 0.7


def test_the_service_survives_a_failover_with_every_job_and_event(service: Stack, watched: Watched) -> None:
    until(lambda: heard_in_time(service))
    jobs = [submit(service).json()["id"] for _ in range(10)]
    patient(watched.copied)
    watched.primary().kill()
    answer = submit(service)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    until(lambda: submit(service).status_code == 202, seconds=30)
    until(lambda: heard_in_time(service), seconds=30)
    for job_id in jobs:
        found = requests.get(f"{service.url}/v1/jobs/{job_id}", timeout=20)
        assert found.json()["status"] == "succeeded", found.text
