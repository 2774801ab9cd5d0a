"""Records that a courier should never meet: unreadable or unsendable ones block nothing else and end in a failure."""

import asyncio
import ssl
import time
from datetime import timedelta
from typing import cast

import httpcore
import pytest
import redis
import structlog

from shared.deliveries import DeliveryStatus, LeasedDelivery
from shared.jobs import NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.ledger.webhooks.deliveries import Plan
from shared.net.pinned import look_up
from shared.operations import Operation
from shared.webhooks.schemas import Webhook
from tests.integration.servers import Server
from worker.courier.client import Terms
from worker.courier.delivery import Deliverer
from worker.courier.settings import CourierSettings

HOLD = timedelta(seconds=20)


def ended(ledger: Ledger) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        image=b"image",
        result_ttl=timedelta(hours=1),
        webhook=Webhook("https://partner.example/hook"),
    )
    ledger.accept(job, limits=Limits(1000))
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={"faces": []}))
    return job.id


def deliverer(stores: Stores, settings: CourierSettings) -> Deliverer:
    terms = Terms(
        tls=ssl.create_default_context(),
        within=timedelta(seconds=1),
        allow_http=False,
        private=(),
        resolve=look_up,
        network=httpcore.AnyIOBackend(),
    )
    return Deliverer(
        settings,
        terms,
        deliveries=stores.deliveries,
        endpoints=stores.endpoints,
        jobs=stores.jobs,
        endpoint=stores.endpoints.read,
        forget=lambda _: None,
        chance=lambda: 0.0,
    )


def taken(stores: Stores) -> LeasedDelivery:
    (leased,) = stores.deliveries.take(most=10, hold=HOLD, per_destination=8)
    return leased


@pytest.mark.parametrize(
    "odd",
    [
        b"no JSON",
        b"[]",
        b'{"id": "job_1"}',
        b'{"id": "job_1", "type": "job.reborn", "at": 1}',
        b'{"id": "job_1", "type": "job.failed", "at": "soon"}',
        b'{"id": "job_1", "type": "job.failed", "at": 1, "webhook": "no JSON"}',
        b"\xff",
    ],
)
def test_an_unreadable_row_blocks_no_other_and_is_logged_once(
    stores: Stores, ledger_server: Server, odd: bytes
) -> None:
    with connect(ledger_server.url) as store:
        store.lpush(keys.outbox(0), odd)
        job_id = ended(stores.jobs)
        with structlog.testing.capture_logs() as entries:
            found = [stores.deliveries.rows(0, most=10) for _ in range(3)]
        assert [[row.event.subject for row in rows] for rows in found] == [[job_id]] * 3
        assert [line["event"] for line in entries] == ["outbox.unread"]
        assert stores.deliveries.fan_out(found[0][0], [])
        assert _left(store) == [odd]  # for a version that can read it


def _left(store: redis.Redis) -> list[bytes]:
    return cast("list[bytes]", store.lrange(keys.outbox(0), 0, -1))


def test_an_unsendable_delivery_fails_without_blaming_its_destination(stores: Stores) -> None:
    ended(stores.jobs)
    (row,) = stores.deliveries.rows(0, most=10)
    assert stores.deliveries.fan_out(row, [Plan(destination="nowhere")])  # neither an endpoint nor a URL
    settings = CourierSettings(webhook_retries=(timedelta(milliseconds=10),), webhook_secrets="")
    for _ in range(2):
        time.sleep(0.05)
        leased = taken(stores)
        assert leased.failures == 0
        with structlog.testing.capture_logs() as entries:
            asyncio.run(deliverer(stores, settings).deliver(leased))
        assert entries[0]["event"] == "delivery.broke"
    found = stores.deliveries.read(leased.delivery.id)
    assert found is not None
    assert (found.status, found.attempts, found.last_error) == (DeliveryStatus.FAILED, 2, "internal_error")


def test_nothing_is_sent_to_a_jobs_own_url_without_a_secret(stores: Stores) -> None:
    ended(stores.jobs)
    (row,) = stores.deliveries.rows(0, most=10)
    assert stores.deliveries.fan_out(row, [Plan(destination="there", webhook=row.webhook)])
    leased = taken(stores)
    asyncio.run(deliverer(stores, CourierSettings()).deliver(leased))
    found = stores.deliveries.read(leased.delivery.id)
    assert found is not None
    assert (found.status, found.last_error) == (DeliveryStatus.FAILED, "webhooks_off")
    assert stores.deliveries.attempts(found.id) == []
