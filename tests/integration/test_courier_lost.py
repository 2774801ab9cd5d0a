"""Couriers that die, stores that vanish, clocks that are wrong: nothing is lost, and no id changes."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from shared.deliveries import DeliveryStatus, event_id
from shared.webhooks.signing import new_secret
from tests.integration.courier_site import HOLD, SECRET, TIMEOUT, Site, site
from tests.integration.partner import OK, Partner, ReceivedRequest, hangs, says, waits

DELIVERED = DeliveryStatus.DELIVERED
HOUR = 3600.0


@pytest.fixture
def partners() -> Iterator[list[Partner]]:
    made: list[Partner] = []
    yield made
    for partner in made:
        partner.close()


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as running:
        yield running


def test_deliveries_of_a_killed_courier_go_to_another(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits, OK))
    job_id = courier.end(partner.url())
    partner.wait()
    courier.courier.signal(signal.SIGKILL)
    assert courier.courier.wait(5)
    begin = time.monotonic()
    second = courier.another()
    second.start()
    partner.wait(2, within=HOLD + 5)
    assert time.monotonic() - begin < HOLD + 2
    delivery, log = courier.settled(job_id)
    second.stop()
    assert (delivery.status, delivery.attempts) == (DELIVERED, 2)
    assert [(attempt.number, attempt.status, attempt.error) for attempt in log] == [
        (1, None, "courier_lost"),
        (2, 204, None),
    ]
    assert {request.id for request in partner.requests} == {event_id(job_id)}


def test_an_attempt_longer_than_its_hold_stays_with_its_courier(tmp_path: Path, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits, OK))
    with site(tmp_path, {"VULTUS_WEBHOOK_TIMEOUT": "15"}) as running:
        second = running.another()
        second.start()
        job_id = running.end(partner.url())
        partner.wait()
        time.sleep(1.5 * HOLD)
        partner.gate.set()
        delivery, log = running.settled(job_id)
        second.stop()
    assert (delivery.status, [attempt.status for attempt in log]) == (DELIVERED, [204])
    assert len(partner.requests) == 1


def test_a_courier_frozen_beyond_its_hold_is_fenced(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits, OK))
    job_id = courier.end(partner.url())
    partner.wait()
    courier.courier.signal(signal.SIGSTOP)
    second = courier.another()
    second.start()
    delivery, log = courier.settled(job_id, within=HOLD + 15)
    courier.courier.signal(signal.SIGCONT)
    courier.wait_for_log("delivery.fenced")
    second.stop()
    assert courier.settled(job_id) == (delivery, log)
    assert [attempt.error for attempt in log] == ["courier_lost", None]


def test_a_courier_that_was_frozen_alone_resumes_its_deliveries(tmp_path: Path, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits, OK))
    with site(tmp_path, {"VULTUS_WEBHOOK_TIMEOUT": "15"}) as running:
        job_id = running.end(partner.url())
        partner.wait()
        time.sleep(0.3)  # until it has checked for more and is waiting
        running.courier.signal(signal.SIGSTOP)
        partner.gate.set()
        time.sleep(1.5 * HOLD)
        running.courier.signal(signal.SIGCONT)
        delivery, log = running.settled(job_id)
    assert (delivery.status, [attempt.status for attempt in log]) == (DELIVERED, [204])
    assert len(partner.requests) == 1


def test_completions_without_a_running_courier_are_delivered_later(tmp_path: Path, partners: list[Partner]) -> None:
    partners.append(partner := Partner())
    with site(tmp_path, start=False) as running:
        jobs = [running.end(partner.url(f"/{number}")) for number in range(30)]
        running.courier.start()
        assert {running.settled(job_id)[0].status for job_id in jobs} == {DELIVERED}
        assert sorted(request.id for request in partner.requests) == sorted(event_id(job_id) for job_id in jobs)


def test_a_store_that_dies_during_an_attempt_records_it_when_it_is_back(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits))
    job_id = courier.end(partner.url())
    partner.wait()
    courier.server.kill()
    partner.gate.set()
    courier.wait_for_log("ledger.away")
    courier.server.start()
    delivery, log = courier.settled(job_id)
    assert (delivery.status, delivery.attempts, len(log)) == (DELIVERED, 1, 1)
    assert len(partner.requests) == 1
    courier.wait_for_log("ledger.back")
    again = courier.end(partner.url())
    assert courier.settled(again)[0].status is DELIVERED


def test_a_delivery_is_repeated_under_its_id_if_the_store_returns_too_late(
    courier: Site, partners: list[Partner]
) -> None:
    partners.append(partner := Partner())
    courier.server.kill()
    courier.wait_for_log("ledger.away")
    courier.server.start()
    job_id = courier.end(partner.url())
    assert courier.settled(job_id)[0].status is DELIVERED
    assert [request.id for request in partner.requests] == [event_id(job_id)]


def test_a_stopping_courier_finishes_its_open_attempts(tmp_path: Path, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits, OK))
    with site(tmp_path, {"VULTUS_WEBHOOK_TIMEOUT": "15"}) as courier:  # longer than everything that happens meanwhile
        first = courier.end(partner.url())
        partner.wait()
        courier.courier.signal(signal.SIGTERM)
        courier.wait_for_log("courier.draining")
        second = courier.end(partner.url())  # this one belongs to the next courier
        time.sleep(0.2)
        partner.gate.set()
        assert courier.courier.wait(20)
        assert courier.courier.exit_code() == 0
        delivery, log = courier.settled(first)
        assert (delivery.status, [attempt.status for attempt in log]) == (DELIVERED, [204])
        assert len(partner.requests) == 1
        courier.courier.start()
        assert courier.settled(second)[0].status is DELIVERED


def test_a_hanging_partner_does_not_keep_a_courier_from_stopping(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(hangs, OK))
    job_id = courier.end(partner.url())
    partner.wait()
    begin = time.monotonic()
    courier.courier.signal(signal.SIGTERM)
    assert courier.courier.wait(TIMEOUT + 5)
    assert (courier.courier.exit_code(), time.monotonic() - begin < TIMEOUT + 2) == (0, True)
    courier.courier.start()
    delivery, log = courier.settled(job_id)
    assert [attempt.error for attempt in log] == ["timeout", None]
    assert delivery.status is DELIVERED


def test_two_couriers_share_the_work_and_repeat_nothing(courier: Site, partners: list[Partner]) -> None:
    partners += [Partner() for _ in range(3)]
    second = courier.another()
    second.start()
    jobs = [courier.end(partners[number % 3].url()) for number in range(90)]
    for job_id in jobs:
        assert courier.settled(job_id)[0].attempts == 1
    second.stop()
    ids = [request.id for partner in partners for request in partner.requests]
    assert sorted(ids) == sorted(map(event_id, jobs))


@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
def test_a_courier_with_a_clock_off_by_an_hour_changes_nothing(
    tmp_path: Path, partners: list[Partner], wrong: float
) -> None:
    partners += [plain := Partner(), owner := Partner()]
    with site(tmp_path, {"ODD_CLOCK": str(wrong)}, module="tests.integration.odd_courier") as running:
        before = time.time()
        (request,) = _requests_for(running, plain, running.end(plain.url()))
        request.verify(SECRET)
        assert before - 2 <= int(request.headers["webhook-timestamp"]) <= time.time() + 2
        # The date is set now: a busy machine may need seconds for what comes before.
        soon = format_datetime(datetime.now(tz=UTC) + timedelta(seconds=6), usegmt=True)
        partners.append(asks := Partner(says("503 Busy", retry_after=soon), OK))
        job_id = running.end(asks.url())
        delivery, log = running.settled(job_id)
        assert (delivery.status, len(log)) == (DELIVERED, 2)
        assert 1 < asks.requests[1].at - asks.requests[0].at < 20  # the date is compared with the store's clock
        assert abs(log[0].at - time.time()) < 30
        endpoint = running.register(owner.url())
        fresh = new_secret()
        assert running.stores.endpoints.rotate(endpoint.id, fresh, overlap=timedelta(seconds=60)) is not None
        (request,) = _requests_for(running, owner, running.end())
        for secret in (SECRET, fresh):  # the old one is valid for another minute
            request.verify(secret)


def _requests_for(running: Site, partner: Partner, job_id: str) -> list[ReceivedRequest]:
    assert running.settled(job_id)[0].status is DELIVERED
    return partner.requests


def test_an_invalid_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with site(tmp_path, {"VULTUS_WEBHOOK_RETRIES": "5,soon"}, start=False) as running:
        running.courier.start()
        assert running.courier.wait(20)
        assert running.courier.exit_code() == 2
        (line,) = running.lines
        refusal = json.loads(line)
        assert (refusal["event"], refusal["process"]) == ("start.refused", "vultus courier")
        assert refusal["detail"].startswith("VULTUS_WEBHOOK_RETRIES is wrong")
