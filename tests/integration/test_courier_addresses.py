"""Where a courier connects, and whose certificate it accepts: real processes, names defined by the test."""

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from shared.deliveries import DeliveryStatus
from tests.integration.courier_site import Site, site
from tests.integration.partner import OK, Partner, raw

DELIVERED, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.FAILED
PUBLIC = "93.184.215.14"
LOOPBACK = "127.0.0.1"
CLOSED = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
    *("192.0.0.8", "192.0.0.170", "198.18.0.1", "203.0.113.5", "224.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("168.63.129.16", "100.100.100.200", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]"),
    *("[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]"),
    *("[2002:7f00:1::]", "[2001::1]", "[2001:db8::1]", "[fec0::1]", "[ff02::1]", "[100::1]", "[5f00::1]", "[3fff::1]"),
)
ODD = (
    *("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "[fe80::1%25eth0]"),
    *("user@partner.example", "partner.example:22", "partner.example\\@127.0.0.1"),
)
NAMES = {
    "home.example": [LOOPBACK],
    "mixed.example": [PUBLIC, LOOPBACK],
    "six.example": [PUBLIC, "::1"],
    "wrapped.example": ["::ffff:127.0.0.1"],
    "nat.example": ["64:ff9b::7f00:1"],
    "cloud.example": ["169.254.169.254"],
    "zone.example": ["fe80::1%eth0"],
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """It may connect only to the public internet."""
    settings = {"VULTUS_WEBHOOK_ALLOW_PRIVATE": "", "VULTUS_WEBHOOK_RETRIES": "0.1", "ODD_NAMES": json.dumps(NAMES)}
    with site(tmp_path_factory.mktemp("strict"), settings, module="tests.integration.odd_courier") as running:
        yield running


@pytest.fixture
def partner() -> Iterator[Partner]:
    server = Partner()
    yield server
    server.close()


def words(running: Site, jobs: dict[str, str]) -> dict[str, tuple[DeliveryStatus, set[str | None]]]:
    found = {}
    for host, job_id in jobs.items():
        delivery, log = running.settled(job_id)
        found[host] = (delivery.status, {attempt.error for attempt in log})
    return found


def test_nothing_is_sent_to_an_address_that_is_not_public(strict: Site, partner: Partner) -> None:
    hosts = [*CLOSED, *NAMES, "localhost"]
    found = words(strict, {host: strict.end(f"http://{host}:{partner.port}/hook") for host in hosts})
    assert found == dict.fromkeys(hosts, (FAILED, {"address_refused"}))
    assert partner.connections == 0


def test_an_ambiguous_url_is_never_sent_to(strict: Site, partner: Partner) -> None:
    found = words(strict, {host: strict.end(f"http://{host}/hook") for host in ODD})
    assert found == dict.fromkeys(ODD, (FAILED, {"url_refused"}))
    assert partner.connections == 0


def test_an_unresolvable_name_is_resolved_again(strict: Site) -> None:
    found = words(strict, {"nowhere": strict.end("http://nowhere.invalid/hook")})
    assert found == {"nowhere": (FAILED, {"unresolved"})}


def test_metadata_stays_closed_if_private_networks_are_open(tmp_path: Path, partner: Partner) -> None:
    hosts = ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "10.0.0.1", "cloud.example"]
    settings = {
        "VULTUS_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8,100.64.0.0/10,fc00::/7",
        "VULTUS_WEBHOOK_RETRIES": "0.1",
        "ODD_NAMES": json.dumps(NAMES),
    }
    with site(tmp_path, settings, module="tests.integration.odd_courier") as running:
        found = words(running, {host: running.end(f"http://{host}/hook") for host in hosts})
        assert found == dict.fromkeys(hosts, (FAILED, {"address_refused"}))
        assert running.settled(running.end(partner.url(host="home.example")))[0].status is DELIVERED
        assert partner.requests[0].headers["host"] == f"home.example:{partner.port}"


def test_hanging_name_lookups_delay_no_other_delivery(tmp_path: Path, partner: Partner) -> None:
    with site(tmp_path, module="tests.integration.odd_courier") as running:
        stuck = [running.end(f"http://hangs.example:{5000 + number}/") for number in range(40)]
        begin = time.monotonic()
        assert running.settled(running.end(partner.url()))[0].status is DELIVERED
        assert time.monotonic() - begin < 1
        for job_id in stuck:
            running.ledger.delete(job_id)


# --- certificates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Site]:
    """It trusts the test's authority and accepts only https."""
    folder = tmp_path_factory.mktemp("trusting")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    names = {"partner.example": [LOOPBACK], "other.example": [LOOPBACK]}
    settings = {
        "SSL_CERT_FILE": str(folder / "authority.pem"),
        "VULTUS_WEBHOOK_ALLOW_HTTP": "false",
        "VULTUS_WEBHOOK_RETRIES": "0.1",
        "ODD_NAMES": json.dumps(names),
    }
    with site(folder, settings, module="tests.integration.odd_courier") as running:
        yield running


def serving(authority: trustme.CA, *names: str) -> Partner:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(tls)
    return Partner(tls=tls)


def test_the_certificate_must_match_the_name_although_an_address_is_used(trusting: Site, authority: trustme.CA) -> None:
    server = serving(authority, "partner.example")
    assert trusting.settled(trusting.end(server.url(host="partner.example")))[0].status is DELIVERED
    assert server.names == ["partner.example"]
    assert server.requests[0].headers["host"] == f"partner.example:{server.port}"
    server.close()


def test_a_receiver_with_an_invalid_certificate_gets_nothing(trusting: Site, authority: trustme.CA) -> None:
    servers = {
        "of another name": serving(authority, "other.example"),
        "of the address": serving(authority, LOOPBACK),
        "of a stranger": serving(trustme.CA(), "partner.example"),
        "none: it speaks no TLS": Partner(raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    }
    jobs = {what: trusting.end(f"https://partner.example:{server.port}/hook") for what, server in servers.items()}
    found = words(trusting, jobs)
    assert found == dict.fromkeys(servers, (FAILED, {"tls"}))
    assert [server.requests for server in servers.values()] == [[]] * len(servers)
    for server in servers.values():
        server.close()


def test_nothing_is_sent_unencrypted_without_permission(trusting: Site, partner: Partner) -> None:
    assert words(trusting, {"plain": trusting.end(partner.url())}) == {"plain": (FAILED, {"url_refused"})}
    assert partner.connections == 0


def test_proxies_from_the_environment_are_not_used(tmp_path: Path, partner: Partner) -> None:
    proxy = Partner(OK)
    settings = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), proxy.url("/"))
    with site(tmp_path, {**settings, "NO_PROXY": "", "no_proxy": ""}) as running:
        assert running.settled(running.end(partner.url()))[0].status is DELIVERED
    assert (len(partner.requests), proxy.connections) == (1, 0)
    proxy.close()
