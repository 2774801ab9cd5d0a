"""Security headers, allowed hosts, and CORS."""

import re
from datetime import timedelta

import pytest

from api.http.security_headers import is_allowed_host, page_policy
from tests.unit.api.conftest import Gateway, MakeGateway, problem

PROTECTIVE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
JOB = "/v1/jobs/job_00" + "0" * 32


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/nowhere", 404), (JOB, 404), ("/openapi.json", 200)])
def test_every_response_has_security_headers(gateway: Gateway, path: str, status: int) -> None:
    answer = gateway.get(path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in PROTECTIVE} == PROTECTIVE
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert "camera=()" in answer.headers["permissions-policy"]
    assert "strict-transport-security" not in answer.headers


def test_an_internal_error_has_security_headers(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(gateway.ledger, "read", broken)
    answer = gateway.get(JOB)
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_docs_page_may_run_only_its_own_scripts(gateway: Gateway) -> None:
    page = gateway.get("/docs")
    policy = page.headers["content-security-policy"]
    assert policy == page_policy(page.content)
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", policy)) == 1
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert re.findall(r'(?:src|href)="(?!/)', page.text) == []


def test_hsts_is_sent_only_over_tls(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(hsts_max_age=timedelta(days=365))
    assert "strict-transport-security" not in gateway.get("/livez").headers
    assert gateway.get("https://gateway/livez").headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("faces.example.org", True),
        ("FACES.example.org.", True),
        ("faces.example.org:8443", True),
        ("a.b.example.net", True),
        ("example.net", False),
        ("evilexample.net", False),
        ("faces.example.org.evil.test", False),
        ("127.0.0.1", False),
        ("", False),
        ("[::1]:8000", True),
    ],
)
def test_allowed_hosts_are_matched(host: str, ours: bool) -> None:
    assert is_allowed_host(host, ("faces.example.org", "*.example.net", "[::1]")) is ours


def test_other_hosts_get_responses_only_to_probes(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(allowed_hosts="faces.example.org")
    problem(gateway.get(JOB), 421, "host_refused")
    assert gateway.get("/livez").status_code == 200
    assert gateway.get(JOB, headers={"Host": "faces.example.org:443"}).status_code == 404


PAGE = "https://app.example.org"
ASKED = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


def test_only_listed_origins_may_call(make_gateway: MakeGateway) -> None:
    closed = make_gateway()
    assert not [name for name in closed.get("/livez", headers=ASKED).headers if name.startswith("access-control")]
    problem(closed.request("OPTIONS", "/v1/jobs", headers=ASKED), 403, "cors_refused")
    listed = make_gateway(cors_origins=PAGE)
    allowed = listed.request("OPTIONS", "/v1/jobs", headers=ASKED)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "access-control-allow-credentials" not in allowed.headers
    answer = listed.get("/livez", headers=ASKED)
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("wrong", [{"Origin": "https://evil.test"}, {"Access-Control-Request-Method": "TRACE"}])
def test_a_refused_preflight_is_a_problem(make_gateway: MakeGateway, wrong: dict[str, str]) -> None:
    answer = make_gateway(cors_origins=PAGE).request("OPTIONS", "/v1/jobs", headers={**ASKED, **wrong})
    problem(answer, 403, "cors_refused")
    assert "access-control-allow-origin" not in answer.headers


def test_a_listed_origin_may_send_any_header_and_read_ours(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors_origins=PAGE)
    names = "baggage,idempotency-key,if-match,prefer,traceparent,tracestate,x-api-key,x-request-id,x-datadog-trace-id"
    allowed = gateway.request(
        "OPTIONS",
        "/v1/jobs/x",
        headers={
            **ASKED,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": names,
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (200, names)
    assert "PATCH" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-private-network"] == "true"
    seen = gateway.get("/livez", headers={"Origin": PAGE}).headers["access-control-expose-headers"]
    assert {"ETag", "Location", "Retry-After", "X-Request-ID"} <= set(seen.split(", "))


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "chrome-extension://aapocclcgogkmnckokdopfmhonfmgoek",
        "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
        "http://localhost:5173",
        "https://[::1]:8443",
    ],
)
def test_apps_and_extensions_may_be_listed_as_origins(make_gateway: MakeGateway, origin: str) -> None:
    answer = make_gateway(cors_origins=f"{PAGE}, {origin}").get("/livez", headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cors_origins", "*"),
        ("cors_origins", "https://*.example.org"),
        ("cors_origins", "app.example.org"),
        ("cors_origins", "https://app.example.org/"),
        ("cors_origins", "https://app.example.org:443"),
        ("cors_origins", "https://App.example.org"),
        ("cors_origins", "capacitor://*"),
        ("cors_origins", "null"),
        ("cors_origins", "file://localhost"),
        ("allowed_hosts", "faces.example.org:443"),
        ("allowed_hosts", "*"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "proxy"),
    ],
)
def test_overly_broad_settings_are_refused(make_gateway: MakeGateway, name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        make_gateway(**{name: value})
