"""What a real ledger says of itself, as one server and as a cluster: what waits, since when, and what has happened."""

import time
from datetime import timedelta

from shared.errors import ErrorCode
from shared.jobs import JobFailure, NewJob, Priority, new_job_id
from shared.operations import Operation
from shared.storage.admission import Limits
from shared.storage.ledger import Ledger, Outcome

BROKEN = JobFailure(ErrorCode.MODEL_FAILURE, "Broken.")


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


def test_an_empty_ledger_has_nothing_waiting(ledger: Ledger) -> None:
    (shard,) = ledger.measures.take().shards
    assert shard.jobs == dict.fromkeys(("high", "normal", "low", "fetch"), 0)
    assert set(shard.oldest.values()) == {0}
    assert (shard.running, shard.outbox, shard.destinations, shard.deliveries, shard.counts) == (0, 0, 0, 0, {})


def test_each_queue_has_its_jobs_and_the_age_of_its_first(ledger: Ledger) -> None:
    accept(ledger, Priority.LOW)
    time.sleep(0.2)
    accept(ledger, Priority.LOW)
    accept(ledger, Priority.HIGH)
    accept(ledger, url="https://photos.example.org/a.jpg")
    (shard,) = ledger.measures.take().shards
    assert shard.jobs == {"high": 1, "normal": 0, "low": 2, "fetch": 1}
    assert shard.oldest["low"] >= 0.2 > shard.oldest["high"]
    assert shard.oldest["normal"] == 0


def test_every_step_of_a_job_is_counted_once(ledger: Ledger) -> None:
    accept(ledger)
    lost = ledger.claim("dies")
    assert lost is not None
    time.sleep(ledger.lease.total_seconds() + 0.1)
    ledger.reap(max_attempts=3)
    ledger.reap(max_attempts=3)
    given_back = ledger.claim("leaves")
    assert given_back is not None
    ledger.release(given_back.job.id, given_back.token, max_attempts=3)
    claim = ledger.claim("works")
    assert claim is not None
    assert ledger.measures.take().shards[0].running == 1
    for _ in range(2):
        ledger.finish(claim.job.id, claim.token, Outcome(failure=BROKEN))
    ledger.delete(accept(ledger))
    assert ledger.measures.take().shards[0].counts == {
        "accepted detect": 2,
        "started detect": 3,
        "requeued": 1,
        "released": 1,
        "ended detect failed model_failure": 1,
        "ended detect canceled ": 1,
    }


def test_every_server_says_how_it_is(ledger: Ledger) -> None:
    for server in ledger.measures.take().servers.values():
        assert server.memory > 0
        assert server.append_only
        assert server.writes_well
