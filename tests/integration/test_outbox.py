"""The outbox in a real store: each completion becomes one row, and each row is fanned out once."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from shared.deliveries import event_id
from shared.jobs import NewJob, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.stores import Stores
from shared.ledger.webhooks.deliveries import Plan
from shared.operations import Operation
from shared.webhooks.schemas import EventType
from tests.integration.servers import Server
from tests.integration.test_deliveries import URL, ended, take
from tests.integration.test_webhook_endpoints_kept import endpoint


@pytest.fixture
def store(ledger_server: Server) -> Iterator[redis.Redis]:
    with connect(ledger_server.url) as client:
        yield client


def test_a_row_contains_the_event_and_its_receivers(stores: Stores) -> None:
    job_id = ended(stores.jobs)
    (row,) = stores.deliveries.rows(0, most=10)
    assert (row.event.id, row.event.type, row.event.subject) == (event_id(job_id), EventType.JOB_SUCCEEDED, job_id)
    assert (row.event.operation, row.event.code) == ("detect", None)
    assert row.event.at == pytest.approx(time.time(), abs=5)
    assert row.webhook is not None
    assert (row.webhook.url, row.webhook.headers) == (URL, {"X-Case": "9"})


def test_a_row_is_fanned_out_once(stores: Stores) -> None:
    ended(stores.jobs)
    (row,) = stores.deliveries.rows(0, most=10)
    assert stores.deliveries.waiting() == 1
    assert stores.deliveries.fan_out(row, [Plan("a"), Plan("b")])
    assert not stores.deliveries.fan_out(row, [Plan("a"), Plan("b")])
    assert stores.deliveries.waiting() == 0
    assert len(take(stores.deliveries)) == 2


def test_a_row_without_receivers_is_removed_without_a_trace(stores: Stores, store: redis.Redis) -> None:
    job_id = ended(stores.jobs)
    (row,) = stores.deliveries.rows(0, most=10)
    assert stores.deliveries.fan_out(row, [])
    assert store.exists(keys.event(0, event_id(job_id))) == 0
    assert stores.deliveries.waiting() == 0


def test_a_batch_reports_the_outcomes_of_its_jobs(stores: Stores) -> None:
    registered = stores.endpoints.create(endpoint(EventType.BATCH_COMPLETED))
    assert registered.enabled
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        image=b"image",
        result_ttl=timedelta(hours=1),
    )
    batch_id = f"batch_{job.id.removeprefix('job_')}"
    stores.batches.accept(batch_id, [job], metadata={}, limits=Limits(10), result_ttl=timedelta(hours=1))
    stores.jobs.cancel(job.id)
    (row,) = stores.deliveries.rows(0, most=5)
    assert (row.event.type, row.event.subject, row.event.total) == (EventType.BATCH_COMPLETED, batch_id, 1)
    assert row.event.counts is not None
    assert row.event.counts[Status.CANCELED] == 1
