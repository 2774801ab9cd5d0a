"""Tenants in one queue: each takes its turn, and none has more open jobs than its quota."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import JobFailure, NewJob, Priority, new_batch_id, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.operations import Operation
from shared.tenants import DEFAULT, Grant
from tests.integration.servers import Server

HOUR = timedelta(hours=1)
CRASHED = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)


def new(tenant: str, priority: Priority = Priority.NORMAL) -> NewJob:
    name = new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000)
    return NewJob(
        id=name,
        operation=Operation.DETECT,
        params={},
        result_ttl=HOUR,
        image=b"pixels",
        tenant=tenant,
        priority=priority,
    )


def put(ledger: Ledger, tenant: str, count: int, *, quota: int | None = None) -> list[str]:
    jobs = [new(tenant) for _ in range(count)]
    for job in jobs:
        ledger.accept(job, limits=Limits(10_000, grant=Grant(jobs=quota), tenant=tenant))
    return [job.id for job in jobs]


def taken(ledger: Ledger, count: int) -> list[str]:
    """The tenants of the claimed jobs, in order."""
    claims = [ledger.claim("w") for _ in range(count)]
    return [claim.job.tenant for claim in claims if claim]


def test_a_long_queue_delays_only_its_own_tenant(ledger: Ledger) -> None:
    put(ledger, "long", 500)
    put(ledger, "short", 3)
    put(ledger, DEFAULT, 3)
    found = taken(ledger, 12)
    assert found.count("short") == found.count(DEFAULT) == 3


def test_tenants_with_long_queues_are_served_alike(ledger: Ledger) -> None:
    for tenant, count in (("a", 400), ("b", 40), ("c", 40)):
        put(ledger, tenant, count)
    found = taken(ledger, 80)
    assert all(20 <= found.count(tenant) <= 40 for tenant in "abc")


def test_jobs_of_one_tenant_keep_their_order_and_their_priorities(ledger: Ledger) -> None:
    first, second = put(ledger, "a", 2)
    high = new("a", Priority.HIGH)
    ledger.accept(high, limits=Limits(100))
    claims = [ledger.claim("w") for _ in range(3)]
    assert [claim.job.id for claim in claims if claim] == [high.id, first, second]


def test_every_queued_job_is_claimed_once_and_leaves_nothing_behind(ledger: Ledger, ledger_server: Server) -> None:
    ids = {*put(ledger, "a", 30), *put(ledger, "b", 5), *put(ledger, DEFAULT, 5)}
    gone = put(ledger, "c", 2)
    ledger.cancel(gone[0], tenant="c")
    ledger.delete(gone[1], tenant="c")
    with ThreadPoolExecutor(8) as pool:
        claims = [claim for claim in pool.map(lambda n: ledger.claim(f"w{n}"), range(60)) if claim]
    assert {claim.job.id for claim in claims} == ids
    assert len(claims) == len(ids)
    with connect(ledger_server.url) as client:
        assert list(client.scan_iter("*queue*")) == []


def test_a_requeued_job_is_in_both_queues_again(ledger: Ledger) -> None:
    put(ledger, "a", 1)
    claim = ledger.claim("w")
    assert claim is not None
    ledger.release(claim.job.id, claim.token, max_attempts=3)
    assert taken(ledger, 2) == ["a"]


def test_jobs_without_a_tenant_queue_are_found(ledger: Ledger, ledger_server: Server) -> None:
    put(ledger, DEFAULT, 3)
    with connect(ledger_server.url) as client:
        client.delete(f"{keys.prefix(0)}queue:{DEFAULT}", keys.queued_tenants(0))
    put(ledger, "new", 40)
    assert taken(ledger, 32).count(DEFAULT) == 3


def test_a_tenant_has_no_more_open_jobs_than_its_quota(ledger: Ledger) -> None:
    put(ledger, "a", 3, quota=3)
    with pytest.raises(UnavailableError) as refused:
        put(ledger, "a", 1, quota=3)
    assert refused.value.code is ErrorCode.QUOTA_EXCEEDED
    put(ledger, "b", 1, quota=3)
    claim = ledger.claim("w")
    assert claim is not None
    with pytest.raises(UnavailableError):  # running jobs count as well
        put(ledger, "a", 1, quota=3)
    ledger.finish(claim.job.id, claim.token, Outcome(result={}))
    put(ledger, "a", 1, quota=3)


def test_a_burst_does_not_slip_past_the_quota(ledger: Ledger) -> None:
    def one(_: int) -> bool:
        try:
            put(ledger, "a", 1, quota=10)
        except UnavailableError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(60))) == 10


def test_a_batch_counts_with_all_its_items_and_so_does_a_retry(stores: Stores) -> None:
    limits = Limits(1000, grant=Grant(jobs=3), tenant="a")
    name = new_batch_id(shard=0, now_ms=1)
    with pytest.raises(UnavailableError) as refused:
        stores.batches.accept(
            name, [new("a") for _ in range(4)], metadata={}, limits=limits, result_ttl=HOUR, tenant="a"
        )
    assert refused.value.code is ErrorCode.QUOTA_EXCEEDED
    assert stores.batches.read(name, tenant="a") is None
    put(stores.jobs, "a", 1)
    claim = stores.jobs.claim("w")
    assert claim is not None
    stores.jobs.finish(claim.job.id, claim.token, Outcome(failure=CRASHED))
    put(stores.jobs, "a", 3, quota=3)
    with pytest.raises(UnavailableError):
        stores.jobs.retry(claim.job.id, new_id=new_job_id(shard=0, now_ms=1), limits=limits, tenant="a")
