"""What an answer means for a delivery and for its destination."""

import pytest

from shared.deliveries import Delivery, DeliveryStatus, Event, LeasedDelivery
from shared.webhooks.schemas import EventType
from worker.courier.client import Answer, retry_after
from worker.courier.delivery import Verdict, _host, judge

RETRIES = (5.0, 300.0)
EVENT = Event(id="evt_1", type=EventType.JOB_FAILED, at=1.0, subject="job_1")


def judged(*, tries: int = 1, failures: int = 0, **answer: object) -> Verdict:
    leased = LeasedDelivery(Delivery("dlv_1", EVENT, "d", tries=tries), "token", 1.0, failures)
    return judge(Answer(1.0, **answer), leased, retries=RETRIES, chance=0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_status_is_a_delivery_even_if_the_body_breaks_off(status: int) -> None:
    assert judged(status=status, error="broken_off") == Verdict(DeliveryStatus.DELIVERED)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 500, 502, 100])
def test_any_other_status_is_retried(status: int) -> None:
    assert judged(status=status).status is DeliveryStatus.PENDING


@pytest.mark.parametrize("error", ["timeout", "no_connection", "tls", "no_answer", "address_refused", "unresolved"])
def test_no_response_is_retried_and_marks_the_destination_unwell(error: str) -> None:
    verdict = judged(error=error)
    assert (verdict.status, verdict.again_in, verdict.unwell) == (DeliveryStatus.PENDING, 5.0, True)


def test_gone_is_the_end_at_once() -> None:
    assert judged(status=410).status is DeliveryStatus.FAILED


def test_the_last_attempt_is_the_end() -> None:
    assert judged(tries=2, status=500).again_in == 300.0
    assert judged(tries=3, status=500).status is DeliveryStatus.FAILED


@pytest.mark.parametrize(
    ("status", "unwell"), [(404, False), (410, False), (429, True), (408, True), (500, True), (302, True)]
)
def test_a_refusal_of_one_event_does_not_make_its_destination_unwell(status: int, *, unwell: bool) -> None:
    assert judged(status=status).unwell is unwell


def test_retry_after_pauses_every_delivery_to_the_destination() -> None:
    verdict = judged(status=429, retry_after=60.0)
    assert (verdict.again_in, verdict.pause) == (60.0, 60.0)
    assert judged(status=503, retry_after=10**9).pause == 3600
    assert judged(status=400, retry_after=60.0).pause == 0


def test_a_destination_rests_after_five_failures_in_a_row() -> None:
    assert [judged(status=500, failures=count).pause for count in (3, 4, 5)] == [0, 5, 10]
    assert judged(status=404, failures=40).pause == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120),
        (b" 5 ", 5),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 60),
        (b"Wed, 21 Oct 2015 07:20:00 GMT", 0),
        (b"", None),
        (b"-5", None),
        (b"soon", None),
        (b"\xff\xfe", None),
        (b"9" * 400, 9_999_999_999),
        ("\u0661".encode(), None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: bytes, seconds: float | None) -> None:
    assert retry_after(value, now=1445412420) == seconds


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://user:secret@partner.example.org:8443/hook?key=1", "partner.example.org"), ("http://[::1", None)],
)
def test_a_span_names_only_the_host_and_tolerates_a_malformed_url(url: str, host: str | None) -> None:
    assert _host(url) == host
