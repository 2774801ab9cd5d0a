"""Tenants and API keys over HTTP: create, update, rotate, revoke; a key is shown only once."""

import time
from typing import Any

import httpx
import pytest

from shared.tenants import DEFAULT, Scope, read_key
from tests.unit.api.auth.test_authenticator import bearer
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG


@pytest.fixture
def closed(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(auth="keys")


class Operator:
    """Calls with a key that has every scope."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.headers = bearer(gateway.give_key("operator"))

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.gateway.request(method, f"/v1/admin{path}", headers=self.headers, **more)

    def change(self, tenant: str, body: dict[str, Any], *, if_match: str) -> httpx.Response:
        headers = {**self.headers, "If-Match": if_match}
        return self.gateway.request("PATCH", f"/v1/admin/tenants/{tenant}", json=body, headers=headers)


POLICY = {"profile": "strict", "limits": {"max_yaw": 45.0}}


@pytest.fixture
def operator(closed: Gateway) -> Operator:
    return Operator(closed)


def test_a_tenant_is_registered_read_listed_and_changed(operator: Operator) -> None:
    asked = {"id": "acme", "name": "Acme", "quotas": {"jobs": 5}, "quality_policy": POLICY}
    made = operator("POST", "/tenants", json=asked)
    assert made.status_code == 201
    assert made.json()["quotas"] == {"rate": None, "burst": None, "jobs": 5}
    assert operator("GET", "/tenants/acme").json() == made.json()
    assert {tenant["id"] for tenant in operator("GET", "/tenants").json()["tenants"]} == {"acme", "operator", DEFAULT}
    changed = operator("PATCH", "/tenants/acme", json={"disabled": True, "quotas": {"rate": 2}}).json()
    assert (changed["name"], changed["disabled"], changed["quotas"]["rate"], changed["quality_policy"]) == (
        "Acme", True, 2.0, POLICY,
    )  # fmt: skip


def test_change_of_an_older_version_is_412(operator: Operator) -> None:
    tag = operator("POST", "/tenants", json={"id": "acme"}).headers["ETag"]
    assert operator("GET", "/tenants/acme").headers["ETag"] == tag
    first = operator.change("acme", {"name": "One"}, if_match=tag)
    assert first.status_code == 200
    assert first.headers["ETag"] != tag
    for stale in (tag, f"W/{first.headers['ETag']}", '"x"'):
        problem(operator.change("acme", {"name": "Two"}, if_match=stale), 412, "precondition_failed")
    assert operator("GET", "/tenants/acme").json()["name"] == "One"
    assert operator.change("acme", {"name": "Three"}, if_match="*").status_code == 200
    assert operator.change("acme", {"name": "Four"}, if_match=f'"9", {tag}, "3"').status_code == 200


def test_tenant_can_be_registered_only_once(operator: Operator) -> None:
    assert operator("POST", "/tenants", json={"id": "acme"}).status_code == 201
    problem(operator("POST", "/tenants", json={"id": "acme"}), 409, "tenant_exists")
    problem(operator("POST", "/tenants", json={"id": DEFAULT}), 409, "tenant_exists")


@pytest.mark.parametrize(
    "asked",
    [
        {"id": "A"},
        {"id": ""},
        {"id": "a", "quotas": {"jobs": -1}},
        {"id": "a", "quotas": {"rate": 1e-320}},
        {"id": "a", "quotas": {"rate": 1e300}},
        {"id": "a", "quotas": {"burst": 10**30}},
        {"id": "a", "x": 1},
    ],
)
def test_invalid_tenant_is_rejected(operator: Operator, asked: dict[str, Any]) -> None:
    problem(operator("POST", "/tenants", json=asked), 422, "invalid_request")


def test_oversized_policy_is_rejected(operator: Operator) -> None:
    asked = {"id": "a", "quality_policy": {"x": "y" * 5000}}
    body = problem(operator("POST", "/tenants", json=asked), 422, "invalid_request")
    assert body["errors"][0]["field"] == "quality_policy"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"profile": "best"}, "quality_policy.profile"),
        ({"limits": {"max_yaw": 100}}, "quality_policy.limits.max_yaw"),
        ({"min_width": 80}, "quality_policy.min_width"),
    ],
)
def test_invalid_quality_policy_is_rejected(operator: Operator, policy: dict[str, Any], field: str) -> None:
    body = problem(operator("POST", "/tenants", json={"id": "a", "quality_policy": policy}), 422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == [field]


def test_unknown_tenant_is_not_found(operator: Operator) -> None:
    for method, path in (("GET", "/tenants/x"), ("PATCH", "/tenants/x"), ("POST", "/tenants/No/erase")):
        more: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        problem(operator(method, path, **more), 404, "tenant_not_found")
    problem(operator("POST", "/keys", json={"tenant": "x", "scopes": ["jobs:read"]}), 404, "tenant_not_found")


def test_key_is_shown_once_and_grants_its_scopes(operator: Operator) -> None:
    operator("POST", "/tenants", json={"id": "acme"})
    made = operator("POST", "/keys", json={"tenant": "acme", "scopes": ["jobs:read"], "name": "app", "expires_in": 60})
    assert made.status_code == 201
    whole = made.json()["key"]
    parts = read_key(whole)
    assert parts is not None
    (listed,) = operator("GET", "/keys?tenant=acme").json()["keys"]
    assert (listed["id"], listed["name"], listed["scopes"]) == (parts[0], "app", ["jobs:read"])
    assert parts[1] not in operator("GET", "/keys?tenant=acme").text
    assert operator.gateway.get("/v1/jobs", headers=bearer(whole)).status_code == 200


def test_rotated_key_stays_valid_during_the_overlap(operator: Operator) -> None:
    old = operator.gateway.give_key("acme", Scope.JOBS_READ)
    rotated = operator("POST", f"/keys/{old[3:15]}/rotate", json={"overlap_seconds": 3600})
    assert rotated.status_code == 201
    new = rotated.json()["key"]
    assert new != old
    assert rotated.json()["scopes"] == ["jobs:read"]
    for key in (old, new):
        assert operator.gateway.get("/v1/jobs", headers=bearer(key)).status_code == 200
    kept = operator.gateway.stores.api_keys.read(old[3:15])
    assert kept is not None
    assert kept.expires_at is not None
    assert 0 < kept.expires_at - time.time() <= 3600


def test_a_revoked_key_is_gone(operator: Operator) -> None:
    key = operator.gateway.give_key("acme", Scope.JOBS_READ)
    assert operator("DELETE", f"/keys/{key[3:15]}").status_code == 204
    problem(operator("DELETE", f"/keys/{key[3:15]}"), 404, "key_not_found")
    problem(operator("POST", "/keys/not-a-key/rotate"), 404, "key_not_found")
    problem(operator.gateway.get("/v1/jobs", headers=bearer(key)), 401, "unauthenticated")


def test_admin_calls_are_in_the_audit_log_of_the_tenant(operator: Operator) -> None:
    operator("POST", "/tenants", json={"id": "acme"})
    operator("PATCH", "/tenants/acme", json={"name": "x"})
    made = operator("POST", "/keys", json={"tenant": "acme", "scopes": ["jobs:read"]}).json()
    operator("DELETE", f"/keys/{made['id']}")
    gateway = operator.gateway
    gateway._run(gateway.app.state.audit.flush())
    found = [(entry.action, entry.subject) for entry in gateway.stores.audit.page("acme", limit=10)]
    assert found[::-1] == [
        ("register_tenant", "acme"),
        ("change_tenant", "acme"),
        ("create_key", made["id"]),
        ("revoke_key", made["id"]),
    ]


def test_exceeded_quota_is_429_before_anything_is_accepted(operator: Operator) -> None:
    operator("POST", "/tenants", json={"id": "acme", "quotas": {"jobs": 2}})
    gateway = operator.gateway
    key = gateway.give_key("acme")

    def submit(path: str = "/v1/jobs", *fields: str) -> httpx.Response:
        files = [(field, ("a.jpg", JPEG, "image/jpeg")) for field in fields or ("image",)]
        return gateway.post(path, headers=bearer(key), files=files, data={"operation": "detect"})

    assert [submit().status_code for _ in range(2)] == [202, 202]
    answer = submit()
    problem(answer, 429, "quota_exceeded")
    assert answer.headers["retry-after"] == "5"
    problem(submit("/v1/batches", "images"), 429, "quota_exceeded")
    assert len(gateway.jobs()) == 2
    assert gateway.submit("detect", JPEG).status_code == 401
