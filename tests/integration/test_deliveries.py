"""Deliveries in a real store: fanned out once, taken in turn, fenced, retried, paused, and resent."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from shared.deliveries import Attempt, Delivery, DeliveryStatus, LeasedDelivery, event_id
from shared.jobs import NewJob, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.ledger.webhooks.deliveries import Deliveries, Plan
from shared.operations import Operation
from shared.tenants import DEFAULT
from shared.webhooks.schemas import EventType, Webhook
from tests.integration.servers import Server
from tests.integration.test_webhook_endpoints_kept import endpoint

URL = "https://partner.example.org/hook"
HOLD = timedelta(seconds=20)
PENDING, DELIVERED, FAILED = DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.FAILED


@pytest.fixture
def deliveries(stores: Stores) -> Deliveries:
    return stores.deliveries


@pytest.fixture
def store(ledger_server: Server) -> Iterator[redis.Redis]:
    with connect(ledger_server.url) as client:
        yield client


def ended(ledger: Ledger, *, tenant: str = DEFAULT) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
        operation=Operation.DETECT,
        params={},
        image=b"image",
        result_ttl=timedelta(hours=1),
        webhook=Webhook(URL, headers={"X-Case": "9"}),
        tenant=tenant,
    )
    ledger.accept(job, limits=Limits(1000))
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(claim.job.id, claim.token, Outcome(result={"faces": []}))
    return job.id


def planned(stores: Stores, *destinations: str, tenant: str = DEFAULT) -> str:
    """Store an event with a delivery for each destination; return the id of its job."""
    job_id = ended(stores.jobs, tenant=tenant)
    (row,) = stores.deliveries.rows(0, most=10)
    assert stores.deliveries.fan_out(row, [Plan(destination=name, webhook=row.webhook) for name in destinations])
    return job_id


def take(
    deliveries: Deliveries, *, most: int = 100, hold: timedelta = HOLD, per_destination: int = 8
) -> list[LeasedDelivery]:
    return deliveries.take(most=most, hold=hold, per_destination=per_destination)


def answered(leased: LeasedDelivery, status: int | None, error: str | None = None) -> Attempt:
    return Attempt(
        number=leased.delivery.attempts, at=leased.now, milliseconds=12.5, status=status, error=error, response="ok"
    )


def deliver(deliveries: Deliveries, leased: LeasedDelivery, **more: Any) -> bool:
    return deliveries.record(leased, status=DELIVERED, attempt=answered(leased, 204), **more)


def fail(deliveries: Deliveries, leased: LeasedDelivery, **more: Any) -> bool:
    return deliveries.record(leased, status=PENDING, attempt=answered(leased, 500), **{"unwell": True, **more})


def read(deliveries: Deliveries, leased: LeasedDelivery) -> Delivery:
    found = deliveries.read(leased.delivery.id)
    assert found is not None
    return found


def test_a_delivery_is_taken_once_and_has_one_id_for_its_job(stores: Stores, deliveries: Deliveries) -> None:
    job_id = planned(stores, "a")
    (leased,) = take(deliveries)
    assert take(deliveries) == []
    assert leased.delivery.event.id == event_id(job_id)
    assert leased.delivery.attempts == leased.delivery.tries == 1
    assert leased.now == pytest.approx(time.time(), abs=5)
    assert deliver(deliveries, leased)
    found = read(deliveries, leased)
    assert (found.status, found.last_status, found.last_error) == (DELIVERED, 204, None)
    assert found.ended_at is not None
    assert deliveries.attempts(found.id) == [answered(leased, 204)]
    assert [one.id for one in deliveries.of_subject(job_id)] == [found.id]
    assert take(deliveries) == []
    assert deliveries.next_due() is None


def test_a_failed_delivery_is_due_again_at_its_given_time(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    (leased,) = take(deliveries)
    assert fail(deliveries, leased, again_in=0.3)
    assert take(deliveries) == []
    assert deliveries.next_due() == pytest.approx(0.3, abs=0.1)
    time.sleep(0.35)
    (again,) = take(deliveries)
    assert again.delivery.event.id == leased.delivery.event.id
    assert (again.delivery.attempts, again.delivery.tries, again.failures) == (2, 2, 1)
    assert again.delivery.last_status == 500


def test_a_dead_couriers_delivery_goes_to_the_next_and_is_logged(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    (lost,) = take(deliveries, hold=timedelta(seconds=0.2))
    assert take(deliveries) == []
    time.sleep(0.25)
    (again,) = take(deliveries)
    assert again.delivery.event.id == lost.delivery.event.id
    (logged,) = deliveries.attempts(again.delivery.id)
    assert (logged.number, logged.error, logged.status) == (1, "courier_lost", None)
    assert not deliver(deliveries, lost), "the first courier comes back too late"
    assert read(deliveries, again).status is PENDING
    assert deliver(deliveries, again)


def test_renewed_deliveries_stay_and_lost_ones_go_to_the_next_courier(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    planned(stores, "b")
    (kept, lost) = take(deliveries, hold=timedelta(seconds=0.3))
    for _ in range(3):
        time.sleep(0.15)
        deliveries.keep([kept], hold=timedelta(seconds=0.3))
    (again,) = take(deliveries)
    assert again.delivery.id == lost.delivery.id
    deliveries.keep([lost], hold=timedelta(0))
    assert take(deliveries) == [], "a courier that lost it has no say in how long the next one has it"
    assert deliver(deliveries, kept)
    assert deliver(deliveries, again)
    deliveries.keep([kept, again], hold=HOLD)
    assert deliveries.next_due() is None, "what has ended is nobody's"


def test_a_destination_has_a_limited_number_of_attempts_in_flight(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(5):
        planned(stores, "a")
    leased_deliveries = take(deliveries, per_destination=2)
    assert len(leased_deliveries) == 2
    assert take(deliveries, per_destination=2) == []
    wait = deliveries.next_due()
    assert wait is not None
    assert wait > 10, "nobody looks at it again before something can be done"
    assert deliver(deliveries, leased_deliveries[0])
    assert len(take(deliveries, per_destination=2)) == 1


def test_a_long_queue_and_a_hanging_receiver_delay_no_other(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(30):
        planned(stores, "busy")
    planned(stores, "hanging")
    first = take(deliveries, most=4, per_destination=4)
    assert {leased.delivery.destination for leased in first} == {"busy"}
    planned(stores, "late")
    assert deliver(deliveries, first[0])
    second = take(deliveries, most=4, per_destination=4)
    assert {leased.delivery.destination for leased in second} == {"busy", "hanging", "late"}


def test_a_tenant_with_many_destinations_leaves_slots_for_others(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, *(f"a{number}" for number in range(20)), tenant="a")
    first = take_shared(deliveries, most=8, held={})
    assert len(first) == 4
    assert take_shared(deliveries, most=4, held={"a": 4}) == []
    planned(stores, *(f"b{number}" for number in range(20)), tenant="b")
    second = take_shared(deliveries, most=4, held={"a": 4})
    assert {leased.delivery.event.tenant for leased in second} == {"b"}
    assert len(second) == 2
    planned(stores, "c", tenant="c")
    (third,) = take_shared(deliveries, most=2, held={"a": 4, "b": 2})
    assert third.delivery.event.tenant == "c"
    rest: list[LeasedDelivery] = []
    deadline = time.monotonic() + 5
    while len(rest) < 41 - 7:  # having had a share puts no tenant behind
        rest += take_shared(deliveries, most=100, held={})
        assert time.monotonic() < deadline


def take_shared(deliveries: Deliveries, *, most: int, held: dict[str, int]) -> list[LeasedDelivery]:
    return deliveries.take(most=most, hold=HOLD, per_destination=8, held=held)


def test_destinations_take_turns(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(4):
        planned(stores, "a", "b", "c")
    order: list[str] = []
    for _ in range(12):
        (leased,) = take(deliveries, most=1, per_destination=1)
        order.append(leased.delivery.destination)
        assert deliver(deliveries, leased)
    assert {tuple(sorted(order[at : at + 3])) for at in range(0, 12, 3)} == {("a", "b", "c")}


def test_one_attempt_at_a_time_after_a_failure_and_none_during_a_pause(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(4):
        planned(stores, "a")
    leased_deliveries = take(deliveries)
    assert len(leased_deliveries) == 4
    for leased in leased_deliveries:
        assert fail(deliveries, leased, pause=0.3)
    assert take(deliveries) == []
    time.sleep(0.35)
    (probe,) = take(deliveries)
    assert probe.failures == 1, "what began together is one failure in a row"
    assert take(deliveries) == [], "half open: one probe"
    assert fail(deliveries, probe)
    (probe,) = take(deliveries)
    assert probe.failures == 2
    assert deliver(deliveries, probe)
    assert len(take(deliveries)) == 3, "closed again: all that waited"


def test_a_pause_is_not_shortened(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    planned(stores, "a")
    (first, second) = take(deliveries)
    assert fail(deliveries, first, pause=60)
    assert fail(deliveries, second, pause=0.1)
    time.sleep(0.15)
    assert take(deliveries) == []


def test_a_refusal_of_one_event_does_not_count_against_the_destination(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(3):
        planned(stores, "a")
    (first, *_) = take(deliveries, most=1)
    assert fail(deliveries, first, unwell=False, again_in=60)
    assert len(take(deliveries)) == 2


def test_an_attempt_that_was_not_made_does_not_count(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    (leased,) = take(deliveries)
    assert deliveries.record(leased, status=FAILED, attempt=None, error="endpoint_disabled")
    found = read(deliveries, leased)
    assert (found.status, found.attempts, found.last_error) == (FAILED, 0, "endpoint_disabled")
    assert deliveries.attempts(found.id) == []


def test_only_the_last_twenty_attempts_are_kept(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    for _ in range(25):
        (leased,) = take(deliveries)
        assert fail(deliveries, leased, unwell=False)
    logged = deliveries.attempts(leased.delivery.id)
    assert [attempt.number for attempt in logged] == list(range(6, 26))


@pytest.mark.parametrize("status", [DELIVERED, FAILED])
def test_a_resend_keeps_its_id_and_restarts_the_schedule(
    stores: Stores, deliveries: Deliveries, store: redis.Redis, status: DeliveryStatus
) -> None:
    planned(stores, "a")
    (leased,) = take(deliveries)
    assert deliveries.record(leased, status=status, attempt=answered(leased, 500), unwell=True, pause=60)
    name, event = leased.delivery.id, leased.delivery.event.id
    assert 0 < store.ttl(keys.delivery(0, name)) <= 86400
    assert 86400 < store.ttl(keys.event(0, event)) <= 7 * 86400
    again = deliveries.resend(name)
    assert again is not None
    assert (again.status, again.tries, again.attempts, again.ended_at) == (PENDING, 0, 1, None)
    assert [store.ttl(key) for key in (keys.delivery(0, name), keys.event(0, event), keys.attempts(0, name))] == [
        -1
    ] * 3
    (resent,) = take(deliveries)
    assert resent.delivery.event.id == event
    assert (resent.delivery.attempts, resent.delivery.tries) == (2, 1)
    assert deliver(deliveries, resent)
    assert store.ttl(keys.event(0, event)) > 0


def test_a_resend_of_a_delivery_in_flight_leaves_it_there(stores: Stores, deliveries: Deliveries) -> None:
    planned(stores, "a")
    (leased,) = take(deliveries)
    assert deliveries.resend(leased.delivery.id) is not None
    assert take(deliveries) == []
    assert deliver(deliveries, leased)


def test_a_resend_of_a_missing_delivery_reports_it(deliveries: Deliveries) -> None:
    assert deliveries.resend(f"dlv_00{'0' * 32}_{'0' * 16}") is None
    assert deliveries.resend(f"dlv_ff{'0' * 32}_{'0' * 16}") is None
    assert deliveries.read(f"dlv_ff{'0' * 32}_{'0' * 16}") is None


def test_all_failed_deliveries_since_a_time_are_sent_again(stores: Stores, deliveries: Deliveries) -> None:
    for _ in range(3):
        planned(stores, "a")
    for leased, status in zip(take(deliveries), (FAILED, DELIVERED, FAILED), strict=True):
        assert deliveries.record(leased, status=status, attempt=answered(leased, 500))
    since = time.time()
    time.sleep(0.01)
    planned(stores, "a")
    (late,) = take(deliveries)
    assert deliveries.record(late, status=FAILED, attempt=answered(late, 500))
    assert deliveries.resend_failed("a", since=since) == 1
    assert [leased.delivery.id for leased in take(deliveries)] == [late.delivery.id]
    assert deliveries.resend_failed("a", since=0) == 2


def test_a_log_is_paged_newest_first_and_filtered_by_status(stores: Stores, deliveries: Deliveries) -> None:
    jobs = [planned(stores, "a") for _ in range(5)]
    for number, leased in enumerate(take(deliveries)):
        assert deliveries.record(leased, status=FAILED if number % 2 else DELIVERED, attempt=answered(leased, 200))
    seen: list[str] = []
    before = None
    while True:
        page = deliveries.of_destination("a", limit=2, before=before)
        seen += [one.event.subject for one in page.deliveries]
        before = page.next
        if before is None:
            break
    assert seen == jobs[::-1]
    failed = deliveries.of_destination("a", limit=10, status=FAILED)
    assert [one.event.subject for one in failed.deliveries] == [jobs[3], jobs[1]]
    assert failed.next is None
    assert deliveries.of_destination("nobody", limit=10).deliveries == ()


def test_a_test_event_goes_to_one_endpoint_whatever_it_listens_to(stores: Stores, deliveries: Deliveries) -> None:
    registered = stores.endpoints.create(endpoint(EventType.JOB_FAILED))
    made = deliveries.send_test(registered)
    assert (made.event.type, made.event.subject, made.endpoint) == (EventType.TEST, registered.id, registered.id)
    (leased,) = take(deliveries)
    assert leased.delivery.id == made.id
    assert deliveries.of_destination(registered.id, limit=5).deliveries[0].id == made.id


def test_a_log_drops_deliveries_that_are_gone(stores: Stores, deliveries: Deliveries, store: redis.Redis) -> None:
    for _ in range(4):
        planned(stores, "a")
    for leased in take(deliveries):
        assert deliver(deliveries, leased)
        store.delete(keys.delivery(0, leased.delivery.id))
    for _ in range(2):
        planned(stores, "a")
    assert store.zcard(keys.delivery_log(0, "a")) == 2


def test_every_key_of_a_finished_delivery_has_a_ttl(stores: Stores, deliveries: Deliveries, store: redis.Redis) -> None:
    before = set(store.scan_iter())
    job_id = planned(stores, "a", "b")
    for leased in take(deliveries):
        assert deliveries.record(leased, status=FAILED, attempt=answered(leased, 500), unwell=True, pause=0.01)
    stores.jobs.delete(job_id)
    left = cast("set[bytes]", set(store.scan_iter())) - before
    lives = {key.decode().split("}:")[1].split(":")[0]: store.ttl(key) for key in left}
    lives = {kind: ttl for kind, ttl in lives.items() if kind not in {"turns", "ended", "counts"}}
    assert set(lives) == {"event", "delivery", "attempts", "log", "destination"}
    assert all(ttl > 0 for ttl in lives.values()), lives
