"""A caller's grant is checked again in the step that accepts its work, however long ago it was authenticated."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ErrorCode, RequestError
from shared.jobs import JobFailure, NewJob, new_batch_id, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Outcome
from shared.ledger.stores import Stores
from shared.liveness_sessions import NewSession, Step, new_session_id
from shared.operations import Operation
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


def job(stores: Stores, grant: Grant) -> None:
    stores.jobs.accept(new_job(), limits=Limits(10, grant=grant, tenant="acme"))


def batch(stores: Stores, grant: Grant) -> None:
    stores.batches.accept(
        new_batch_id(shard=0, now_ms=1),
        [new_job()],
        metadata={},
        limits=Limits(10, grant=grant, tenant="acme"),
        result_ttl=timedelta(hours=1),
        tenant="acme",
    )


def retry(stores: Stores, grant: Grant) -> None:
    failed = new_job()
    stores.jobs.accept(failed, limits=Limits(10))
    claim = stores.jobs.claim("w")
    assert claim is not None
    failure = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)
    assert stores.jobs.finish(failed.id, claim.token, Outcome(failure=failure))
    limits = Limits(10, grant=grant, tenant="acme")
    stores.jobs.retry(failed.id, new_id=new_job_id(shard=0, now_ms=2), limits=limits, tenant="acme")


def session(stores: Stores, grant: Grant) -> None:
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
    stores.sessions.open(new, grant=grant)


STEPS: dict[str, Callable[[Stores, Grant], None]] = {"job": job, "batch": batch, "retry": retry, "session": session}


def acme(stores: Stores) -> Grant:
    tenant = stores.tenants.create(Tenant("acme"))
    assert tenant is not None
    assert stores.api_keys.create(KEY) is not None
    return Grant(key=KEY.id, since=tenant.created_at)


def refused(stores: Stores, step: str, grant: Grant) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        STEPS[step](stores, grant)
    return caught.value.code


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_for_a_tenant_disabled_meanwhile(stores: Stores, step: str) -> None:
    grant = acme(stores)
    stores.tenants.change("acme", {"disabled": True})
    assert refused(stores, step, grant) is ErrorCode.FORBIDDEN
    stores.tenants.change("acme", {"disabled": False})
    STEPS[step](stores, grant)


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_with_a_key_revoked_meanwhile(stores: Stores, step: str) -> None:
    grant = acme(stores)
    assert stores.api_keys.revoke(KEY)
    assert refused(stores, step, grant) is ErrorCode.UNAUTHENTICATED
    STEPS[step](stores, Grant(since=grant.since))


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_accepted_for_a_tenant_erased_meanwhile(stores: Stores, step: str) -> None:
    grant = Grant(since=acme(stores).since)
    stores.tenants.delete("acme")
    assert refused(stores, step, grant) is ErrorCode.FORBIDDEN
    namesake = stores.tenants.create(Tenant("acme"))
    assert namesake is not None
    assert refused(stores, step, grant) is ErrorCode.FORBIDDEN
    STEPS[step](stores, Grant(since=namesake.created_at))


def test_a_tenant_disabled_meanwhile_registers_no_endpoint(stores: Stores) -> None:
    grant = acme(stores)
    stores.tenants.change("acme", {"disabled": True})
    with pytest.raises(RequestError) as caught:
        stores.endpoints.create(replace(endpoint(), tenant="acme"), grant=grant)
    assert caught.value.code is ErrorCode.FORBIDDEN


def test_the_default_tenant_works_after_its_erasure(stores: Stores) -> None:
    stores.tenants.change(DEFAULT, {"disabled": True})
    stores.tenants.delete(DEFAULT)
    stores.jobs.accept(new_job(DEFAULT), limits=Limits(10, grant=Grant(since=0.0)))


def test_nothing_is_checked_without_authentication(stores: Stores) -> None:
    acme(stores)
    stores.tenants.change("acme", {"disabled": True})
    job(stores, Grant())
