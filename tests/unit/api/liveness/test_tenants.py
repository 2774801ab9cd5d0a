"""Quotas and disabled tenants apply to clients with a session token."""

import base64

import pytest

from shared.tenants import Quotas
from tests.unit.api.auth.test_authenticator import bearer
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.liveness.test_routes import PATH, SECRET, TWO_TURNS, Client
from tests.unit.api.pictures import JPEG


@pytest.fixture
def closed(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(auth="keys", session_secrets=SECRET)


def opened_by_acme(closed: Gateway) -> Client:
    return Client(closed, closed.post(PATH, json=TWO_TURNS, headers=bearer(closed.give_key("acme"))).json())


def test_frames_count_toward_the_quota_of_their_tenant(closed: Gateway) -> None:
    client = opened_by_acme(closed)
    closed.stores.tenants.change("acme", {"quotas": Quotas(jobs=0)})
    problem(client.post(), 429, "quota_exceeded")
    assert client.read()["status"] == "running", "the frame was not taken: it may come again"


def test_reference_image_counts_toward_the_quota(closed: Gateway) -> None:
    key = closed.give_key("acme")
    closed.stores.tenants.change("acme", {"quotas": Quotas(jobs=0)})
    asked = {"reference": {"base64": base64.b64encode(JPEG).decode()}}
    problem(closed.post(PATH, json=asked, headers=bearer(key)), 429, "quota_exceeded")


def test_clients_of_a_disabled_tenant_are_rejected(closed: Gateway) -> None:
    client = opened_by_acme(closed)
    closed.stores.tenants.change("acme", {"disabled": True})
    problem(client.post(), 403, "forbidden")
    problem(closed.get(client.path, headers=client.headers), 403, "forbidden")
