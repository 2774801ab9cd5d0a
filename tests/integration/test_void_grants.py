"""What a caller was granted is checked again in the step that accepts its work, however long ago it was let in."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError
from shared.jobs import JobFailure, NewJob, new_batch_id, new_job_id
from shared.liveness_sessions import NewSession, Step, new_session_id
from shared.operations import Operation
from shared.storage.admission import Limits
from shared.storage.ledger import Ledger, Outcome
from shared.tenants import DEFAULT, ApiKey, Grant, Scope, Tenant
from tests.integration.test_webhook_endpoints_kept import endpoint

KEY = ApiKey("0123456789ab", "acme", frozenset({Scope.JOBS_WRITE}), digest="0" * 64)


def new_job(tenant: str = "acme", *, job_id: str | None = None) -> NewJob:
    return NewJob(
        id=job_id or new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        image=b"image",
        tenant=tenant,
        result_ttl=timedelta(hours=1),
    )


def job(ledger: Ledger, grant: Grant) -> None:
    ledger.accept(new_job(), limits=Limits(10, grant=grant, tenant="acme"))


def batch(ledger: Ledger, grant: Grant) -> None:
    ledger.batches.accept(
        new_batch_id(shard=0, now_ms=1),
        [new_job()],
        metadata={},
        limits=Limits(10, grant=grant, tenant="acme"),
        result_ttl=timedelta(hours=1),
        tenant="acme",
    )


def retry(ledger: Ledger, grant: Grant) -> None:
    failed = new_job()
    ledger.accept(failed, limits=Limits(10))
    claim = ledger.claim("w")
    assert claim is not None
    failure = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)
    assert ledger.finish(failed.id, claim.token, Outcome(failure=failure))
    limits = Limits(10, grant=grant, tenant="acme")
    ledger.retry(failed.id, new_id=new_job_id(shard=0, now_ms=2), limits=limits, tenant="acme")


def session(ledger: Ledger, grant: Grant) -> None:
    new = NewSession(
        id=new_session_id(shard=0, now_ms=1),
        steps=(Step.LOOK_STRAIGHT,),
        length=timedelta(minutes=1),
        step_length=timedelta(seconds=20),
        most_frames=10,
        result_ttl=timedelta(hours=1),
        tenant="acme",
        memory="{}",
    )
    ledger.sessions.open(new, grant=grant)


STEPS: dict[str, Callable[[Ledger, Grant], None]] = {"job": job, "batch": batch, "retry": retry, "session": session}


def acme(ledger: Ledger) -> Grant:
    tenant = ledger.tenants.create(Tenant("acme"))
    assert tenant is not None
    assert ledger.api_keys.create(KEY) is not None
    return Grant(key=KEY.id, since=tenant.created_at)


def refused(ledger: Ledger, step: str, grant: Grant) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        STEPS[step](ledger, grant)
    return caught.value.code


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_for_a_tenant_that_was_disabled_since(ledger: Ledger, step: str) -> None:
    grant = acme(ledger)
    ledger.tenants.change("acme", {"disabled": True})
    assert refused(ledger, step, grant) is ErrorCode.FORBIDDEN
    ledger.tenants.change("acme", {"disabled": False})
    STEPS[step](ledger, grant)


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_with_a_key_that_was_revoked_since(ledger: Ledger, step: str) -> None:
    grant = acme(ledger)
    assert ledger.api_keys.revoke(KEY)
    assert refused(ledger, step, grant) is ErrorCode.UNAUTHENTICATED
    STEPS[step](ledger, Grant(since=grant.since))


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_for_a_tenant_that_was_erased_since(ledger: Ledger, step: str) -> None:
    grant = Grant(since=acme(ledger).since)
    ledger.tenants.delete("acme")
    assert refused(ledger, step, grant) is ErrorCode.FORBIDDEN
    namesake = ledger.tenants.create(Tenant("acme"))
    assert namesake is not None
    assert refused(ledger, step, grant) is ErrorCode.FORBIDDEN
    STEPS[step](ledger, Grant(since=namesake.created_at))


def test_a_tenant_that_was_disabled_since_registers_no_endpoint(ledger: Ledger) -> None:
    grant = acme(ledger)
    ledger.tenants.change("acme", {"disabled": True})
    with pytest.raises(RequestError) as caught:
        ledger.endpoints.create(replace(endpoint(), tenant="acme"), grant=grant)
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_the_default_tenant_works_on_after_its_erasure(ledger: Ledger) -> None:
    ledger.tenants.change(DEFAULT, {"disabled": True})
    ledger.tenants.delete(DEFAULT)
    ledger.accept(new_job(DEFAULT), limits=Limits(10, grant=Grant(since=0.0)))


def test_where_nobody_authenticates_nothing_is_checked(ledger: Ledger) -> None:
    acme(ledger)
    ledger.tenants.change("acme", {"disabled": True})
    job(ledger, Grant())
