"""TLS in front of the gateway and secrets in files: the promises of the two additions to the compose file."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.http.server import GRACE
from api.settings.api import ApiSettings
from api.settings.edge import EdgeSettings
from shared.settings import load
from tests.architecture.containers import GPU, ROOT, composition, environment, seconds, services

TLS = (*GPU, "deploy/compose.tls.yml")
SECRETS = (*GPU, "deploy/compose.secrets.yml")
CADDYFILE = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")


def proxy() -> dict[str, Any]:
    return services(TLS)["proxy"]


def test_hadolint_reports_nothing() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-color", ROOT / "deploy" / "Dockerfile.proxy"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_the_proxy_is_pinned_to_a_patch_release() -> None:
    text = (ROOT / "deploy" / "Dockerfile.proxy").read_text(encoding="utf-8")
    assert re.search(r"^FROM caddy:\d+\.\d+\.\d+-alpine$", text, flags=re.MULTILINE)


def test_with_tls_only_the_proxy_is_published() -> None:
    published = {
        name: {int(entry["published"]) for entry in service["ports"] if entry.get("host_ip") != "127.0.0.1"}
        for name, service in services(TLS).items()
        if service.get("ports")
    }
    assert {name: ports for name, ports in published.items() if ports} == {"proxy": {80, 443}}
    assert "gateway" not in published


def test_the_proxy_is_not_root_and_can_write_only_its_certificates() -> None:
    found = proxy()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["user"])
    assert f"USER {found['user']}" in (ROOT / "deploy" / "Dockerfile.proxy").read_text(encoding="utf-8")
    assert (found["read_only"], found["cap_drop"], found["init"]) == (True, ["ALL"], True)
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "pid", "ipc", "network_mode"} & set(found)
    assert [mount["target"] for mount in found["volumes"] if not mount.get("read_only")] == ["/data"]
    assert {entry["target"] for entry in found["ports"]} == {8080, 8443}
    assert "http_port 8080" in CADDYFILE
    assert "https_port 8443" in CADDYFILE


def test_the_proxy_reaches_the_gateway_but_no_store() -> None:
    assert set(proxy()["networks"]) == {"edge"}
    assert "edge" in services(TLS)["gateway"]["networks"]
    port = environment(services(TLS)["gateway"])["VULTUS_PORT"]
    assert f"reverse_proxy gateway:{port}" in CADDYFILE
    assert {name for name, service in services(TLS).items() if "edge" in service["networks"]} == {"proxy", "gateway"}


def test_only_the_proxys_network_is_trusted_about_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    (subnet,) = (entry["subnet"] for entry in composition(TLS)["networks"]["edge"]["ipam"]["config"])
    for name, value in environment(services(TLS)["gateway"]).items():
        monkeypatch.setenv(name, value)
    settings = load(ApiSettings)
    assert settings.trusted_proxies == (subnet,)
    assert settings.allowed_hosts == (environment(proxy())["PUBLIC_HOST"],)


def test_no_proxy_is_trusted_by_default() -> None:
    assert EdgeSettings.model_fields["trusted_proxies"].default == ()
    assert environment(services(GPU)["gateway"]).get("VULTUS_TRUSTED_PROXIES") is None


def test_the_proxy_has_no_outside_admin_and_does_not_buffer_events() -> None:
    assert "admin off" in CADDYFILE
    assert "flush_interval -1" in CADDYFILE


def kept_by_the_proxy() -> int:
    """Seconds for which the proxy keeps an idle connection to a gateway."""
    [kept] = re.findall(r"keepalive (\d+)s", CADDYFILE)
    return int(kept)


def test_the_proxy_drops_idle_connections_before_the_gateway_does() -> None:
    assert kept_by_the_proxy() < ApiSettings().keep_alive.total_seconds()


def test_the_proxy_has_dropped_its_idle_connections_to_a_gateway_before_that_stops() -> None:
    gateway = services(TLS)["gateway"]
    delay = float(environment(gateway)["VULTUS_DRAIN_DELAY"])
    assert kept_by_the_proxy() + 1 < delay
    assert seconds(gateway["stop_grace_period"]) >= delay + GRACE.total_seconds() + 5


def test_secrets_come_from_files_that_only_their_readers_receive() -> None:
    found = services(SECRETS)
    readers = {name for name, service in found.items() if service.get("secrets")}
    assert readers == {"gateway", "courier"}
    for name in readers:
        variables = environment(found[name])
        assert variables["VULTUS_WEBHOOK_SECRETS_FILE"] == "/run/secrets/webhook_secrets"
        assert "VULTUS_WEBHOOK_SECRETS" not in variables
