"""An unreadable record hides only itself: every list shows the rest."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import ErrorCode
from shared.jobs import Job, JobFailure, NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.operations import Operation
from shared.tenants import DEFAULT, ApiKey, Scope, Tenant
from tests.integration.servers import Server
from tests.integration.test_ledger import accept
from tests.integration.test_webhook_endpoints_kept import endpoint

BROKEN = {"created_at": "soon", "quotas": "{", "scopes": "nothing", "events": "nothing", "status": "lost"}
KEYS = ("0123456789ab", "ba9876543210")


def jobs(stores: Stores) -> list[str]:
    return [accept(stores.jobs), accept(stores.jobs)]


def tenants(stores: Stores) -> list[str]:
    return [stores.tenants.create(Tenant(name)).id for name in ("acme", "umbrella")]  # type: ignore[union-attr]


def api_keys(stores: Stores) -> list[str]:
    for name in KEYS:
        stores.api_keys.create(ApiKey(name, DEFAULT, frozenset({Scope.JOBS_READ}), digest="0" * 64))
    return list(KEYS)


def endpoints(stores: Stores) -> list[str]:
    return [stores.endpoints.create(endpoint()).id for _ in range(2)]


KINDS: dict[str, tuple[Callable[[Stores], list[str]], Callable[[str], str], Callable[[Stores], Iterable[Any]]]] = {
    "jobs": (jobs, lambda name: keys.job(0, name), lambda stores: stores.listing.page(JobFilter(), limit=10).jobs),
    "export": (jobs, lambda name: keys.job(0, name), lambda stores: stores.tenant_data.all(DEFAULT)),
    "tenants": (tenants, keys.tenant, lambda stores: stores.tenants.all()),
    "api keys": (api_keys, keys.api_key, lambda stores: stores.api_keys.of(DEFAULT)),
    "endpoints": (endpoints, keys.endpoint, lambda stores: stores.endpoints.all()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_shows_the_readable_records(stores: Stores, ledger_server: Server, kind: str) -> None:
    make, key, read = KINDS[kind]
    bad, good = make(stores)
    with connect(ledger_server.url) as client:
        client.hset(key(bad), mapping=BROKEN)
    names = [each.id for each in read(stores)]
    assert good in names
    assert bad not in names


VECTOR = [0.1] * 512
KNOWN = {
    "reference_embedding": {"vector": VECTOR, "contract": "c"},
    "known_embeddings": [{"vector": VECTOR}, {"vector": VECTOR, "contract": "c"}],
}
OUTLINES = {
    "reference_embedding": {"dimensions": 512, "contract": "c"},
    "known_embeddings": [{"dimensions": 512, "contract": None}, {"dimensions": 512, "contract": "c"}],
}


def with_embeddings(ledger: Ledger) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.REGISTER,
        params={"quality": "off", **KNOWN},
        image=b"front",
        result_ttl=timedelta(hours=1),
    )
    ledger.accept(job, limits=Limits(10))
    return job.id


def listed(stores: Stores, job_id: str) -> Job:
    return next(job for job in stores.listing.page(JobFilter(), limit=10).jobs if job.id == job_id)


def test_a_record_outlines_its_embeddings_and_a_claim_has_them(stores: Stores, ledger_server: Server) -> None:
    job_id = with_embeddings(stores.jobs)
    with connect(ledger_server.url) as client:
        record = client.hgetall(keys.job(0, job_id))
    assert sum(map(len, record.values())) < 1000
    assert listed(stores, job_id).params == {"quality": "off", **OUTLINES}
    claim = stores.jobs.claim("w")
    assert claim is not None
    assert claim.job.params == {"quality": "off", **KNOWN}


def test_embeddings_in_parameters_are_erased_when_the_job_finishes(ledger: Ledger, ledger_server: Server) -> None:
    job_id = with_embeddings(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(job_id, claim.token, Outcome(result={}))
    with connect(ledger_server.url) as client:
        assert client.exists(keys.embeddings(0, job_id)) == 0


def test_a_retry_compares_with_the_same_embeddings(ledger: Ledger) -> None:
    job_id = with_embeddings(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    failure = JobFailure(ErrorCode.INTERNAL_ERROR, "The worker failed.", retryable=True)
    assert ledger.finish(job_id, claim.token, Outcome(failure=failure))
    again = ledger.retry(job_id, new_id=new_job_id(shard=0, now_ms=2), limits=Limits(10))
    second = ledger.claim("w")
    assert second is not None
    assert (second.job.id, second.job.params) == (again.id, claim.job.params)
    assert replace(again, params={}).retry_of == job_id
