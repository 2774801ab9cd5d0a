"""The stand-ins keep the promises of what they stand for."""

import inspect
from datetime import timedelta

import pytest

from shared.dispatch import Doorbell
from shared.errors import UnavailableError
from shared.jobs import NewJob, Status
from shared.ledger.admission import Limits
from shared.ledger.batches.store import Batches
from shared.ledger.idempotency import Idempotency
from shared.ledger.jobs.fetches import Fetches
from shared.ledger.jobs.listing import Listing
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.presence import Presence
from shared.operations import Operation
from tests.doubles import MemoryPresence, RecordingDoorbell
from tests.memory_ledger import MemoryLedger
from tests.memory_repositories import MemoryBatches, MemoryFetches, MemoryIdempotency, MemoryListing


def put(ledger: MemoryLedger, job_id: str = "job_1", *, limit: int = 10) -> None:
    ledger.accept(
        NewJob(id=job_id, operation=Operation.DETECT, params={}, image=b"i", result_ttl=timedelta(1)),
        limits=Limits(limit),
    )


@pytest.mark.parametrize(
    ("double", "real"),
    [
        (MemoryLedger, Ledger),
        (MemoryBatches, Batches),
        (MemoryListing, Listing),
        (MemoryIdempotency, Idempotency),
        (MemoryFetches, Fetches),
        (MemoryPresence, Presence),
        (RecordingDoorbell, Doorbell),
    ],
)
def test_a_double_takes_what_the_real_one_takes(double: type, real: type) -> None:
    for name, method in inspect.getmembers(double, inspect.isfunction):
        if not name.startswith("_") and hasattr(real, name):
            assert inspect.signature(method) == inspect.signature(getattr(real, name)), name


def test_a_job_goes_from_queued_through_running_to_its_end() -> None:
    ledger = MemoryLedger()
    seen: list[Status | None] = []
    ledger.listeners.append(lambda _, status: seen.append(status))
    put(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish("job_1", claim.token, Outcome(result={"a": 1}))
    assert seen == [Status.QUEUED, Status.RUNNING, Status.SUCCEEDED]


def test_a_stale_token_writes_nothing() -> None:
    ledger = MemoryLedger()
    put(ledger)
    ledger.claim("w")
    assert not ledger.finish("job_1", "other:1", Outcome(result={}))
    job = ledger.read("job_1")
    assert job is not None
    assert job.status is Status.RUNNING


def test_jobs_are_claimed_in_order_and_the_limit_holds() -> None:
    ledger = MemoryLedger()
    put(ledger, "job_1")
    put(ledger, "job_2")
    with pytest.raises(UnavailableError):
        put(ledger, "job_3", limit=2)
    claims = [ledger.claim("w"), ledger.claim("w"), ledger.claim("w")]
    assert [claim.job.id if claim else None for claim in claims] == ["job_1", "job_2", None]
