"""The ledger's steps against a real server: each is atomic, and no terminal state is written twice."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, SettingsError, UnavailableError
from shared.jobs import JobFailure, NewJob, Provenance, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect, verify_durability
from shared.ledger.jobs.store import Accepted, Ledger, Outcome
from shared.operations import Operation
from tests.integration.servers import Server

MADE = Provenance(model_pack="p", embedding_contract="c", provider="CPU", worker="w")


def accept(ledger: Ledger, *, job_id: str | None = None, image: bytes = b"image", limit: int = 100) -> str:
    job_id = job_id or new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000)
    ledger.accept(
        NewJob(
            id=job_id,
            operation=Operation.DETECT,
            params={"max_faces": 3},
            metadata={"order": 7},
            image=image,
            result_ttl=timedelta(hours=1),
        ),
        limits=Limits(limit),
    )
    return job_id


def status(ledger: Ledger, job_id: str) -> Status:
    job = ledger.read(job_id)
    assert job is not None
    return job.status


def test_an_accepted_job_is_queued_with_its_fields(ledger: Ledger) -> None:
    job = ledger.read(accept(ledger))
    assert job is not None
    assert (job.status, job.attempts, job.params, job.metadata) == (
        Status.QUEUED, 0, {"max_faces": 3}, {"order": 7},
    )  # fmt: skip
    assert abs(job.created_at - time.time()) < 5


def test_the_same_id_twice_is_one_job(ledger: Ledger) -> None:
    job_id = accept(ledger)
    accept(ledger, job_id=job_id)
    assert ledger.depth() == (1, 0)


def test_a_full_queue_refuses_and_keeps_nothing(ledger: Ledger) -> None:
    accept(ledger, limit=1)
    job_id = new_job_id(shard=0, now_ms=1)
    with pytest.raises(UnavailableError) as refused:
        accept(ledger, job_id=job_id, limit=1)
    assert refused.value.code is ErrorCode.QUEUE_FULL
    assert ledger.read(job_id) is None


def test_jobs_are_claimed_in_the_order_of_their_acceptance(ledger: Ledger) -> None:
    first, second = accept(ledger), accept(ledger)
    claims = [ledger.claim("w"), ledger.claim("w")]
    assert [claim.job.id for claim in claims if claim] == [first, second]
    assert ledger.claim("w") is None


def test_a_claim_returns_the_bytes_and_counts_the_attempt(ledger: Ledger) -> None:
    accept(ledger, image=b"\x00\xffbytes")
    claim = ledger.claim("w")
    assert claim is not None
    assert (claim.image, claim.reference, claim.job.status, claim.job.attempts) == (
        b"\x00\xffbytes", None, Status.RUNNING, 1,
    )  # fmt: skip


def test_a_hundred_concurrent_claims_give_each_job_to_one_worker(ledger: Ledger) -> None:
    jobs = {accept(ledger) for _ in range(50)}
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda n: ledger.claim(f"w{n}"), range(100)))
    got = [claim.job.id for claim in claims if claim]
    assert len(got) == 50
    assert set(got) == jobs


def test_finishing_writes_the_result_and_erases_the_images(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger, image=b"secret-pixels")
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(job_id, claim.token, Outcome(result={"a": 1}, metrics={"total_ms": 2.0}, provenance=MADE))
    job = ledger.read(job_id)
    assert job is not None
    assert (job.status, job.result, job.metrics, job.provenance) == (
        Status.SUCCEEDED,
        {"a": 1},
        {"total_ms": 2.0},
        MADE,
    )
    assert job.finished_at is not None
    assert job.expires_at == pytest.approx(job.finished_at + 3600)
    with ledger_server.store.client() as client:
        assert client.exists(keys.image(0, job_id), keys.reference(0, job_id)) == 0
        assert 3590 < client.ttl(keys.job(0, job_id)) <= 3600


def test_extra_images_are_claimed_in_order_again_after_a_loss_and_erased(ledger: Ledger, ledger_server: Server) -> None:
    job_id = new_job_id(shard=0, now_ms=1)
    several = NewJob(
        id=job_id,
        operation=Operation.REGISTER,
        params={},
        image=b"front",
        extra_images=(b"left", b"right"),
        result_ttl=timedelta(hours=1),
    )
    ledger.accept(several, limits=Limits(10))
    ledger.accept(several, limits=Limits(10))
    first = ledger.claim("w")
    assert first is not None
    assert (first.image, first.extra_images) == (b"front", (b"left", b"right"))
    assert ledger.release(job_id, first.token, max_attempts=3)
    again = ledger.claim("w")
    assert again is not None
    assert again.extra_images == first.extra_images
    assert ledger.finish(job_id, again.token, Outcome(result={}))
    with ledger_server.store.client() as client:
        assert client.exists(keys.extra_images(0, job_id)) == 0


def test_one_terminal_state_is_written_however_many_try(ledger: Ledger) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    outcomes = [Outcome(result={"n": n}) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda outcome: ledger.finish(job_id, claim.token, outcome), outcomes))
    job = ledger.read(job_id)
    assert written.count(True) == 1
    assert job is not None
    assert job.result == {"n": written.index(True)}


def test_an_expired_lease_requeues_the_job_and_fences_the_old_worker(ledger: Ledger) -> None:
    job_id = accept(ledger)
    old = ledger.claim("old")
    assert old is not None
    time.sleep(0.4)
    assert ledger.reap(max_attempts=3).requeued == (job_id,)
    new = ledger.claim("new")
    assert new is not None
    assert new.job.attempts == 2
    assert not ledger.beat(job_id, old.token)
    assert not ledger.finish(job_id, old.token, Outcome(result={"by": "old"}))
    assert ledger.finish(job_id, new.token, Outcome(result={"by": "new"}))
    job = ledger.read(job_id)
    assert job is not None
    assert job.result == {"by": "new"}


def test_a_renewed_lease_is_never_taken_away(ledger: Ledger) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    for _ in range(6):
        time.sleep(0.1)
        assert ledger.beat(job_id, claim.token)
        assert ledger.reap(max_attempts=3).requeued == ()
    assert status(ledger, job_id) is Status.RUNNING


def test_a_job_fails_as_worker_lost_after_its_last_attempt(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    for attempt in (1, 2):
        claim = ledger.claim("w")
        assert claim is not None
        assert claim.job.attempts == attempt
        time.sleep(0.4)
        reaped = ledger.reap(max_attempts=2)
    assert reaped.lost == (job_id,)
    job = ledger.read(job_id)
    assert job is not None
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (ErrorCode.WORKER_LOST, True)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(keys.image(0, job_id)) <= 3600


def test_a_failure_keeps_its_code_and_detail(ledger: Ledger) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    failure = JobFailure(code=ErrorCode.INVALID_IMAGE, detail="Not an image.")
    assert ledger.finish(job_id, claim.token, Outcome(failure=failure))
    job = ledger.read(job_id)
    assert job is not None
    assert (job.status, job.error, job.result) == (Status.FAILED, failure, None)


def test_a_finished_job_is_gone_after_its_ttl(ledger: Ledger) -> None:
    job_id = new_job_id(shard=0, now_ms=1)
    ledger.accept(
        NewJob(id=job_id, operation=Operation.DETECT, params={}, image=b"x", result_ttl=timedelta(seconds=1)),
        limits=Limits(9),
    )
    claim = ledger.claim("w")
    assert claim is not None
    ledger.finish(job_id, claim.token, Outcome(result={}))
    time.sleep(1.2)
    assert ledger.read(job_id) is None


def test_accepted_jobs_survive_a_killed_server(ledger: Ledger, ledger_server: Server) -> None:
    jobs = [accept(ledger, image=b"x" * 1000) for _ in range(20)]
    ledger_server.kill()
    with pytest.raises(UnavailableError):
        ledger.read(jobs[0])
    ledger_server.start()
    claims = [ledger.claim("w") for _ in jobs]
    assert [claim.job.id for claim in claims if claim] == jobs
    assert all(claim.image == b"x" * 1000 for claim in claims if claim)


def test_jobs_finish_when_memory_is_full_and_new_ones_are_refused(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    with ledger_server.store.client() as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(UnavailableError) as refused:
            accept(ledger, image=b"x" * 2_000_000)
        assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
        assert ledger.beat(job_id, claim.token)
        assert ledger.finish(job_id, claim.token, Outcome(result={}))


def test_each_shard_keeps_its_own_jobs_and_workers_serve_them_all(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=3, lease=timedelta(seconds=5))
        jobs = {accept(ledger, job_id=new_job_id(shard=shard, now_ms=1)) for shard in (0, 1, 2, 2)}
        claims = [ledger.claim("w") for _ in range(4)]
        assert {claim.job.id for claim in claims if claim} == jobs


def test_a_busy_shard_does_not_block_another(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=2, lease=timedelta(seconds=5))
        for number in range(5):
            accept(ledger, job_id=new_job_id(shard=0, now_ms=number))
        alone = accept(ledger, job_id=new_job_id(shard=1, now_ms=9))
        claims = [ledger.claim("w") for _ in range(2)]
        assert alone in {claim.job.id for claim in claims if claim}


def test_a_store_that_would_lose_jobs_is_refused(ledger_server: Server, broker_server: Server) -> None:
    with connect(ledger_server.url) as good, connect(broker_server.url) as bad:
        verify_durability(good, "always")
        with pytest.raises(SettingsError, match="appendonly is no"):
            verify_durability(bad, "always")
        verify_durability(bad, "unchecked")


def test_an_accepted_job_is_on_disk_before_the_answer(ledger: Ledger, ledger_server: Server) -> None:
    before = ledger_server.store.directory / "appendonlydir"
    accept(ledger, image=b"durable-marker")
    assert any(b"durable-marker" in part.read_bytes() for part in before.iterdir())


def test_accepting_returns_the_depth_of_the_queue(ledger: Ledger) -> None:
    accept(ledger)
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        image=b"x",
        result_ttl=timedelta(hours=1),
    )
    answer = ledger.accept(job, limits=Limits(9))
    assert isinstance(answer, Accepted)
    assert answer.depth == 2


def test_the_statuses_of_many_jobs_are_read_at_once(ledger: Ledger) -> None:
    waiting, taken = accept(ledger), accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    unknown = new_job_id(shard=0, now_ms=1)
    found = dict(zip([waiting, taken, unknown], ledger.statuses([waiting, taken, unknown]), strict=True))
    assert found[claim.job.id] == Status.RUNNING
    assert found[taken if claim.job.id == waiting else waiting] == Status.QUEUED
    assert found[unknown] is None
    assert ledger.statuses([]) == []
