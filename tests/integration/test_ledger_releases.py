"""Claims that are given back, and jobs that lost a worker, against a real server."""

import time
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, TriedBeforeError
from shared.jobs import Claim, JobFailure, Status, new_job_id
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from tests.integration.servers import Server
from tests.integration.test_ledger import accept, status

STUCK = JobFailure(ErrorCode.TIMED_OUT, "The job ran longer than 2 s.", retryable=True)


def claimed(ledger: Ledger, *, alone: bool = True) -> Claim:
    claim = ledger.claim("w", alone=alone)
    assert claim is not None
    return claim


def test_a_released_claim_keeps_its_place_image_and_attempts(ledger: Ledger) -> None:
    first, second = accept(ledger, image=b"pixels"), accept(ledger)
    claim = claimed(ledger)
    assert ledger.release(first, claim.token, max_attempts=1)
    assert ledger.depth() == (2, 0)
    again = claimed(ledger, alone=False)
    assert (again.job.id, again.job.attempts, again.image) == (first, 1, b"pixels")
    assert claimed(ledger).job.id == second


def test_a_released_claim_is_fenced_although_the_start_did_not_count(ledger: Ledger) -> None:
    job_id = accept(ledger)
    old = claimed(ledger)
    ledger.release(job_id, old.token, max_attempts=3)
    new = claimed(ledger)
    assert new.token != old.token
    assert not ledger.beat(job_id, old.token)
    assert not ledger.finish(job_id, old.token, Outcome(result={}))
    assert not ledger.release(job_id, old.token, max_attempts=3)
    assert ledger.finish(job_id, new.token, Outcome(result={"by": "new"}))


def test_a_stuck_job_uses_up_its_attempts_and_fails_as_timed_out(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    assert ledger.release(job_id, claimed(ledger).token, failure=STUCK, max_attempts=2)
    assert status(ledger, job_id) is Status.QUEUED
    assert ledger.release(job_id, claimed(ledger).token, failure=STUCK, max_attempts=2)
    job = ledger.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.error) == (Status.FAILED, 2, STUCK)
    assert ledger.depth() == (0, 0)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(keys.image(0, job_id)) <= 3600  # for a retry
        assert 0 < client.ttl(keys.job(0, job_id)) <= 3600


def test_a_finished_job_cannot_be_released(ledger: Ledger) -> None:
    job_id = accept(ledger)
    claim = claimed(ledger)
    ledger.finish(job_id, claim.token, Outcome(result={}))
    assert not ledger.release(job_id, claim.token, failure=STUCK, max_attempts=1)
    assert status(ledger, job_id) is Status.SUCCEEDED


def test_a_job_that_lost_a_worker_goes_only_to_an_idle_worker(ledger: Ledger) -> None:
    lost, fresh = accept(ledger), accept(ledger)
    assert claimed(ledger, alone=False).job.id == lost
    time.sleep(0.4)
    assert ledger.reap(max_attempts=3).requeued == (lost,)
    with pytest.raises(TriedBeforeError):
        ledger.claim("w", alone=False)
    assert ledger.depth() == (2, 0)
    again = claimed(ledger, alone=True)
    assert (again.job.id, again.job.attempts) == (lost, 2)
    assert claimed(ledger, alone=False).job.id == fresh


def test_a_shard_with_an_exclusive_job_blocks_no_other_shard_for_long(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=2, lease=timedelta(seconds=0.05))
        lost = accept(ledger, job_id=new_job_id(shard=0, now_ms=1))
        claimed(ledger)
        time.sleep(0.1)
        ledger.reap(max_attempts=3)
        fresh = accept(ledger, job_id=new_job_id(shard=1, now_ms=1))
        taken = set()
        for _ in range(2):
            try:
                claim = ledger.claim("w", alone=False)
            except TriedBeforeError:
                claim = ledger.claim("w", alone=True)
            assert claim is not None
            taken.add(claim.job.id)
        assert taken == {lost, fresh}


def test_jobs_can_start_when_memory_is_full(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger, image=b"x" * 100_000)
    with ledger_server.store.client() as client:
        client.config_set("maxmemory", "1mb")
        claim = claimed(ledger)
        assert ledger.release(job_id, claim.token, max_attempts=3)
        assert ledger.finish(job_id, claimed(ledger).token, Outcome(result={}))
