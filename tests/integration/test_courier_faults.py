"""Partners that misbehave, byte by byte: every event arrives, under one id, soon, and the log says what happened."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.deliveries import DeliveryStatus, event_id
from shared.webhooks.schemas import DisabledReason
from tests.integration.courier_site import SECRET, TIMEOUT, Site, site
from tests.integration.partner import OK, Deed, Partner, drips, floods, hangs, head, raw, resets, says, waits
from tools.ports import free_port

DELIVERED, FAILED, CANCELED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED, DeliveryStatus.CANCELED
METADATA = "http://169.254.169.254/latest/meta-data/"
CHUNKED = head("200 OK", transfer_encoding="chunked")
ATTEMPTS = 4
"""One attempt and three retries."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("courier")) as found:
        yield found


@pytest.fixture
def courier(running: Site) -> Iterator[Site]:
    yield running
    for each in running.stores.endpoints.all():
        running.stores.endpoints.delete(each.id)


@pytest.fixture
def partners() -> Iterator[list[Partner]]:
    made: list[Partner] = []
    yield made
    for partner in made:
        partner.close()


@pytest.mark.parametrize(
    ("deed", "status", "error"),
    [
        (OK, 204, None),
        (says("200 OK", b"thanks"), 200, None),
        (says("202 Accepted", b"\xff\xfe\x00 no text"), 202, None),
        (raw(head("103 Early Hints") * 3, head("200 OK", content_length=0)), 200, None),
        (raw(head("200 OK")), 200, None),
        (floods(head("200 OK")), 200, None),
        (floods(head("200 OK", content_length=10**12)), 200, None),
        (floods(CHUNKED, b"1\r\nx\r\n"), 200, None),
        (floods(CHUNKED + b"1;"), 200, "broken_off"),
        (floods(CHUNKED + b"0\r\n", b"X: x\r\n"), 200, "broken_off"),
        (raw(head("200 OK", content_length=100), b"cut"), 200, "broken_off"),
        (resets(head("201 Created", content_length=100) + b"cut"), 201, "broken_off"),
        (raw(CHUNKED, b"no chunk at all"), 200, "broken_off"),
        (drips(head("200 OK", content_length=10**6)), 200, "timeout"),
        (drips(CHUNKED, b"1\r\nx\r\n"), 200, "timeout"),
    ],
    ids=[
        "plain",
        "text",
        "bytes",
        "hints",
        "endless",
        "flood",
        "lie",
        "pieces",
        "extension",
        "trailers",
        "cut",
        "reset",
        "chunk",
        "drip",
        "trickle",
    ],
)
def test_a_success_counts_whatever_follows_its_status(
    courier: Site, partners: list[Partner], deed: Deed, status: int, error: str | None
) -> None:
    partners.append(partner := Partner(deed))
    begin = time.monotonic()
    job_id = courier.end(partner.url("/hook?token=abc"))
    delivery, log = courier.settled(job_id)
    assert time.monotonic() - begin < TIMEOUT + 2
    assert (delivery.status, delivery.attempts) == (DELIVERED, 1)
    assert [(attempt.status, attempt.error) for attempt in log] == [(status, error)]
    assert len(log[0].response) <= 1024
    (request,) = partner.requests
    request.verify(SECRET)
    assert (request.path, request.id) == ("/hook?token=abc", event_id(job_id))
    assert partner.sent < 32 * 1024 * 1024  # what the connection holds, not what it was offered


@pytest.mark.parametrize(
    ("deed", "status", "error"),
    [
        (says("301 Moved", location=METADATA), 301, None),
        (says("307 Temporary", location="/other"), 307, None),
        (says("400 Bad Request", b"no"), 400, None),
        (says("404 Not Found"), 404, None),
        (says("429 Slow Down"), 429, None),
        (says("500 Oops", b"x" * 5000), 500, None),
        (says("503 Busy", retry_after="soon"), 503, None),
        (raw(head("500 Oops", content_length=100), b"cut"), 500, "broken_off"),
        (drips(head("502 Bad", content_length=10**6)), 502, "timeout"),
        (hangs, None, "timeout"),
        (drips(b"HTTP/1.1 200 OK\r\n"), None, "timeout"),
        (drips(b"", head("103 Early Hints")), None, "no_answer"),
        (floods(b"", head("103 Early Hints")), None, "no_answer"),
        (floods(b"", b"HTTP/1.1 100 \n\n"), None, "no_answer"),
        (floods(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"), None, "no_answer"),
        (raw(), None, "no_answer"),
        (resets(), None, "no_answer"),
        (raw(b"\x16\x03\x01 no HTTP\r\n\r\n"), None, "no_answer"),
        (raw(b"HTTP/1.1 999999 What\r\n\r\n"), None, "no_answer"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), None, "no_answer"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), None, "no_answer"),
    ],
    ids=[
        "moved",
        "redirect",
        "refused",
        "missing",
        "slow",
        "broken",
        "busy",
        "half502",
        "drip502",
        "hangs",
        "drips",
        "hints",
        "hints103",
        "hints100",
        "headers",
        "closes",
        "resets",
        "garbage",
        "status",
        "head",
        "lengths",
    ],
)
def test_a_failed_delivery_is_repeated_under_the_same_id(
    courier: Site, partners: list[Partner], deed: Deed, status: int | None, error: str | None
) -> None:
    partners.append(partner := Partner(deed, OK))
    begin = time.monotonic()
    job_id = courier.end(partner.url())
    delivery, log = courier.settled(job_id)
    assert time.monotonic() - begin < TIMEOUT + 3
    assert (delivery.status, delivery.attempts) == (DELIVERED, 2)
    assert [(attempt.status, attempt.error) for attempt in log] == [(status, error), (204, None)]
    assert len(log[0].response) <= 1024
    assert {request.id for request in partner.requests} == {event_id(job_id)}
    assert partner.requests[0].body == partner.requests[1].body
    assert partner.connections == 2
    for request in partner.requests:
        request.verify(SECRET)


def test_a_delivery_fails_after_the_last_attempt_and_can_be_resent(courier: Site, partners: list[Partner]) -> None:
    bad = says("500 Oops", b"why")
    partners.append(partner := Partner(*[bad] * ATTEMPTS, OK))
    job_id = courier.end(partner.url())
    delivery, log = courier.settled(job_id)
    assert (delivery.status, delivery.last_status) == (FAILED, 500)
    assert [(attempt.number, attempt.response) for attempt in log] == [(1 + n, "why") for n in range(ATTEMPTS)]
    assert courier.stores.deliveries.resend(delivery.id) is not None
    partner.wait(ATTEMPTS + 1)
    again, log = courier.settled(job_id)
    assert (again.status, len(log)) == (DELIVERED, ATTEMPTS + 1)
    assert {request.id for request in partner.requests} == {event_id(job_id)}


def test_a_partner_that_asks_for_time_is_left_alone_for_it(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("429 Slow Down", Retry_After="2"), OK))
    first = courier.end(partner.url("/a"))
    partner.wait()
    second = courier.end(partner.url("/b"))  # another path of the same host waits as well
    assert courier.settled(first)[0].status is courier.settled(second)[0].status is DELIVERED
    request = partner.requests
    assert request[0].path == "/a"
    assert min(each.at for each in request[1:]) - request[0].at > 1.9
    assert courier.settled(second)[0].attempts == 1


def test_retry_after_for_one_tenant_does_not_stop_another(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("429 Slow Down", Retry_After="86400"), OK))
    refused = courier.end(partner.url("/a"), tenant="a")
    while not (found := courier.stores.deliveries.of_subject(refused, tenant="a")) or found[0].last_status != 429:
        time.sleep(0.01)
    (waiting,) = found
    assert waiting.next_at is not None
    assert 3590 < waiting.next_at - waiting.created_at < 3610  # an hour is the maximum
    served = courier.end(partner.url("/b"), tenant="b")
    assert courier.settled(served, tenant="b", within=5)[0].status is DELIVERED
    assert courier.ledger.delete(refused, tenant="a")


def test_gone_disables_an_endpoint_and_drops_its_pending_deliveries(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("410 Gone")))
    endpoint = courier.register(partner.url())
    first = courier.end()
    delivery, log = courier.settled(first)
    assert (delivery.status, delivery.last_status, len(log)) == (FAILED, 410, 1)
    courier.wait_for_log("endpoint.disabled")
    now = courier.stores.endpoints.read(endpoint.id)
    assert now is not None
    assert (now.enabled, now.disabled_reason) == (False, DisabledReason.GONE)
    resent = courier.stores.deliveries.resend(delivery.id)
    assert resent is not None
    delivery, log = courier.settled(first)
    assert (delivery.status, delivery.last_error, len(log)) == (FAILED, "endpoint_disabled", 1)
    assert len(partner.requests) == 1


def test_an_endpoint_that_fails_for_too_long_is_disabled_with_a_reason(tmp_path: Path, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("500 Oops")))
    patience = {"VULTUS_WEBHOOK_DISABLE_AFTER": "0.5", "VULTUS_WEBHOOK_RETRIES": "0.2,0.2,0.2,0.2,0.2,0.2,0.2,0.2"}
    with site(tmp_path, patience) as running:
        endpoint = running.register(partner.url())
        delivery, log = running.settled(running.end())
        assert (delivery.status, delivery.last_error) == (FAILED, "endpoint_disabled")
        assert 2 < len(log) < 9
        now = running.stores.endpoints.read(endpoint.id)
        assert now is not None
        assert (now.enabled, now.disabled_reason) == (False, DisabledReason.FAILING)
        assert [line["reason"] for line in running.log_entries("endpoint.disabled")] == ["failing"]


def test_a_deleted_endpoint_receives_no_pending_deliveries(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("503 Busy", retry_after="2")))
    endpoint = courier.register(partner.url())
    job_id = courier.end()
    partner.wait()
    assert courier.stores.endpoints.delete(endpoint.id)
    delivery, log = courier.settled(job_id)
    assert (delivery.status, delivery.last_error, len(log)) == (CANCELED, "endpoint_deleted", 1)
    assert len(partner.requests) == 1


def test_a_partner_that_was_down_receives_its_events_when_it_is_back(courier: Site, partners: list[Partner]) -> None:
    port = free_port()
    job_id = courier.end(f"http://127.0.0.1:{port}/hook")
    while not (waiting := courier.stores.deliveries.of_subject(job_id)) or not waiting[0].last_error:
        time.sleep(0.01)
    partners.append(partner := Partner(port=port))
    delivery, log = courier.settled(job_id)
    assert delivery.status is DELIVERED
    assert {attempt.error for attempt in log[:-1]} == {"no_connection"}
    assert [request.id for request in partner.requests] == [event_id(job_id)]


def test_a_hanging_partner_delays_no_other_partner(courier: Site, partners: list[Partner]) -> None:
    partners += [slow := Partner(hangs), quick := Partner()]
    stuck = [courier.end(slow.url(f"/{number}")) for number in range(20)]
    slow.wait()
    begin = time.monotonic()
    job_id = courier.end(quick.url())
    assert courier.settled(job_id)[0].status is DELIVERED
    assert time.monotonic() - begin < TIMEOUT / 2
    slow.wait(8)
    assert slow.connections == 8  # the limit of one destination; then one at a time after a failure
    for each in stuck:
        courier.ledger.delete(each)


def test_connections_to_one_host_are_shared_between_tenants(tmp_path: Path, partners: list[Partner]) -> None:
    partners += [slow := Partner(hangs), quick := Partner()]  # of one host, on two ports
    with site(tmp_path, {"VULTUS_WEBHOOK_PER_HOST": "4", "VULTUS_WEBHOOK_TIMEOUT": "30"}) as running:
        stuck = [running.end(slow.url(f"/{number}"), tenant="a") for number in range(6)]
        slow.wait(2)
        served = [running.end(quick.url(f"/{number}"), tenant="b") for number in range(3)]
        for job_id in served:
            assert running.settled(job_id, tenant="b")[0].status is DELIVERED
        assert slow.connections == 2  # half of the slots: its tenant's other deliveries wait for one
        slow.close()
        for job_id in stuck:
            running.ledger.delete(job_id, tenant="a")


@pytest.mark.parametrize(
    "deed",
    [floods(CHUNKED, b"1\r\nx\r\n"), floods(b"", head("103 Early Hints"))],
    ids=["pieces", "hints"],
)
def test_an_endless_response_delays_no_other_tenant(tmp_path: Path, partners: list[Partner], deed: Deed) -> None:
    partners += [costly := Partner(deed), quick := Partner()]
    with site(tmp_path, {"VULTUS_WEBHOOK_TIMEOUT": "15", "VULTUS_WEBHOOK_RETRIES": "0.01,0.01,0.01"}) as running:
        attack = [running.end(costly.url(f"/{number}"), tenant="a") for number in range(32)]
        costly.wait()  # not for eight: once one has failed, the destination gets one at a time
        begin = time.monotonic()
        job_id = running.end(quick.url(), tenant="b")
        assert running.settled(job_id, tenant="b")[0].status is DELIVERED
        assert time.monotonic() - begin < 3
        costly.close()
        for each in attack:
            running.ledger.delete(each, tenant="a")


def test_callbacks_reveal_no_face_data_unless_requested(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner())
    courier.settled(courier.end(partner.url()))
    courier.settled(courier.end(partner.url(), payload="full"))
    courier.settled(courier.end(partner.url(), payload="full", include_embeddings=True))
    thin, full, all_of_it = (request.body for request in partner.requests)
    assert not [word for word in (b"embedding", b"box", b"result", b"metadata", b"0.1259765625") if word in thin]
    assert b'"box":[1,2,3,4]' in full
    assert not [word for word in (b'"embedding"', b"0.1259765625") if word in full]
    assert b'"vector":[0.1259765625,0.25,0.5]' in all_of_it


def test_erasing_a_job_removes_its_result_from_pending_deliveries(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(says("503 Busy", retry_after="1"), OK))
    job_id = courier.end(partner.url(), payload="full", include_embeddings=True)
    partner.wait()
    assert courier.ledger.delete(job_id)
    assert courier.settled(job_id)[0].status is DELIVERED
    before, after = partner.requests
    assert (b"0.1259765625" in before.body, b"0.1259765625" in after.body) == (True, False)
    assert b'"full":false' in after.body
    assert before.id == after.id
    after.verify(SECRET)


def test_a_slow_partner_is_waited_for(courier: Site, partners: list[Partner]) -> None:
    partners.append(partner := Partner(waits))
    job_id = courier.end(partner.url(), headers={"X-Case": "my-secret-7"})
    partner.wait()
    time.sleep(TIMEOUT / 2)
    partner.gate.set()
    delivery, log = courier.settled(job_id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 1)
    assert TIMEOUT * 500 <= log[0].milliseconds < TIMEOUT * 1000
    assert partner.requests[0].headers["x-case"] == "my-secret-7"
    assert "my-secret-7" not in str(log)
