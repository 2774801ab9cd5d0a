"""What a real ledger reports, as one server and as a cluster: queue depth, age, and counts."""

import time
from datetime import timedelta

from shared.errors import ErrorCode
from shared.jobs import JobFailure, NewJob, Priority, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.operations import Operation

BROKEN = JobFailure(ErrorCode.MODEL_FAILURE, "Broken.")
ROUNDED = 0.002
"""Seconds by which the difference of two ages may be short: the ledger stores milliseconds."""


def accept(ledger: Ledger, priority: Priority = Priority.NORMAL, url: str | None = None) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        image=b"" if url else b"image",
        image_url=url,
        priority=priority,
        result_ttl=timedelta(minutes=1),
    )
    ledger.accept(job, limits=Limits(100))
    return job.id


def test_an_empty_ledger_has_nothing_queued(stores: Stores) -> None:
    (shard,) = stores.measures.take().shards
    assert shard.jobs == dict.fromkeys(("high", "normal", "low", "fetch"), 0)
    assert set(shard.oldest.values()) == {0}
    assert (shard.running, shard.outbox, shard.destinations, shard.deliveries, shard.counts) == (0, 0, 0, 0, {})


def test_each_queue_reports_its_jobs_and_the_age_of_its_first(stores: Stores) -> None:
    accept(stores.jobs, Priority.LOW)
    time.sleep(0.2)
    accept(stores.jobs, Priority.LOW)
    accept(stores.jobs, Priority.HIGH)
    accept(stores.jobs, url="https://photos.example.org/a.jpg")
    (shard,) = stores.measures.take().shards
    assert shard.jobs == {"high": 1, "normal": 0, "low": 2, "fetch": 1}
    assert shard.oldest["low"] - shard.oldest["high"] >= 0.2 - ROUNDED
    assert shard.oldest["normal"] == 0


def test_every_step_of_a_job_is_counted_once(stores: Stores) -> None:
    accept(stores.jobs)
    lost = stores.jobs.claim("dies")
    assert lost is not None
    time.sleep(stores.jobs.lease.total_seconds() + 0.1)
    stores.jobs.reap(max_attempts=3)
    stores.jobs.reap(max_attempts=3)
    given_back = stores.jobs.claim("leaves")
    assert given_back is not None
    stores.jobs.release(given_back.job.id, given_back.token, max_attempts=3)
    claim = stores.jobs.claim("works")
    assert claim is not None
    assert stores.measures.take().shards[0].running == 1
    for _ in range(2):
        stores.jobs.finish(claim.job.id, claim.token, Outcome(failure=BROKEN))
    stores.jobs.delete(accept(stores.jobs))
    assert stores.measures.take().shards[0].counts == {
        "accepted detect": 2,
        "started detect": 3,
        "requeued": 1,
        "released": 1,
        "ended detect failed model_failure": 1,
        "ended detect canceled ": 1,
    }


def test_every_server_reports_its_state(stores: Stores) -> None:
    for server in stores.measures.take().servers.values():
        assert server.memory > 0
        assert server.append_only
        assert server.writes_well
