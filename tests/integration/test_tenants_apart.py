"""Two tenants in one ledger: neither reads, changes, ends, erases or hears of the other's records."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError
from shared.jobs import Batch, JobFailure, NewJob, Status, new_batch_id, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.operations import Operation
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Endpoint, EventType, Secret, new_endpoint_id
from shared.webhooks.signing import new_secret

LIMITS = Limits(1000)
HOUR = timedelta(hours=1)
CRASHED = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)


def new(tenant: str) -> NewJob:
    name = new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000)
    return NewJob(id=name, operation=Operation.DETECT, params={}, image=b"pixels", result_ttl=HOUR, tenant=tenant)


def accept(ledger: Ledger, tenant: str) -> str:
    job = new(tenant)
    ledger.accept(job, limits=LIMITS)
    return job.id


def batch(stores: Stores, tenant: str) -> str:
    name = new_batch_id(shard=0, now_ms=time.time_ns() // 1_000_000)
    jobs = [new(tenant), new(tenant)]
    stores.batches.accept(name, jobs, metadata={}, limits=LIMITS, result_ttl=HOUR, tenant=tenant)
    return name


def endpoint(stores: Stores, tenant: str) -> Endpoint:
    return stores.endpoints.create(
        Endpoint(
            id=new_endpoint_id(),
            url="https://partner.example/hook",
            events=(EventType.JOB_SUCCEEDED, EventType.BATCH_COMPLETED),
            secrets=(Secret(new_secret(), created_at=0),),
            tenant=tenant,
        )
    )


def end(ledger: Ledger, failure: JobFailure | None = None) -> str:
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={"faces": []}, failure=failure))
    return claim.job.id


def listed(stores: Stores, tenant: str) -> list[str]:
    return [job.id for job in stores.listing.page(JobFilter(tenant=tenant), limit=100).jobs]


def status(ledger: Ledger, job_id: str) -> Status:
    job = ledger.read(job_id)
    assert job is not None
    return job.status


def counts(found: Batch | None) -> dict[Status, int]:
    assert found is not None
    return found.counts


@pytest.mark.parametrize("stranger", ["other", DEFAULT])
def test_no_tenant_ends_or_erases_a_job_of_another(ledger: Ledger, stranger: str) -> None:
    job_id = accept(ledger, "acme")
    acts: list[Callable[[], object]] = [
        lambda: ledger.cancel(job_id, tenant=stranger),
        lambda: ledger.retry(job_id, new_id=new_job_id(shard=0, now_ms=1), limits=LIMITS, tenant=stranger),
    ]
    for act in acts:
        with pytest.raises(RequestError) as refused:
            act()
        assert refused.value.code is ErrorCode.JOB_NOT_FOUND
    assert not ledger.delete(job_id, tenant=stranger)
    assert status(ledger, job_id) is Status.QUEUED
    assert ledger.cancel(job_id, tenant="acme").status is Status.CANCELED
    assert ledger.delete(job_id, tenant="acme")


def test_a_retried_job_stays_with_its_tenant(stores: Stores) -> None:
    accept(stores.jobs, "acme")
    failed = end(stores.jobs, CRASHED)
    again = stores.jobs.retry(failed, new_id=new_job_id(shard=0, now_ms=1), limits=LIMITS, tenant="acme")
    assert again.tenant == "acme"
    assert listed(stores, "acme") == [again.id, failed]


def test_a_list_shows_only_the_jobs_of_its_tenant_in_every_state(stores: Stores) -> None:
    ids = {tenant: [accept(stores.jobs, tenant) for _ in range(3)] for tenant in ("acme", "other", DEFAULT)}
    end(stores.jobs)
    end(stores.jobs, CRASHED)
    for tenant, own in ids.items():
        assert set(listed(stores, tenant)) == set(own)
    assert stores.jobs.delete(ids["acme"][0], tenant="acme")
    assert set(listed(stores, "acme")) == set(ids["acme"][1:])
    assert listed(stores, "nobody") == []


def test_no_tenant_reads_ends_or_erases_a_batch_of_another(stores: Stores) -> None:
    name = batch(stores, "acme")
    for stranger in ("other", DEFAULT):
        assert stores.batches.read(name, tenant=stranger) is None
        assert stores.batches.cancel(name, tenant=stranger) is None
        assert not stores.batches.delete(name, tenant=stranger)
    assert counts(stores.batches.read(name, tenant="acme"))[Status.QUEUED] == 2
    assert counts(stores.batches.cancel(name, tenant="acme"))[Status.CANCELED] == 2
    assert stores.batches.delete(name, tenant="acme")


def test_an_endpoint_hears_only_of_completions_of_its_tenant(stores: Stores) -> None:
    own, others, of_default = (endpoint(stores, tenant).id for tenant in ("acme", "other", DEFAULT))
    assert stores.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="acme") == [own]
    assert stores.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="other") == [others]
    assert stores.endpoints.listening(0, EventType.JOB_SUCCEEDED) == [of_default]
    accept(stores.jobs, "acme")
    batch(stores, "other")
    for _ in range(3):
        end(stores.jobs)
    rows = stores.deliveries.rows(0, most=10)
    assert [(row.event.type, row.event.tenant) for row in rows] == [
        (EventType.JOB_SUCCEEDED, "acme"),
        (EventType.JOB_SUCCEEDED, "other"),
        (EventType.JOB_SUCCEEDED, "other"),
        (EventType.BATCH_COMPLETED, "other"),
    ]


def test_a_completion_with_only_foreign_listeners_writes_no_row(stores: Stores) -> None:
    endpoint(stores, "other")
    accept(stores.jobs, "acme")
    end(stores.jobs)
    assert stores.deliveries.rows(0, most=10) == []


def test_endpoints_and_their_limit_belong_to_a_tenant(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.ledger.webhooks.endpoints.MOST", 1)
    own = endpoint(stores, "acme")
    others = endpoint(stores, "other")
    with pytest.raises(RequestError):
        endpoint(stores, "acme")
    assert [one.id for one in stores.endpoints.all(tenant="acme")] == [own.id]
    assert [one.id for one in stores.endpoints.all(tenant="other")] == [others.id]
    assert stores.endpoints.all() == []
    stores.endpoints.mend()
    assert stores.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="acme") == [own.id]


def test_no_tenant_reads_or_resends_a_delivery_of_another(stores: Stores) -> None:
    sent = stores.deliveries.send_test(endpoint(stores, "acme"))
    for stranger in ("other", DEFAULT):
        assert stores.deliveries.read(sent.id, tenant=stranger) is None
        assert stores.deliveries.resend(sent.id, tenant=stranger) is None
    assert stores.deliveries.resend(sent.id, tenant="acme") is not None


def test_a_cached_result_is_erased_only_by_its_tenant(stores: Stores) -> None:
    job_id = accept(stores.jobs, "acme")
    claim = stores.jobs.claim("w")
    assert claim is not None
    digest = "ab" * 32
    stores.results.keep(digest, {"faces": []}, good_for=HOUR)
    stores.jobs.finish(job_id, claim.token, Outcome(result={"faces": []}, cached_as=digest))
    assert not stores.jobs.delete(job_id, tenant="other")
    assert stores.results.find(digest) is not None
    assert stores.jobs.delete(job_id, tenant="acme")
    assert stores.results.find(digest) is None
