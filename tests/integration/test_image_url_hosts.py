"""Images by URL: name resolution, certificates, and gateways that exit."""

import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.integration.fetching_site import FETCH_TIME, leave, opened, until
from tests.integration.hostile import FACE, Hostile
from tools.ports import LOOPBACK, free_port
from tools.service import Service

SECOND = "127.0.0.2"
"""Another loopback address: these gateways treat it as others treat a public one."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str) -> Hostile:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(tls)
    return Hostile(tls=tls)


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.close()


# --- names that lead astray ----------------------------------------------------------------------------------------


def test_a_name_that_resolves_differently_later_is_resolved_once(tmp_path: Path) -> None:
    inside = Hostile()
    outside = Hostile(SECOND, port=inside.port)
    settings = {
        **leave(inside),
        "VULTUS_IMAGE_URL_HOSTS": f"*.rebind.example:{inside.port}",
    }
    names = {"a.rebind.example": [[SECOND], [LOOPBACK]], "b.rebind.example": [[SECOND, "169.254.169.254"]]}
    for site in opened(tmp_path, settings, names=names):
        site.accepted(outside.url("/face.png", host="a.rebind.example"))
        assert site.claim().image == FACE
        assert outside.requests == [("/face.png", f"a.rebind.example:{inside.port}")]
        assert site.refused(outside.url("/face.png", host="b.rebind.example")) == ("image_url_refused", False)
        assert (outside.connections, inside.connections) == (1, 0)
    inside.close()
    outside.close()


def test_no_name_leads_to_this_machine_without_permission(tmp_path: Path) -> None:
    inside = Hostile()
    names: dict[str, list[list[str]]] = {
        "home.example": [[LOOPBACK]],
        "mixed.example": [["93.184.215.14", LOOPBACK]],
        "six.example": [["::1"]],
        "wrapped.example": [["::ffff:127.0.0.1"]],
        "nat.example": [["64:ff9b::7f00:1"]],
        "cloud.example": [["169.254.169.254"]],
        "nowhere.example": [[]],
    }
    settings = {
        "VULTUS_IMAGE_URL_HOSTS": ",".join(f"{host}:{inside.port}" for host in [*names, LOOPBACK, "localhost"]),
        "VULTUS_IMAGE_URL_ALLOW_HTTP": "true",
    }
    for site in opened(tmp_path, settings, names=names):
        for host in [*names, LOOPBACK, "localhost"]:
            expected = ("image_unreachable", True) if host == "nowhere.example" else ("image_url_refused", False)
            assert site.refused(inside.url("/face.png", host=host)) == expected, host
    assert inside.connections == 0
    inside.close()


# --- TLS -----------------------------------------------------------------------------------------------------------


def test_the_certificate_must_be_the_hosts_own_and_trusted(tmp_path: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    right, wrong = serving(authority, "photos.example.org"), serving(authority, "evil.example")
    stranger, plain = serving(trustme.CA(), "photos.example.org"), Hostile()
    by_number = serving(authority, LOOPBACK)
    servers = (right, wrong, stranger, plain, by_number)
    settings = {
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        "VULTUS_IMAGE_URL_HOSTS": ",".join(
            [*(f"photos.example.org:{server.port}" for server in servers), f"{LOOPBACK}:{by_number.port}"]
        ),
        "VULTUS_IMAGE_URL_ALLOW_PRIVATE": "true",
    }
    for site in opened(tmp_path / "stack", settings, names={"photos.example.org": [[LOOPBACK]]}):
        for server, host in ((right, "photos.example.org"), (by_number, LOOPBACK)):
            site.accepted(server.url("/face.png", host=host))
            claim = site.claim()
            assert claim.image == FACE
            assert server.requests == [("/face.png", f"{host}:{server.port}")]
        for server in (wrong, stranger, plain):
            url = f"https://photos.example.org:{server.port}/face.png"
            job = site.ended(url)
            assert (job["error"]["code"], job["error"]["retryable"]) == ("image_unreachable", True)
            assert ("TLS" in job["error"]["detail"]) is (server is not plain)
            assert server.requests == []
        answer = site.submit(f"http://photos.example.org:{right.port}/face.png")
        assert (answer.status_code, answer.json()["code"]) == (422, "image_url_refused")
    for server in servers:
        server.close()


# --- gateways that go ----------------------------------------------------------------------------------------------


def listening(port: int) -> bool:
    """Return True if a server accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@pytest.mark.parametrize(("ending", "within"), [(signal.SIGTERM, 6), (signal.SIGKILL, FETCH_TIME + 14)])
def test_another_gateway_completes_an_interrupted_fetch(
    tmp_path: Path, hostile: Hostile, ending: signal.Signals, within: float
) -> None:
    for site in opened(tmp_path, leave(hostile)):
        hostile.gate.clear()
        before = len(hostile.requests)
        job_id = site.accepted(hostile.url("/gate.png"))
        until(partial(hostile.was_requested, before + 1))
        site.stack.gateway.signal(ending)
        port = free_port()
        environment = {**site.stack.environment, "VULTUS_PORT": str(port)}
        other = Service("gateway-2", [sys.executable, "-m", "api.app"], environment, site.stack.sink)
        other.start()
        try:
            until(partial(listening, port), within=60)
            began = time.monotonic()
            until(partial(hostile.was_requested, before + 2), within=within)
            hostile.gate.set()
            claim = site.claim()
            assert (claim.job.id, claim.image) == (job_id, FACE)
            assert time.monotonic() - began < within
            assert site.stack.gateway.wait(10)
        finally:
            other.stop()


def test_a_gateway_that_fetches_nothing_leaves_the_queue_to_others(tmp_path: Path, hostile: Hostile) -> None:
    for site in opened(tmp_path, {}):
        answer = site.submit(hostile.url("/face.png"))
        assert (answer.status_code, answer.json()["code"]) == (422, "image_urls_off")
        assert site.stores.fetches.waiting() == 0
