"""TLS in front: HTTPS alone, HTTP/2, events at once, large uploads, and new gateways without a failed request."""

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import requests

from tests.containers.compose import PROXIED, ComposeStack, wait_for
from tests.containers.load import Load
from tests.containers.test_scaling import image_of, replace
from tests.pictures import encoded, one_face
from tools.ports import free_port
from tools.setup import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SOON = 5.0
"""Seconds within which an event must pass the proxy."""

LIFETIME = 45
"""Seconds for which the proxy's certificates are valid here; it renews them after two thirds of that."""

IDLE = 8.0
"""Seconds for which a client keeps a connection idle: longer than the five after which many servers close it."""


@dataclass
class Proxy:
    """The proxy that stands."""

    url: str
    plain: str
    port: int
    authority: str
    """File of the certificate that signed its own."""

    def __post_init__(self) -> None:
        self.first_serial = self.serial()

    def trusted(self) -> ssl.SSLContext:
        """Return the settings of a client that trusts the proxy."""
        return ssl.create_default_context(cafile=self.authority)

    @contextmanager
    def connect(self, *protocols: str) -> Iterator[ssl.SSLSocket]:
        """Open a connection of one's own, which offers these protocols."""
        context = self.trusted()
        context.set_alpn_protocols(list(protocols))
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            yield secured

    def serial(self) -> int:
        """Return the serial number of the certificate that it serves now."""
        with self.connect("http/1.1") as secured:
            certificate = secured.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


def short_lived(folder: Path) -> str:
    """Write the Caddyfile with certificates that expire soon, and the compose file that mounts it; its path."""
    text = (ROOT / "deploy" / "Caddyfile").read_text()
    text = text.replace("admin off\n", "admin off\n\trenew_interval 2s\n", 1)
    site = "{$PUBLIC_HOST:localhost} {\n"
    assert site in text
    text = text.replace(site, f"{site}\ttls {{\n\t\tissuer internal {{\n\t\t\tlifetime {LIFETIME}s\n\t\t}}\n\t}}\n")
    caddyfile, override = folder / "Caddyfile", folder / "short-lived.yml"
    caddyfile.write_text(text)
    caddyfile.chmod(0o644)
    folder.chmod(0o755)
    mount = {"volumes": [f"{caddyfile}:/etc/caddy/Caddyfile:ro"]}
    override.write_text(json.dumps({"services": {"proxy": mount}}))
    return str(override)


@pytest.fixture(scope="module")
def proxy(stack: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The stack behind its proxy; afterwards as it was."""
    plain, port = free_port(), free_port()
    stack.environment |= {"HTTP_PORT": str(plain), "HTTPS_PORT": str(port), "VULTUS_HSTS_MAX_AGE": "60"}
    folder = tmp_path_factory.mktemp("proxy")
    try:
        stack.up(files=(*PROXIED, short_lived(folder)))
        authority = folder / "root.crt"
        (container,) = stack.compose("ps", "--quiet", "proxy", files=PROXIED).split()
        root = f"{container}:/data/caddy/pki/authorities/local/root.crt"
        stack.docker("cp", root, str(authority))
        yield Proxy(f"https://localhost:{port}", f"http://localhost:{plain}", port, str(authority))
    finally:
        for name in ("HTTP_PORT", "HTTPS_PORT", "VULTUS_HSTS_MAX_AGE"):
            del stack.environment[name]
        stack.compose("rm", "--stop", "--force", "proxy", files=PROXIED)
        stack.up("--remove-orphans")


def test_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    response = requests.get(f"{proxy.plain}/livez", timeout=10, allow_redirects=False)
    assert response.status_code == 308
    assert response.headers["location"].startswith("https://localhost")


def test_the_gateway_answers_over_tls_and_is_not_published(stack: ComposeStack, proxy: Proxy) -> None:
    response = requests.get(f"{proxy.url}/livez", timeout=10, verify=proxy.authority)
    assert response.status_code == 200
    assert "strict-transport-security" in response.headers, "the gateway believes the proxy that this is HTTPS"
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{stack.url}/livez", timeout=5)


def test_only_the_proxy_is_believed_about_the_scheme(stack: ComposeStack, proxy: Proxy) -> None:
    assert proxy.port
    (gateway,) = stack.containers("gateway")
    forged = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    response = requests.get(f"http://{stack.address(gateway, 'front')}:8000/livez", headers=forged, timeout=10)
    assert response.status_code == 200
    assert "strict-transport-security" not in response.headers


def test_the_proxy_speaks_http_2(proxy: Proxy) -> None:
    with proxy.connect("h2", "http/1.1") as secured:
        assert secured.selected_alpn_protocol() == "h2"


def test_a_client_that_offers_to_change_to_http_2_is_answered(stack: ComposeStack, proxy: Proxy) -> None:
    offer = {
        "Host": "localhost",
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABk",
    }
    (gateway,) = stack.containers("gateway")
    for url in (proxy.url, f"http://{stack.address(gateway, 'front')}:8000"):
        response = requests.get(f"{url}/livez", headers=offer, verify=proxy.authority, timeout=10)
        assert response.status_code == 200, url


def test_an_idle_connection_is_kept(proxy: Proxy) -> None:
    client = HTTPSConnection("localhost", proxy.port, context=proxy.trusted(), timeout=10)
    client.connect()
    connection = client.sock
    for pause in (0.0, IDLE):
        time.sleep(pause)
        client.request("GET", "/livez")
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b'{"status":"alive"}')
    assert client.sock is connection, "it was opened again"
    client.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl with HTTP/2")
def test_a_job_is_taken_over_http_2(stack: ComposeStack, proxy: Proxy, tmp_path: Path) -> None:
    image = tmp_path / "face.png"
    image.write_bytes(encoded(one_face()))
    command = [
        "curl",
        "--silent",
        "--http2",
        "--cacert",
        proxy.authority,
        "--write-out",
        " %{http_code} %{http_version}",
    ]
    command += ["--header", f"Authorization: {stack.headers['Authorization']}"]
    command += ["--form", "operation=detect", "--form", f"image=@{image}", f"{proxy.url}/v1/jobs"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert run.stdout.split()[-2:] == ["202", "2"], run.stdout


def test_an_upload_of_five_megabytes_passes(stack: ComposeStack, proxy: Proxy) -> None:
    image = encoded(one_face())
    padded = image + bytes(5_000_000 - len(image))
    response = requests.post(
        f"{proxy.url}/v1/jobs", data={"operation": "detect"}, files={"image": padded}, headers=stack.headers,
        verify=proxy.authority, timeout=30,
    )  # fmt: skip
    assert response.status_code == 202, response.text


def test_events_pass_as_they_happen(stack: ComposeStack, proxy: Proxy) -> None:
    workers = stack.containers("worker")
    stack.docker("pause", *workers)
    try:
        with requests.Session() as session:
            session.headers.update(stack.headers)
            session.verify, session.trust_env = proxy.authority, False
            answer = session.post(
                f"{proxy.url}/v1/jobs", data={"operation": "detect"}, files={"image": encoded(one_face())}, timeout=10
            )
            path = f"{proxy.url}/v1/jobs/{answer.json()['id']}/events"
            begin = time.monotonic()
            with session.get(path, stream=True, timeout=30) as stream:
                lines = stream.iter_lines(decode_unicode=True)
                assert any("queued" in line for line in lines if line.startswith("data:"))
                assert time.monotonic() - begin < SOON, "it was held back"
                stack.docker("unpause", *workers)
                assert any("succeeded" in line for line in lines if line.startswith("data:"))
    finally:
        for worker in workers:
            if stack.state(worker)["Paused"]:
                stack.docker("unpause", worker)


def test_a_renewed_certificate_is_served_without_a_restart(stack: ComposeStack, proxy: Proxy) -> None:
    (container,) = stack.compose("ps", "--quiet", "proxy", files=PROXIED).split()
    started = stack.state(container)["StartedAt"]
    with Load(stack, url=proxy.url, verify=proxy.authority) as load:
        assert wait_for(lambda: proxy.serial() != proxy.first_serial, seconds=3 * LIFETIME)
        reached = load.succeeded + 10
        assert wait_for(lambda: load.succeeded >= reached, seconds=60), load.failures
    assert load.failures == []
    assert stack.state(container)["StartedAt"] == started


def test_new_gateways_replace_old_ones_without_a_failed_request(
    stack: ComposeStack, proxy: Proxy, next_tag: str
) -> None:
    old = stack.containers("gateway")
    with Load(stack, url=proxy.url, verify=proxy.authority) as load:
        replace(stack, "gateway", old, tag=next_tag, files=PROXIED)
        reached = load.succeeded + 10
        assert wait_for(lambda: load.succeeded >= reached, seconds=60), load.failures
    assert load.failures == []
    assert {image_of(stack, each) for each in stack.containers("gateway")} == {f"vultus-gateway:{next_tag}"}
