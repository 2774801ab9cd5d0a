"""One attempt over a fake network: its destination, its request, and the recorded response."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.net import addresses
from tests.unit.api.networks import Network, Resolver, answer
from worker.courier.client import MOST_KEPT, Answer, Terms, send

PUBLIC = "93.184.215.14"
OTHER = "2606:4700::1111"
AMPLE = timedelta(minutes=1)
"""Far beyond what an attempt at a made-up network takes, however busy the machine."""
BRIEF = timedelta(seconds=0.05)
URL = "https://partner.example/hook?token=secret"
TLS = ssl.create_default_context()


def sent(
    network: Network,
    url: str = URL,
    *,
    resolve: Callable[[str, int], Any] | None = None,
    private: tuple[addresses.Network, ...] = (),
    now: float = 0.0,
    headers: dict[str, str] | None = None,
    within: timedelta = AMPLE,
) -> Answer:
    terms = Terms(
        tls=TLS,
        within=within,
        allow_http=False,
        private=private,
        resolve=resolve or Resolver([PUBLIC]),
        network=network,
    )
    return asyncio.run(send(url, b'{"type":"x"}', {"webhook-id": "evt_1", **(headers or {})}, now=now, terms=terms))


def test_the_request_goes_to_the_checked_address_with_the_host_name() -> None:
    network, resolver = Network(answer("204 No Content")), Resolver([PUBLIC], ["127.0.0.1"])
    got = sent(network, resolve=resolver, headers={"x-case": "7"})
    assert (got.status, got.error, got.taken) == (204, None, True)
    assert resolver.asked == ["partner.example"]  # once
    assert network.connected == [(PUBLIC, 443)]
    top, _, body = network.sent.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    assert (first, body) == ("POST /hook?token=secret HTTP/1.1", b'{"type":"x"}')
    told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert told == {
        "host": "partner.example",
        "content-type": "application/json",
        "content-length": "12",
        "connection": "close",
        "user-agent": "vultus",
        "webhook-id": "evt_1",
        "x-case": "7",
    }


@pytest.mark.parametrize(
    "found",
    [
        [PUBLIC, "127.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [OTHER, "169.254.169.254"],
        [PUBLIC, "::ffff:127.0.0.1"],
        [PUBLIC, "fe80::1%eth0"],
        [PUBLIC] * 9 + ["64:ff9b::7f00:1"],
        ["not an address"],
    ],
)
def test_one_closed_address_among_many_closes_the_host(found: list[str]) -> None:
    network = Network(answer("204 No Content"))
    got = sent(network, resolve=Resolver(found))
    assert (got.status, got.error, network.connected) == (None, "address_refused", [])


def test_metadata_stays_closed_where_private_networks_are_open() -> None:
    network = Network(answer("204 No Content"))
    assert sent(network, resolve=Resolver(["10.0.0.1"]), private=addresses.PRIVATE).taken
    for metadata in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"):
        got = sent(network, resolve=Resolver([metadata]), private=addresses.PRIVATE)
        assert got.error == "address_refused"
    assert network.connected == [("10.0.0.1", 443)]


@pytest.mark.parametrize(
    "url",
    ["http://partner.example/", "https://partner.example:22/", "https://u@partner.example/", "https://127.1/", "x"],
)
def test_a_url_that_is_no_longer_allowed_is_not_resolved(url: str) -> None:
    resolver = Resolver([PUBLIC])
    assert sent(Network(), url, resolve=resolver).error == "url_refused"
    assert resolver.asked == []


def test_a_resolver_that_hangs_costs_no_more_than_an_attempt() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        del host, port
        await asyncio.sleep(60)
        return [PUBLIC]

    got = sent(Network(), resolve=hang, within=BRIEF)
    assert (got.status, got.error) == (None, "timeout")
    assert 50 <= got.milliseconds < 60_000


@pytest.mark.parametrize(("status", "taken"), [("200 OK", True), ("302 Found", False), ("410 Gone", False)])
def test_redirects_and_error_responses_are_not_followed(status: str, *, taken: bool) -> None:
    network = Network(answer(status, location="http://169.254.169.254/"))
    got = sent(network)
    assert (got.status, got.taken, len(network.connected)) == (int(status[:3]), taken, 1)


def test_the_first_kilobyte_of_an_answer_is_kept_as_text() -> None:
    assert sent(Network(answer(body=b"\xff" + b"x" * 5000))).response == "�" + "x" * (MOST_KEPT - 1)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_a_retry_date_is_relative_to_the_current_time(name: str) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    got = sent(Network(answer("503 Busy", b"", **{name.replace("-", "_"): date})), now=1445412420)
    assert got.retry_after == pytest.approx(60, abs=1)


def test_a_response_without_retry_after_requests_no_delay() -> None:
    assert sent(Network(answer("503 Busy"))).retry_after is None
