"""Authentication: a key grants its scopes within its tenant, and does not cost a round trip per request."""

import time
from datetime import timedelta
from typing import Any, cast

import pytest

from api.auth.authenticator import FRESH, UNKNOWN_KEYS_RATE
from shared.tenants import Quotas, Scope, new_key
from tests.store import CountingApiKeys
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG


@pytest.fixture
def closed(make_gateway: MakeGateway) -> Gateway:
    return stop_clocks(make_gateway(auth="keys"))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def listed(gateway: Gateway, key: str, **headers: str) -> Any:
    return gateway.get("/v1/jobs", headers=bearer(key) | headers)


def lookups(gateway: Gateway) -> int:
    """How often the gateway has read a key from the store."""
    return cast("CountingApiKeys", gateway.stores.api_keys).lookups


def revoke(gateway: Gateway, key: str) -> None:
    """Revoke a key behind the gateway's back, as another gateway does."""
    kept = gateway.stores.api_keys.read(key[3:15])
    assert kept is not None
    assert gateway.stores.api_keys.revoke(kept)


class Clock:
    """A clock that only the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def stop_clocks(gateway: Gateway) -> Gateway:
    """Give the caches and the rate limits one made clock."""
    clock, authenticator = Clock(), gateway.app.state.authenticator
    for part in (authenticator._buckets, authenticator._keys, authenticator._tenants):
        part._now = clock
    return gateway


def pause(gateway: Gateway, seconds: float) -> None:
    """Let the made clock go on."""
    gateway.app.state.authenticator._buckets._now.now += seconds


def test_a_request_without_a_key_is_refused(closed: Gateway) -> None:
    answer = closed.get("/v1/jobs")
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="vultus"'
    problem(closed.submit("detect", JPEG), 401, "unauthenticated")
    assert closed.get("/livez").status_code == 200
    assert closed.jobs() == []


def test_a_key_is_accepted_in_either_header(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    assert closed.get("/v1/jobs", headers={"X-API-Key": key}).status_code == 200
    assert closed.get("/v1/jobs", headers={"Authorization": f"bearer  {key}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer vk_"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        {"X-API-Key": "vk_000000000000_" + "x" * 43},
        {"X-API-Key": "' OR 1=1 --"},
    ],
)
def test_an_unknown_key_is_refused(closed: Gateway, headers: dict[str, str]) -> None:
    problem(closed.get("/v1/jobs", headers=headers), 401, "unauthenticated")


def test_the_public_part_with_another_secret_is_refused(closed: Gateway) -> None:
    key = closed.give_key("acme")
    _, forged, _ = new_key()
    mixed = key[:16] + forged[16:]
    assert (mixed[:16], mixed != key) == (key[:16], True)
    problem(listed(closed, mixed), 401, "unauthenticated")


def test_an_expired_key_is_refused(closed: Gateway) -> None:
    problem(listed(closed, closed.give_key("acme", expires_at=time.time() - 1)), 401, "unauthenticated")
    assert listed(closed, closed.give_key("acme", expires_at=time.time() + 3600)).status_code == 200


def test_a_key_is_limited_to_its_scopes(closed: Gateway) -> None:
    key = closed.give_key("acme", Scope.JOBS_READ)
    assert listed(closed, key).status_code == 200
    body = problem(
        closed.post("/v1/jobs", headers=bearer(key), files={"image": JPEG}, data={"operation": "detect"}),
        403,
        "forbidden",
    )
    assert "jobs:write" in body["detail"]


def test_many_requests_with_a_key_read_it_once(closed: Gateway) -> None:
    key = closed.give_key("acme")
    for _ in range(20):
        listed(closed, key)
    assert lookups(closed) == 1


def test_a_revoked_key_is_refused_within_seconds(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    revoke(closed, key)
    pause(closed, FRESH.total_seconds() + 0.1)
    problem(listed(closed, key), 401, "unauthenticated")


def test_a_revoked_key_in_constant_use_is_refused_in_time(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    revoke(closed, key)
    step, passed = 0.25, 0.0
    while listed(closed, key).status_code == 200:
        pause(closed, step)
        passed += step
    assert passed <= FRESH.total_seconds()


def test_unknown_keys_do_not_evict_valid_ones(closed: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.authenticator.MAX_CACHED", 3)
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    for _ in range(10):
        problem(listed(closed, new_key()[1]), 401, "unauthenticated")
    reads = lookups(closed)
    assert listed(closed, key).status_code == 200
    assert lookups(closed) == reads


def test_a_disabled_tenant_is_refused(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    closed.stores.tenants.change("acme", {"disabled": True})
    pause(closed, FRESH.total_seconds() + 0.1)
    problem(listed(closed, key), 403, "forbidden")


def test_an_unavailable_store_refuses_every_caller(closed: Gateway) -> None:
    key = closed.give_key("acme")
    closed.store.away = True
    problem(listed(closed, key), 503, "store_unavailable")
    closed.store.away = False
    assert listed(closed, key).status_code == 200


def test_guessing_keys_is_throttled_without_delaying_known_keys(closed: Gateway) -> None:
    key = closed.give_key("acme")
    assert listed(closed, key).status_code == 200
    statuses = [listed(closed, new_key()[1]).status_code for _ in range(round(UNKNOWN_KEYS_RATE) + 30)]
    assert statuses[0] == 401
    assert 429 in statuses
    assert listed(closed, key).status_code == 200


def test_every_response_reports_the_remaining_requests(make_gateway: MakeGateway) -> None:
    gateway = stop_clocks(make_gateway(auth="keys", rate_limit=2.0, rate_burst=4))
    key = gateway.give_key("acme", Scope.JOBS_READ)
    found = [listed(gateway, key).headers["ratelimit"] for _ in range(2)]
    assert found == ['"key";r=3;t=1', '"key";r=2;t=1']
    missing = gateway.get(f"/v1/jobs/job_{'0' * 34}", headers=bearer(key))
    problem(missing, 404, "job_not_found")
    assert missing.headers["ratelimit-policy"] == '"key";q=4;w=2'


def test_a_rate_limited_key_gets_retry_after(make_gateway: MakeGateway) -> None:
    gateway = stop_clocks(make_gateway(auth="keys", rate_limit=0.5, rate_burst=2))
    key, other = (gateway.give_key("acme") for _ in range(2))
    assert [listed(gateway, key).status_code for _ in range(2)] == [200, 200]
    refused = listed(gateway, key)
    problem(refused, 429, "rate_limited")
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["ratelimit"].startswith('"key";r=0;')
    assert listed(gateway, other).status_code == 200


def test_a_tenant_may_have_its_own_rate(make_gateway: MakeGateway) -> None:
    gateway = stop_clocks(make_gateway(auth="keys", rate_limit=1000.0, rate_burst=1000))
    key = gateway.give_key("acme")
    gateway.stores.tenants.change("acme", {"quotas": Quotas(rate=0.1, burst=1)})
    assert [listed(gateway, key).status_code for _ in range(2)] == [200, 429]


def test_gateways_share_the_rate_of_a_key(make_gateway: MakeGateway) -> None:
    gateway = stop_clocks(make_gateway(auth="keys", rate_limit=0.1, rate_burst=6, gateways=3))
    key = gateway.give_key("acme")
    assert [listed(gateway, key).status_code for _ in range(3)] == [200, 200, 429]


def test_the_gateway_may_have_a_total_rate(make_gateway: MakeGateway) -> None:
    gateway = stop_clocks(make_gateway(auth="keys", rate_total=1.0))
    keys = [gateway.give_key(name) for name in ("a", "b")]
    assert [listed(gateway, key).status_code for key in keys] == [200, 429]


def test_without_authentication_nothing_is_rate_limited(gateway: Gateway) -> None:
    assert "ratelimit" not in gateway.get("/v1/jobs").headers


def test_a_revocation_takes_effect_within_seconds() -> None:
    assert timedelta(seconds=1) <= FRESH <= timedelta(seconds=5)
