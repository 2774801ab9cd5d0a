"""Terminal states other than success: canceled, erased, expired, retried; each against a real server, exactly once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, JobFailure, NewJob, Priority, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
from tests.integration.servers import Server

LIMITS = Limits(1000)
CRASHED = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)
DAMAGED = JobFailure(ErrorCode.INVALID_IMAGE, "Not an image.")


def accept(
    ledger: Ledger,
    *,
    image: bytes = b"pixels-of-a-face",
    priority: Priority = Priority.NORMAL,
    start_within: timedelta | None = None,
    webhook: bool = False,
) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.EMBED,
        params={},
        metadata={"case": "secret-case"},
        image=image,
        reference=b"pixels-of-another",
        extra_images=(b"pixels-from-the-side", b"pixels-in-the-dark"),
        result_ttl=timedelta(hours=1),
        priority=priority,
        start_within=start_within,
        webhook=Webhook("https://example.org") if webhook else None,
    )
    ledger.accept(job, limits=LIMITS)
    return job.id


def read(ledger: Ledger, job_id: str) -> Job:
    job = ledger.read(job_id)
    assert job is not None
    return job


def fail(ledger: Ledger, failure: JobFailure) -> str:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(job_id, claim.token, Outcome(failure=failure))
    return job_id


def everything(server: Server) -> bytes:
    """All names and values on the server, in one text."""
    with server.store.client() as client:
        found = []
        for key in client.keys("*"):
            found.append(key)
            found.append(
                {
                    b"string": client.get,
                    b"hash": client.hgetall,
                    b"zset": lambda k: client.zrange(k, 0, -1),
                    b"list": lambda k: client.lrange(k, 0, -1),
                }[client.type(key)](key)
            )
    return repr(found).encode()


def test_a_queued_job_is_canceled_at_once_and_never_runs(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    canceled = ledger.cancel(job_id)
    assert (canceled.status, [step.status for step in canceled.history]) == (
        Status.CANCELED, [Status.QUEUED, Status.CANCELED],
    )  # fmt: skip
    assert ledger.claim("w") is None
    assert ledger.depth() == (0, 0)
    assert b"pixels" not in everything(ledger_server)


def test_canceling_a_running_job_fences_its_worker(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.cancel(job_id).status is Status.CANCELED
    assert not ledger.beat(job_id, claim.token)
    assert not ledger.finish(job_id, claim.token, Outcome(result={"vector": [1.0]}))
    assert not ledger.release(job_id, claim.token, max_attempts=3)
    assert read(ledger, job_id).result is None
    assert b"pixels" not in everything(ledger_server)


def test_canceling_twice_is_canceling_once_and_other_states_stay(ledger: Ledger) -> None:
    job_id = accept(ledger)
    assert ledger.cancel(job_id) == ledger.cancel(job_id)
    with pytest.raises(RequestError) as refused:
        ledger.cancel(fail(ledger, DAMAGED))
    assert refused.value.code is ErrorCode.JOB_ENDED
    with pytest.raises(RequestError) as unknown:
        ledger.cancel(new_job_id(shard=0, now_ms=1))
    assert unknown.value.code is ErrorCode.JOB_NOT_FOUND


def test_a_cancel_and_two_finishes_at_once_give_one_terminal_state(ledger: Ledger, ledger_server: Server) -> None:
    with ThreadPoolExecutor(3) as pool:
        for _ in range(60):
            job_id = accept(ledger, webhook=True)
            claim = ledger.claim("w")
            assert claim is not None
            token = claim.token
            written = [
                pool.submit(ledger.finish, job_id, token, Outcome(result={"by": 1})),
                pool.submit(ledger.finish, job_id, token, Outcome(result={"by": 2})),
            ]
            canceled = pool.submit(ledger.cancel, job_id)
            ends = sum(future.result() for future in written) + (canceled.exception() is None)
            assert ends == 1
            assert sum(step.status.is_terminal for step in read(ledger, job_id).history) == 1
    with ledger_server.store.client() as client:
        rows = client.lrange(keys.outbox(0), 0, -1)
    assert len(rows) == len({json.loads(row)["id"] for row in rows}) == 60


@pytest.mark.parametrize("state", ["queued", "running", "ended"])
def test_an_erased_job_leaves_nothing(stores: Stores, ledger_server: Server, state: str) -> None:
    reservation = stores.idempotency.begin("tenant POST /v1/jobs", "key-1").sealed("print")
    job = NewJob(
        id=new_job_id(shard=reservation.shard, now_ms=1),
        operation=Operation.EMBED,
        params={"max_faces": 2},
        metadata={"case": "secret-case"},
        image=b"pixels-of-a-face",
        result_ttl=timedelta(hours=1),
        start_within=timedelta(minutes=1),
    )
    stores.jobs.accept(job, limits=LIMITS, under=reservation)
    token = ""
    if state != "queued":
        claim = stores.jobs.claim("w")
        assert claim is not None
        token = claim.token
    if state == "ended":
        assert stores.jobs.finish(job.id, token, Outcome(result={"vector": [0.5]}))
    assert stores.jobs.delete(job.id)
    assert not stores.jobs.delete(job.id)
    assert stores.jobs.read(job.id) is None
    assert not stores.jobs.finish(job.id, token, Outcome(result={}))
    held = everything(ledger_server)
    assert job.id.encode() not in held
    assert b"pixels" not in held
    assert b"secret-case" not in held
    assert stores.idempotency.begin("tenant POST /v1/jobs", "key-1").known is None


def test_a_job_past_its_deadline_expires_without_a_worker(ledger: Ledger, ledger_server: Server) -> None:
    late = accept(ledger, start_within=timedelta(seconds=0.05))
    patient = accept(ledger, start_within=timedelta(seconds=60))
    time.sleep(0.1)
    assert ledger.reap(max_attempts=3).expired == (late,)
    assert read(ledger, late).status is Status.EXPIRED
    claim = ledger.claim("w")
    assert claim is not None
    assert claim.job.id == patient
    assert b"pixels-of-a-face" in everything(ledger_server)  # of the job with a longer deadline
    ledger.finish(patient, claim.token, Outcome(result={}))
    assert b"pixels" not in everything(ledger_server)


def test_a_worker_never_starts_a_job_past_its_deadline(ledger: Ledger) -> None:
    late = accept(ledger, start_within=timedelta(seconds=0.05))
    time.sleep(0.1)
    assert ledger.claim("w") is None
    assert read(ledger, late).status is Status.EXPIRED


def test_a_job_that_started_in_time_does_not_expire(ledger: Ledger) -> None:
    job_id = accept(ledger, start_within=timedelta(seconds=0.1))
    claim = ledger.claim("w")
    assert claim is not None
    time.sleep(0.15)
    assert ledger.reap(max_attempts=3).expired == ()
    assert ledger.finish(job_id, claim.token, Outcome(result={}))


def test_high_priority_goes_first_and_low_still_runs(ledger: Ledger) -> None:
    low = [accept(ledger, priority=Priority.LOW) for _ in range(2)]
    normal = [accept(ledger) for _ in range(2)]
    high = [accept(ledger, priority=Priority.HIGH) for _ in range(20)]
    order = []
    while (claim := ledger.claim("w")) is not None:
        order.append(claim.job.id)
    assert order[:3] == high[:3]
    assert order.index(normal[0]) < 4
    assert order.index(low[0]) < 8
    assert order.index(low[1]) < 16
    assert [job for job in order if job in high] == high


def test_a_retry_is_a_new_job_with_the_same_images(ledger: Ledger, ledger_server: Server) -> None:
    old = fail(ledger, CRASHED)
    new = ledger.retry(old, new_id=new_job_id(shard=0, now_ms=2), limits=LIMITS)
    assert (new.status, new.retry_of, new.attempts, new.metadata) == (Status.QUEUED, old, 0, {"case": "secret-case"})
    assert read(ledger, old).retried_as == new.id
    assert read(ledger, old).status is Status.FAILED
    claim = ledger.claim("w")
    assert claim is not None
    assert (claim.job.id, claim.image, claim.reference) == (new.id, b"pixels-of-a-face", b"pixels-of-another")
    assert claim.extra_images == (b"pixels-from-the-side", b"pixels-in-the-dark")
    assert ledger.finish(new.id, claim.token, Outcome(result={}))
    assert b"pixels" not in everything(ledger_server)


def test_retrying_twice_is_retrying_once(ledger: Ledger) -> None:
    old = fail(ledger, CRASHED)
    with ThreadPoolExecutor(8) as pool:
        ids = [new_job_id(shard=0, now_ms=n) for n in range(8)]
        jobs = list(pool.map(lambda new: ledger.retry(old, new_id=new, limits=LIMITS), ids))
    assert len({job.id for job in jobs}) == 1
    assert ledger.depth() == (1, 0)


def test_only_retryable_failures_are_retried(ledger: Ledger) -> None:
    queued = accept(ledger)
    for job_id in (queued, fail_other(ledger, queued)):
        with pytest.raises(RequestError) as refused:
            ledger.retry(job_id, new_id=new_job_id(shard=0, now_ms=2), limits=LIMITS)
        assert refused.value.code is ErrorCode.NOT_RETRYABLE


def fail_other(ledger: Ledger, first: str) -> str:
    """Fail the job behind the first one, which is queued again."""
    claim = ledger.claim("w")
    assert claim is not None
    assert claim.job.id == first
    job_id = accept(ledger)
    other = ledger.claim("w")
    assert other is not None
    assert ledger.finish(job_id, other.token, Outcome(failure=DAMAGED))
    assert ledger.release(first, claim.token, max_attempts=3)
    return job_id


def test_without_a_retry_window_no_image_outlives_its_job(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=1, lease=timedelta(seconds=1), retry_window=timedelta(0))
        old = fail(ledger, CRASHED)
        assert b"pixels" not in everything(ledger_server)
        with pytest.raises(RequestError):
            ledger.retry(old, new_id=new_job_id(shard=0, now_ms=2), limits=LIMITS)


def test_a_queue_whose_first_job_waits_too_long_refuses_with_retry_after(ledger: Ledger) -> None:
    accept(ledger)
    time.sleep(0.06)
    with pytest.raises(UnavailableError) as refused:
        ledger.accept(
            NewJob(
                id=new_job_id(shard=0, now_ms=1), operation=Operation.DETECT, params={}, result_ttl=timedelta(hours=1)
            ),
            limits=Limits(100, age=timedelta(seconds=0.05)),
        )
    assert refused.value.code is ErrorCode.QUEUE_FULL
    assert refused.value.retry_after == timedelta(seconds=60)  # nothing finished lately: no rate to use
    assert "waited" in refused.value.detail


def test_retry_after_of_a_full_queue_follows_the_rate_of_completions(ledger: Ledger) -> None:
    for _ in range(30):
        fail(ledger, DAMAGED)
    for _ in range(20):
        accept(ledger)
    with pytest.raises(UnavailableError) as refused:
        ledger.accept(
            NewJob(
                id=new_job_id(shard=0, now_ms=1), operation=Operation.DETECT, params={}, result_ttl=timedelta(hours=1)
            ),
            limits=Limits(20),
        )
    assert refused.value.retry_after == timedelta(seconds=2)  # 2 of 20 at 30 in 30 s


def test_nothing_is_accepted_while_the_stores_memory_is_nearly_full(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=1, lease=timedelta(seconds=1))
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", str(int(used * 1.2)))
        with pytest.raises(UnavailableError) as refused:
            accept(ledger)
        assert refused.value.code is ErrorCode.QUEUE_FULL
        assert "memory" in refused.value.detail
