"""Batches, keys, fetches and the list, as the ledger keeps them on a real server."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import BatchStatus, JobFailure, NewJob, Status, new_batch_id, new_job_id
from shared.operations import Operation
from shared.storage import keys
from shared.storage.admission import Limits
from shared.storage.connection import connect
from shared.storage.ledger import Ledger, Outcome
from shared.storage.listing import JobFilter
from tests.integration.servers import Server

LIMITS = Limits(1000)
HOUR = timedelta(hours=1)
NOT_AN_IMAGE = JobFailure(ErrorCode.INVALID_IMAGE, "Not an image.")


def job(
    *, operation: Operation = Operation.DETECT, refused: JobFailure | None = None, url: str | None = None
) -> NewJob:
    image = b"" if refused or url else b"pixels"
    return NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=operation,
        params={},
        result_ttl=HOUR,
        image=image,
        image_url=url,
        refused=refused,
    )


def accept_batch(ledger: Ledger, jobs: list[NewJob], *, webhook: bool = True) -> str:
    batch = new_batch_id(shard=0, now_ms=1)
    ledger.batches.accept(
        batch, jobs, metadata={"day": 1}, limits=LIMITS, result_ttl=HOUR, webhook={"url": "x"} if webhook else None
    )
    return batch


def run_one(ledger: Ledger) -> str:
    claim = ledger.claim("w")
    assert claim is not None
    assert claim.image == b"pixels"
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={}))
    return claim.job.id


def test_a_batch_counts_its_jobs_and_ends_once_with_the_last(ledger: Ledger, ledger_server: Server) -> None:
    jobs = [job(), job(refused=NOT_AN_IMAGE), job()]
    batch_id = accept_batch(ledger, jobs)
    batch = ledger.batches.read(batch_id)
    assert batch is not None
    assert (batch.status, batch.total, batch.metadata) == (BatchStatus.RUNNING, 3, {"day": 1})
    assert (batch.counts[Status.QUEUED], batch.counts[Status.FAILED]) == (2, 1)
    assert [run_one(ledger), run_one(ledger)] == [jobs[0].id, jobs[2].id]
    batch = ledger.batches.read(batch_id)
    assert batch is not None
    assert (batch.status, batch.counts[Status.SUCCEEDED], batch.counts[Status.QUEUED]) == (BatchStatus.COMPLETED, 2, 0)
    with ledger_server.store.client() as client:
        rows = client.lrange(keys.outbox(0), 0, -1)
        (row,) = map(json.loads, rows)
        assert (row["id"], row["type"], row["total"]) == (batch_id, "batch.completed", 3)
        assert row["counts"] == {"succeeded": 2, "failed": 1, "canceled": 0, "expired": 0}
        assert 3500 < client.ttl(keys.batch(0, batch_id)) <= 3600
    found = ledger.batches.jobs(batch_id, start=1, count=2)
    assert [(number, each.id, each.batch) for number, each in found] == [
        (1, jobs[1].id, batch_id), (2, jobs[2].id, batch_id),
    ]  # fmt: skip
    assert found[0][1].error == NOT_AN_IMAGE


def test_a_batch_of_refused_items_alone_is_completed_at_once(ledger: Ledger) -> None:
    batch = ledger.batches.read(accept_batch(ledger, [job(refused=NOT_AN_IMAGE) for _ in range(3)]))
    assert batch is not None
    assert batch.status is BatchStatus.COMPLETED


def test_a_batch_that_is_refused_leaves_no_image(ledger: Ledger, ledger_server: Server) -> None:
    with pytest.raises(UnavailableError):
        ledger.batches.accept(
            new_batch_id(shard=0, now_ms=1), [job(), job()], metadata={}, limits=Limits(0), result_ttl=HOUR
        )
    with ledger_server.store.client() as client:
        assert client.keys("*image*") == []


def test_images_of_a_batch_that_never_was_accepted_go_by_themselves(ledger: Ledger, ledger_server: Server) -> None:
    jobs = [job()]
    accept_batch(ledger, jobs)
    with ledger_server.store.client() as client:
        assert client.ttl(keys.image(0, jobs[0].id)) == -1  # accepted: kept until the job ends
    staged = ledger.batches
    staged._accept = lambda **_: pytest.fail("killed here")
    late = job()
    with pytest.raises(BaseException, match="killed here"):
        staged.accept(new_batch_id(shard=0, now_ms=1), [late], metadata={}, limits=LIMITS, result_ttl=HOUR)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(keys.image(0, late.id)) <= 600


def test_a_thousand_items_are_one_step_and_are_canceled_in_one(ledger: Ledger) -> None:
    batch_id = accept_batch(ledger, [job() for _ in range(1000)])
    assert ledger.depth() == (1000, 0)
    running = ledger.claim("w")
    assert running is not None
    batch = ledger.batches.cancel(batch_id)
    assert batch is not None
    assert (batch.status, batch.counts[Status.CANCELED]) == (BatchStatus.COMPLETED, 1000)
    assert not ledger.beat(running.job.id, running.token)
    assert ledger.depth() == (0, 0)


def test_an_erased_batch_leaves_nothing(ledger: Ledger, ledger_server: Server) -> None:
    jobs = [job() for _ in range(3)]
    batch_id = accept_batch(ledger, jobs)
    run_one(ledger)
    assert ledger.batches.delete(batch_id)
    assert not ledger.batches.delete(batch_id)
    with ledger_server.store.client() as client:
        left = {key.decode().rsplit(":", 1)[0] for key in client.keys("*")}
    assert left <= {"vultus:{0}:ended", "vultus:{0}"}
    assert ledger.batches.read(batch_id) is None
    assert ledger.listing.page(JobFilter(), limit=10).jobs == []


def test_a_hundred_equal_submissions_at_once_are_one_job(ledger: Ledger) -> None:
    def submit(_: int) -> str:
        try:
            reservation = ledger.idempotency.begin("t", "key")
        except RequestError as error:
            return error.code.value
        if reservation.known:
            return reservation.known.id
        new = job()
        ledger.accept(new, limits=LIMITS, under=reservation.sealed("print"))
        return new.id

    with ThreadPoolExecutor(32) as pool:
        answers = set(pool.map(submit, range(100)))
    assert len(answers - {"idempotency_in_progress"}) == 1
    assert ledger.depth() == (1, 0)
    known = ledger.idempotency.begin("t", "key").known
    assert known is not None
    assert known.fingerprint == "print"


def test_a_key_that_was_given_back_is_free_and_another_scope_never_held_it(ledger: Ledger) -> None:
    first = ledger.idempotency.begin("t", "key")
    ledger.idempotency.begin("other", "key")
    ledger.idempotency.abandon(first)
    again = ledger.idempotency.begin("t", "key")
    assert again.known is None
    ledger.idempotency.abandon(first)  # late: the key is another's by now
    with pytest.raises(RequestError):
        ledger.idempotency.begin("t", "key")


def test_a_key_whose_taking_was_answered_to_nobody_is_ours(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    read = redis.Connection.read_response
    lost: list[object] = []

    def lose_the_first(self: redis.Connection, *args: Any, **named: Any) -> Any:
        answer = read(self, *args, **named)
        if lost:
            return answer
        lost.append(answer)
        raise redis.ConnectionError

    ledger.depth()  # the connection is open
    monkeypatch.setattr(redis.Connection, "read_response", lose_the_first)
    mine = ledger.idempotency.begin("t", "key")
    assert (mine.known, len(lost)) == (None, 1)
    ledger.accept(job(), limits=LIMITS, under=mine.sealed("p"))
    assert ledger.idempotency.begin("t", "key").known is not None


def test_a_submission_that_lost_its_key_accepts_nothing(ledger: Ledger) -> None:
    reservation = ledger.idempotency.begin("t", "key")
    ledger.idempotency.abandon(reservation)
    ledger.idempotency.begin("t", "key")
    with pytest.raises(RequestError) as refused:
        ledger.accept(job(), limits=LIMITS, under=reservation.sealed("p"))
    assert refused.value.code is ErrorCode.IDEMPOTENCY_IN_PROGRESS
    assert ledger.depth() == (0, 0)


@pytest.mark.parametrize("refused", [None, NOT_AN_IMAGE], ids=["done", "refused"])
def test_a_key_lives_as_long_as_its_batch_and_a_day_at_least(
    ledger: Ledger, ledger_server: Server, refused: JobFailure | None
) -> None:
    reservation = ledger.idempotency.begin("t", "key")
    batch = new_batch_id(shard=reservation.shard, now_ms=1)
    under = reservation.sealed("p")
    jobs = [job(refused=refused) for _ in range(2)]
    ledger.batches.accept(batch, jobs, metadata={}, limits=LIMITS, result_ttl=HOUR, under=under)
    key = keys.idempotency(0, reservation.digest)
    with ledger_server.store.client() as client:
        if refused is None:
            assert client.ttl(key) == -1
            run_one(ledger)
            run_one(ledger)
        assert 86000 < client.ttl(key) <= 86400
    known = ledger.idempotency.begin("t", "key").known
    assert known is not None
    assert known.id == batch


def test_a_key_lives_as_long_as_its_job_and_a_day_at_least(ledger: Ledger, ledger_server: Server) -> None:
    reservation = ledger.idempotency.begin("t", "key")
    key = keys.idempotency(0, reservation.digest)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(key) <= 60  # a gateway that dies now holds it no longer
        ledger.accept(job(), limits=LIMITS, under=reservation.sealed("p"))
        assert client.ttl(key) == -1  # as long as the job has not ended
        run_one(ledger)
        assert 86_300 < client.ttl(key) <= 86_400


def test_a_job_by_url_is_in_line_for_a_worker_once_its_image_is_there(ledger: Ledger) -> None:
    new = job(url="https://example.org/face.jpg")
    ledger.accept(new, limits=LIMITS)
    assert ledger.claim("w") is None
    (fetch,) = ledger.fetches.take(most=5, hold=timedelta(seconds=0.05))
    assert (fetch.job_id, fetch.image_url, fetch.reference_url) == (new.id, "https://example.org/face.jpg", None)
    assert ledger.fetches.take(most=5, hold=timedelta(seconds=1)) == []
    time.sleep(0.06)
    assert len(ledger.fetches.take(most=5, hold=timedelta(seconds=1))) == 1  # whoever held it is gone
    assert ledger.fetches.supply(new.id, image=b"pixels", reference=None)
    assert not ledger.fetches.supply(new.id, image=b"pixels", reference=None)
    assert run_one(ledger) == new.id
    assert ledger.fetches.waiting() == 0


def test_a_job_whose_image_cannot_be_had_fails_and_one_that_was_canceled_meanwhile_does_not(ledger: Ledger) -> None:
    new, gone = job(url="https://a.example/1"), job(url="https://a.example/2")
    ledger.accept(new, limits=LIMITS)
    ledger.accept(gone, limits=LIMITS)
    ledger.cancel(gone.id)
    assert ledger.fetches.refuse(new.id, JobFailure(ErrorCode.IMAGE_UNREACHABLE, "No answer.", retryable=True))
    assert not ledger.fetches.refuse(gone.id, NOT_AN_IMAGE)
    failed = ledger.read(new.id)
    assert failed is not None
    assert (failed.status, failed.error and failed.error.code) == (Status.FAILED, ErrorCode.IMAGE_UNREACHABLE)
    again = ledger.retry(new.id, new_id=new_job_id(shard=0, now_ms=2), limits=LIMITS)
    assert [fetch.job_id for fetch in ledger.fetches.take(most=5, hold=HOUR)] == [again.id]


def test_the_list_gives_every_job_once_however_it_is_paged(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        ledger = Ledger(client, shards=3, lease=timedelta(seconds=5))
        accepted = []
        for number in range(40):
            new = NewJob(
                id=new_job_id(shard=number % 3, now_ms=1),
                operation=Operation.DETECT if number % 4 else Operation.VERIFY,
                params={},
                result_ttl=HOUR,
                image=b"pixels",
            )
            ledger.accept(new, limits=LIMITS)
            accepted.append(new.id)
        for _ in range(10):
            run_one(ledger)
        pages, after = [], None
        while True:
            page = ledger.listing.page(JobFilter(), limit=7, after=after)
            pages += [each.id for each in page.jobs]
            if (after := page.next) is None:
                break
        assert pages == accepted[::-1]
        done = ledger.listing.page(JobFilter(status=Status.SUCCEEDED), limit=100).jobs
        assert len(done) == 10
        assert all(each.result is None for each in done)
        verify = ledger.listing.page(JobFilter(operation=Operation.VERIFY), limit=100).jobs
        assert len(verify) == 10
        middle = ledger.read(accepted[19])
        assert middle is not None
        newer = ledger.listing.page(JobFilter(created_after=middle.created_at), limit=100).jobs
        assert [each.id for each in newer] == accepted[:19:-1]


def test_dead_letters_are_a_list_of_their_own_among_the_failed(ledger: Ledger) -> None:
    lost, damaged = job(), job()
    ledger.accept(lost, limits=LIMITS)
    claim = ledger.claim("w")
    assert claim is not None
    time.sleep(0.35)
    assert ledger.reap(max_attempts=1).lost == (lost.id,)
    ledger.accept(damaged, limits=LIMITS)
    other = ledger.claim("w")
    assert other is not None
    ledger.finish(damaged.id, other.token, Outcome(failure=NOT_AN_IMAGE))
    assert {each.id for each in ledger.listing.page(JobFilter(status=Status.FAILED), limit=9).jobs} == {
        lost.id, damaged.id,
    }  # fmt: skip
    assert [each.id for each in ledger.listing.page(JobFilter(dead_lettered=True), limit=9).jobs] == [lost.id]


def test_the_list_forgets_what_has_expired(ledger: Ledger, ledger_server: Server) -> None:
    new = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        result_ttl=timedelta(seconds=1),
        image=b"pixels",
    )
    ledger.accept(new, limits=LIMITS)
    run_one(ledger)
    time.sleep(1.1)
    assert ledger.listing.page(JobFilter(), limit=9).jobs == []
    ledger.reap(max_attempts=3)
    with ledger_server.store.client() as client:
        assert {key.decode().split(":")[2] for key in client.keys("*")} <= {"ended", "turns", "counts"}
