"""Signing secrets for per-job webhook URLs: a tenant reads only its own."""

import pytest

from shared.tenants import DEFAULT
from shared.webhooks.signing import new_secret, secret_of_tenant
from tests.unit.api.auth.test_authenticator import bearer
from tests.unit.api.conftest import Gateway, MakeGateway, problem

NEW, OLD = new_secret(), new_secret()


@pytest.fixture
def closed(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(auth="keys", webhook_secrets=f"{NEW},{OLD}")


def test_tenant_reads_its_own_secrets_in_order(closed: Gateway) -> None:
    headers = bearer(closed.give_key("acme"))
    answer = closed.request("GET", "/v1/webhook-secrets", headers=headers)
    assert answer.status_code == 200
    assert answer.json() == {"secrets": [secret_of_tenant("acme", NEW), secret_of_tenant("acme", OLD)]}


def test_secrets_of_the_operator_are_never_returned(closed: Gateway, make_gateway: MakeGateway) -> None:
    keyed = closed.request("GET", "/v1/webhook-secrets", headers=bearer(closed.give_key(DEFAULT)))
    without = make_gateway(webhook_secrets=NEW).request("GET", "/v1/webhook-secrets")
    for answer in (keyed, without):
        assert problem(answer, 403, "forbidden")["detail"].startswith("The default tenant")
        assert "whsec_" not in answer.text


def test_without_configured_secrets_webhooks_are_off(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(auth="keys")
    headers = bearer(gateway.give_key("acme"))
    problem(gateway.request("GET", "/v1/webhook-secrets", headers=headers), 422, "webhooks_off")
