"""Batches, keys, fetches and the list, as the ledger stores them on a real server."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import BatchStatus, JobFailure, NewJob, Status, new_batch_id, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores, open_stores
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
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


def accept_batch(stores: Stores, jobs: list[NewJob], *, webhook: bool = True) -> str:
    batch = new_batch_id(shard=0, now_ms=1)
    stores.batches.accept(
        batch, jobs, metadata={"day": 1}, limits=LIMITS, result_ttl=HOUR, webhook=Webhook("x") if webhook else None
    )
    return batch


def run_one(ledger: Ledger) -> str:
    claim = ledger.claim("w")
    assert claim is not None
    assert claim.image == b"pixels"
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={}))
    return claim.job.id


def test_a_batch_counts_its_jobs_and_completes_once_with_the_last(stores: Stores, ledger_server: Server) -> None:
    jobs = [job(), job(refused=NOT_AN_IMAGE), job()]
    batch_id = accept_batch(stores, jobs)
    batch = stores.batches.read(batch_id)
    assert batch is not None
    assert (batch.status, batch.total, batch.metadata) == (BatchStatus.RUNNING, 3, {"day": 1})
    assert (batch.counts[Status.QUEUED], batch.counts[Status.FAILED]) == (2, 1)
    assert [run_one(stores.jobs), run_one(stores.jobs)] == [jobs[0].id, jobs[2].id]
    batch = stores.batches.read(batch_id)
    assert batch is not None
    assert (batch.status, batch.counts[Status.SUCCEEDED], batch.counts[Status.QUEUED]) == (BatchStatus.COMPLETED, 2, 0)
    with ledger_server.store.client() as client:
        rows = client.lrange(keys.outbox(0), 0, -1)
        (row,) = map(json.loads, rows)
        assert (row["id"], row["type"], row["total"]) == (batch_id, "batch.completed", 3)
        assert row["counts"] == {"succeeded": 2, "failed": 1, "canceled": 0, "expired": 0}
        assert 3500 < client.ttl(keys.batch(0, batch_id)) <= 3600
    found = stores.batches.jobs(batch_id, start=1, count=2)
    assert [(number, each.id, each.batch) for number, each in found] == [
        (1, jobs[1].id, batch_id), (2, jobs[2].id, batch_id),
    ]  # fmt: skip
    assert found[0][1].error == NOT_AN_IMAGE


def test_a_batch_of_only_refused_items_completes_at_once(stores: Stores) -> None:
    batch = stores.batches.read(accept_batch(stores, [job(refused=NOT_AN_IMAGE) for _ in range(3)]))
    assert batch is not None
    assert batch.status is BatchStatus.COMPLETED


def test_a_refused_batch_leaves_no_image(stores: Stores, ledger_server: Server) -> None:
    with pytest.raises(UnavailableError):
        stores.batches.accept(
            new_batch_id(shard=0, now_ms=1), [job(), job()], metadata={}, limits=Limits(0), result_ttl=HOUR
        )
    with ledger_server.store.client() as client:
        assert client.keys("*image*") == []


def test_images_of_a_batch_that_was_never_accepted_expire(stores: Stores, ledger_server: Server) -> None:
    jobs = [job()]
    accept_batch(stores, jobs)
    with ledger_server.store.client() as client:
        assert client.ttl(keys.image(0, jobs[0].id)) == -1  # accepted: kept until the job finishes
    staged = stores.batches
    staged._accept = lambda **_: pytest.fail("killed here")
    late = job()
    with pytest.raises(BaseException, match="killed here"):
        staged.accept(new_batch_id(shard=0, now_ms=1), [late], metadata={}, limits=LIMITS, result_ttl=HOUR)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(keys.image(0, late.id)) <= 600


def test_a_thousand_items_are_accepted_and_canceled_in_one_step_each(stores: Stores) -> None:
    batch_id = accept_batch(stores, [job() for _ in range(1000)])
    assert stores.jobs.depth() == (1000, 0)
    running = stores.jobs.claim("w")
    assert running is not None
    batch = stores.batches.cancel(batch_id)
    assert batch is not None
    assert (batch.status, batch.counts[Status.CANCELED]) == (BatchStatus.COMPLETED, 1000)
    assert not stores.jobs.beat(running.job.id, running.token)
    assert stores.jobs.depth() == (0, 0)


def test_an_erased_batch_leaves_nothing(stores: Stores, ledger_server: Server) -> None:
    jobs = [job() for _ in range(3)]
    batch_id = accept_batch(stores, jobs)
    run_one(stores.jobs)
    assert stores.batches.delete(batch_id)
    assert not stores.batches.delete(batch_id)
    with ledger_server.store.client() as client:
        left = {key.decode().rsplit(":", 1)[0] for key in client.keys("*")}
    assert left <= {"vultus:{0}:ended", "vultus:{0}"}
    assert stores.batches.read(batch_id) is None
    assert stores.listing.page(JobFilter(), limit=10).jobs == []


def test_a_hundred_equal_concurrent_submissions_are_one_job(stores: Stores) -> None:
    def submit(_: int) -> str:
        try:
            reservation = stores.idempotency.begin("t", "key")
        except RequestError as error:
            return error.code.value
        if reservation.known:
            return reservation.known.id
        new = job()
        stores.jobs.accept(new, limits=LIMITS, under=reservation.sealed("print"))
        return new.id

    with ThreadPoolExecutor(32) as pool:
        answers = set(pool.map(submit, range(100)))
    assert len(answers - {"idempotency_in_progress"}) == 1
    assert stores.jobs.depth() == (1, 0)
    known = stores.idempotency.begin("t", "key").known
    assert known is not None
    assert known.fingerprint == "print"


def test_a_released_key_is_free_and_another_scope_never_held_it(stores: Stores) -> None:
    first = stores.idempotency.begin("t", "key")
    stores.idempotency.begin("other", "key")
    stores.idempotency.abandon(first)
    again = stores.idempotency.begin("t", "key")
    assert again.known is None
    stores.idempotency.abandon(first)  # too late: another submission has the key by now
    with pytest.raises(RequestError):
        stores.idempotency.begin("t", "key")


def test_a_key_is_ours_even_if_the_response_to_reserving_it_was_lost(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = redis.Connection.read_response
    lost: list[object] = []

    def lose_the_first(self: redis.Connection, *args: Any, **named: Any) -> Any:
        answer = read(self, *args, **named)
        if lost:
            return answer
        lost.append(answer)
        raise redis.ConnectionError

    stores.jobs.depth()  # the connection is open
    monkeypatch.setattr(redis.Connection, "read_response", lose_the_first)
    mine = stores.idempotency.begin("t", "key")
    assert (mine.known, len(lost)) == (None, 1)
    stores.jobs.accept(job(), limits=LIMITS, under=mine.sealed("p"))
    assert stores.idempotency.begin("t", "key").known is not None


def test_a_submission_that_lost_its_key_is_not_accepted(stores: Stores) -> None:
    reservation = stores.idempotency.begin("t", "key")
    stores.idempotency.abandon(reservation)
    stores.idempotency.begin("t", "key")
    with pytest.raises(RequestError) as refused:
        stores.jobs.accept(job(), limits=LIMITS, under=reservation.sealed("p"))
    assert refused.value.code is ErrorCode.IDEMPOTENCY_IN_PROGRESS
    assert stores.jobs.depth() == (0, 0)


@pytest.mark.parametrize("refused", [None, NOT_AN_IMAGE], ids=["done", "refused"])
def test_a_key_lives_as_long_as_its_batch_and_at_least_a_day(
    stores: Stores, ledger_server: Server, refused: JobFailure | None
) -> None:
    reservation = stores.idempotency.begin("t", "key")
    batch = new_batch_id(shard=reservation.shard, now_ms=1)
    under = reservation.sealed("p")
    jobs = [job(refused=refused) for _ in range(2)]
    stores.batches.accept(batch, jobs, metadata={}, limits=LIMITS, result_ttl=HOUR, under=under)
    key = keys.idempotency(0, reservation.digest)
    with ledger_server.store.client() as client:
        if refused is None:
            assert client.ttl(key) == -1
            run_one(stores.jobs)
            run_one(stores.jobs)
        assert 86000 < client.ttl(key) <= 86400
    known = stores.idempotency.begin("t", "key").known
    assert known is not None
    assert known.id == batch


def test_a_key_lives_as_long_as_its_job_and_at_least_a_day(stores: Stores, ledger_server: Server) -> None:
    reservation = stores.idempotency.begin("t", "key")
    key = keys.idempotency(0, reservation.digest)
    with ledger_server.store.client() as client:
        assert 0 < client.ttl(key) <= 60  # a gateway that dies now no longer holds it
        stores.jobs.accept(job(), limits=LIMITS, under=reservation.sealed("p"))
        assert client.ttl(key) == -1  # as long as the job is unfinished
        run_one(stores.jobs)
        assert 86_300 < client.ttl(key) <= 86_400


def test_a_job_by_url_is_queued_once_its_image_has_arrived(stores: Stores) -> None:
    new = job(url="https://example.org/face.jpg")
    stores.jobs.accept(new, limits=LIMITS)
    assert stores.jobs.claim("w") is None
    (fetch,) = stores.fetches.take(most=5, hold=timedelta(seconds=0.05))
    assert (fetch.job_id, fetch.image_url, fetch.reference_url) == (new.id, "https://example.org/face.jpg", None)
    assert stores.fetches.take(most=5, hold=timedelta(seconds=1)) == []
    time.sleep(0.06)
    assert len(stores.fetches.take(most=5, hold=timedelta(seconds=1))) == 1  # the earlier hold is gone
    assert stores.fetches.supply(new.id, image=b"pixels", reference=None)
    assert not stores.fetches.supply(new.id, image=b"pixels", reference=None)
    assert run_one(stores.jobs) == new.id
    assert stores.fetches.waiting() == 0


def test_a_job_fails_without_its_image_unless_it_was_canceled_meanwhile(stores: Stores) -> None:
    new, gone = job(url="https://a.example/1"), job(url="https://a.example/2")
    stores.jobs.accept(new, limits=LIMITS)
    stores.jobs.accept(gone, limits=LIMITS)
    stores.jobs.cancel(gone.id)
    assert stores.fetches.refuse(new.id, JobFailure(ErrorCode.IMAGE_UNREACHABLE, "No answer.", retryable=True))
    assert not stores.fetches.refuse(gone.id, NOT_AN_IMAGE)
    failed = stores.jobs.read(new.id)
    assert failed is not None
    assert (failed.status, failed.error and failed.error.code) == (Status.FAILED, ErrorCode.IMAGE_UNREACHABLE)
    again = stores.jobs.retry(new.id, new_id=new_job_id(shard=0, now_ms=2), limits=LIMITS)
    assert [fetch.job_id for fetch in stores.fetches.take(most=5, hold=HOUR)] == [again.id]


def test_the_list_returns_every_job_once_however_it_is_paged(ledger_server: Server) -> None:
    with connect(ledger_server.url) as client:
        stores = open_stores(client, shards=3, lease=timedelta(seconds=5))
        accepted = []
        for number in range(40):
            new = NewJob(
                id=new_job_id(shard=number % 3, now_ms=1),
                operation=Operation.DETECT if number % 4 else Operation.VERIFY,
                params={},
                result_ttl=HOUR,
                image=b"pixels",
            )
            stores.jobs.accept(new, limits=LIMITS)
            accepted.append(new.id)
        for _ in range(10):
            run_one(stores.jobs)
        pages, after = [], None
        while True:
            page = stores.listing.page(JobFilter(), limit=7, after=after)
            pages += [each.id for each in page.jobs]
            if (after := page.next) is None:
                break
        assert pages == accepted[::-1]
        done = stores.listing.page(JobFilter(status=Status.SUCCEEDED), limit=100).jobs
        assert len(done) == 10
        assert all(each.result is None for each in done)
        verify = stores.listing.page(JobFilter(operation=Operation.VERIFY), limit=100).jobs
        assert len(verify) == 10
        middle = stores.jobs.read(accepted[19])
        assert middle is not None
        newer = stores.listing.page(JobFilter(created_after=middle.created_at), limit=100).jobs
        assert [each.id for each in newer] == accepted[:19:-1]


def test_dead_letters_are_a_separate_list_of_failed_jobs(stores: Stores) -> None:
    lost, damaged = job(), job()
    stores.jobs.accept(lost, limits=LIMITS)
    claim = stores.jobs.claim("w")
    assert claim is not None
    time.sleep(0.35)
    assert stores.jobs.reap(max_attempts=1).lost == (lost.id,)
    stores.jobs.accept(damaged, limits=LIMITS)
    other = stores.jobs.claim("w")
    assert other is not None
    stores.jobs.finish(damaged.id, other.token, Outcome(failure=NOT_AN_IMAGE))
    assert {each.id for each in stores.listing.page(JobFilter(status=Status.FAILED), limit=9).jobs} == {
        lost.id, damaged.id,
    }  # fmt: skip
    assert [each.id for each in stores.listing.page(JobFilter(dead_lettered=True), limit=9).jobs] == [lost.id]


def test_the_list_drops_expired_jobs(stores: Stores, ledger_server: Server) -> None:
    new = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        result_ttl=timedelta(seconds=1),
        image=b"pixels",
    )
    stores.jobs.accept(new, limits=LIMITS)
    run_one(stores.jobs)
    time.sleep(1.1)
    assert stores.listing.page(JobFilter(), limit=9).jobs == []
    stores.jobs.reap(max_attempts=3)
    with ledger_server.store.client() as client:
        assert {key.decode().split(":")[2] for key in client.keys("*")} <= {"ended", "turns", "counts"}
