"""Two tenants in one ledger: neither reads, changes, ends, erases or hears of what is the other's."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError
from shared.jobs import Batch, JobFailure, NewJob, Status, new_batch_id, new_job_id
from shared.operations import Operation
from shared.signing import new_secret
from shared.storage.admission import Limits
from shared.storage.connection import connect
from shared.storage.ledger import Ledger, Outcome
from shared.storage.listing import JobFilter
from shared.tenants import DEFAULT
from shared.webhooks import Endpoint, EventType, Secret, new_endpoint_id
from tests.integration.servers import Server

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


def batch(ledger: Ledger, tenant: str) -> str:
    name = new_batch_id(shard=0, now_ms=time.time_ns() // 1_000_000)
    jobs = [new(tenant), new(tenant)]
    ledger.batches.accept(name, jobs, metadata={}, limits=LIMITS, result_ttl=HOUR, tenant=tenant)
    return name


def endpoint(ledger: Ledger, tenant: str) -> Endpoint:
    return ledger.endpoints.create(
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


def listed(ledger: Ledger, tenant: str) -> list[str]:
    return [job.id for job in ledger.listing.page(JobFilter(tenant=tenant), limit=100).jobs]


def status(ledger: Ledger, job_id: str) -> Status:
    job = ledger.read(job_id)
    assert job is not None
    return job.status


def counts(found: Batch | None) -> dict[Status, int]:
    assert found is not None
    return found.counts


@pytest.mark.parametrize("stranger", ["other", DEFAULT])
def test_nobody_ends_or_erases_a_job_of_another_tenant(ledger: Ledger, stranger: str) -> None:
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


def test_a_retried_job_stays_its_tenants(ledger: Ledger) -> None:
    accept(ledger, "acme")
    failed = end(ledger, CRASHED)
    again = ledger.retry(failed, new_id=new_job_id(shard=0, now_ms=1), limits=LIMITS, tenant="acme")
    assert again.tenant == "acme"
    assert listed(ledger, "acme") == [again.id, failed]


def test_a_list_shows_the_jobs_of_its_tenant_alone_through_all_their_states(ledger: Ledger) -> None:
    ids = {tenant: [accept(ledger, tenant) for _ in range(3)] for tenant in ("acme", "other", DEFAULT)}
    end(ledger)
    end(ledger, CRASHED)
    for tenant, own in ids.items():
        assert set(listed(ledger, tenant)) == set(own)
    assert ledger.delete(ids["acme"][0], tenant="acme")
    assert set(listed(ledger, "acme")) == set(ids["acme"][1:])
    assert listed(ledger, "nobody") == []


def test_nobody_reads_ends_or_erases_a_batch_of_another_tenant(ledger: Ledger) -> None:
    name = batch(ledger, "acme")
    for stranger in ("other", DEFAULT):
        assert ledger.batches.read(name, tenant=stranger) is None
        assert ledger.batches.cancel(name, tenant=stranger) is None
        assert not ledger.batches.delete(name, tenant=stranger)
    assert counts(ledger.batches.read(name, tenant="acme"))[Status.QUEUED] == 2
    assert counts(ledger.batches.cancel(name, tenant="acme"))[Status.CANCELED] == 2
    assert ledger.batches.delete(name, tenant="acme")


def test_an_endpoint_hears_of_the_ends_of_its_tenant_alone(ledger: Ledger) -> None:
    own, others, of_default = (endpoint(ledger, tenant).id for tenant in ("acme", "other", DEFAULT))
    assert ledger.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="acme") == [own]
    assert ledger.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="other") == [others]
    assert ledger.endpoints.listening(0, EventType.JOB_SUCCEEDED) == [of_default]
    accept(ledger, "acme")
    batch(ledger, "other")
    for _ in range(3):
        end(ledger)
    rows = ledger.deliveries.rows(0, most=10)
    assert [(row.event.type, row.event.tenant) for row in rows] == [
        (EventType.JOB_SUCCEEDED, "acme"),
        (EventType.JOB_SUCCEEDED, "other"),
        (EventType.JOB_SUCCEEDED, "other"),
        (EventType.BATCH_COMPLETED, "other"),
    ]


def test_an_end_that_only_another_tenant_listens_for_writes_no_row(ledger: Ledger) -> None:
    endpoint(ledger, "other")
    accept(ledger, "acme")
    end(ledger)
    assert ledger.deliveries.rows(0, most=10) == []


def test_a_list_of_endpoints_is_its_tenants_and_so_is_its_limit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.endpoints.MOST", 1)
    own = endpoint(ledger, "acme")
    others = endpoint(ledger, "other")
    with pytest.raises(RequestError):
        endpoint(ledger, "acme")
    assert [one.id for one in ledger.endpoints.all(tenant="acme")] == [own.id]
    assert [one.id for one in ledger.endpoints.all(tenant="other")] == [others.id]
    assert ledger.endpoints.all() == []
    ledger.endpoints.mend()
    assert ledger.endpoints.listening(0, EventType.JOB_SUCCEEDED, tenant="acme") == [own.id]


def test_nobody_reads_or_resends_a_delivery_of_another_tenant(ledger: Ledger) -> None:
    sent = ledger.deliveries.send_test(endpoint(ledger, "acme"))
    for stranger in ("other", DEFAULT):
        assert ledger.deliveries.read(sent.id, tenant=stranger) is None
        assert ledger.deliveries.resend(sent.id, tenant=stranger) is None
    assert ledger.deliveries.resend(sent.id, tenant="acme") is not None


def test_a_kept_result_is_erased_by_its_tenant_alone(ledger: Ledger) -> None:
    job_id = accept(ledger, "acme")
    claim = ledger.claim("w")
    assert claim is not None
    digest = "ab" * 32
    ledger.results.keep(digest, {"faces": []}, good_for=HOUR)
    ledger.finish(job_id, claim.token, Outcome(result={"faces": []}, cached_as=digest))
    assert not ledger.delete(job_id, tenant="other")
    assert ledger.results.find(digest) is not None
    assert ledger.delete(job_id, tenant="acme")
    assert ledger.results.find(digest) is None


def test_records_of_before_there_were_tenants_are_the_default_tenants(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger, DEFAULT)
    with connect(ledger_server.url) as client:
        named = {key for key in client.scan_iter("*") if b"default" in key}
        assert named == {b"vultus:{0}:pending:default"}  # its place in line, which is gone with the claim
        assert client.hget(f"vultus:{{0}}:job:{job_id}", "tenant") is None
    found = ledger.read(job_id)
    assert found is not None
    assert found.tenant == DEFAULT
    assert listed(ledger, DEFAULT) == [job_id]
