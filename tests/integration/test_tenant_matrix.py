"""Every call of the OpenAPI document, made by one tenant on another's records: they appear not to exist."""

import json
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.store import Tenants
from shared.tenants import ApiKey, Scope, Tenant, new_key
from shared.webhooks.signing import new_secret
from tests.contract.snapshot import agreed
from tests.pictures import encoded, one_face
from tests.stacks import FAKE, serving
from tests.tenancy import ANSWERS, BODIES, LISTS, MAKES, PUBLIC, SECRETS, is_admin, names_what_is_held
from tools.receiver import TO_THIS_MACHINE, Callback, receiving
from tools.setup import models_dir

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in agreed()["paths"].items()
    for method, operation in item.items()
}
PICTURE = encoded(one_face())
ABSENT = {
    "job_id": f"job_00{'0' * 32}",
    "batch_id": f"batch_00{'0' * 32}",
    "endpoint_id": f"we_{'0' * 32}",
    "session_id": f"live_00{'0' * 32}",
    "delivery_id": f"dlv_00{'0' * 32}_{'0' * 16}",
}
OPERATORS = new_secret()
EVERY = frozenset(Scope) - {Scope.ADMIN}


@dataclass
class Site:
    """A closed service with two tenants; `held` has the records of the first."""

    url: str
    keys: dict[str, str]
    held: dict[str, str] = field(default_factory=dict)

    def call(self, name: str, who: str | None, ids: dict[str, str], **more: Any) -> httpx.Response:
        method, path = name.split(" ")
        headers = {} if who is None else {"Authorization": f"Bearer {self.keys[who]}"}
        return httpx.request(method, self.url + path.format(**ids), headers=headers, timeout=30, **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {
        **FAKE,
        **TO_THIS_MACHINE,
        "VULTUS_MODELS_DIR": str(models_dir()),
        "VULTUS_AUTH": "keys",
        "VULTUS_WEBHOOK_SECRETS": OPERATORS,
    }
    with serving(tmp_path_factory.mktemp("matrix"), settings) as stack:
        with stack.ledger.client() as client:
            keys = {
                "acme": made(client, "acme", EVERY),
                "other": made(client, "other", EVERY),
                "nothing": made(client, "other", frozenset()),
                "admin": made(client, "operator", frozenset(Scope)),
            }
        found = Site(stack.url, keys)
        furnish(found)
        yield found


def made(client: Any, tenant: str, scopes: frozenset[Scope]) -> str:
    Tenants(client, shards=1).create(Tenant(tenant))
    public, whole, digest = new_key()
    assert ApiKeys(client, shards=1).create(ApiKey(public, tenant, scopes, digest)) is not None
    return whole


def submit(site: Site, who: str, name: str = "POST /v1/jobs") -> httpx.Response:
    if name == "POST /v1/liveness-sessions":
        return site.call(name, who, {}, json={})
    field = "images" if name.endswith("batches") else "image"
    return site.call(name, who, {}, files=[(field, ("a.png", PICTURE, "image/png"))], data={"operation": "detect"})


def furnish(site: Site) -> None:
    endpoint = {"url": "http://127.0.0.1:18999/hook", "events": ["job.succeeded"]}
    registered = site.call("POST /v1/webhook-endpoints", "acme", {}, json=endpoint).json()
    site.held["endpoint_id"] = registered["id"]
    sent = site.call("POST /v1/webhook-endpoints/{endpoint_id}/test", "acme", site.held).json()
    site.held["delivery_id"] = sent["id"]
    site.held["job_id"] = submit(site, "acme").json()["id"]
    site.held["batch_id"] = submit(site, "acme", "POST /v1/batches").json()["id"]
    site.held["session_id"] = submit(site, "acme", "POST /v1/liveness-sessions").json()["id"]
    for name in ("job", "batch"):
        assert site.call(f"GET /v1/{name}{'es' if name == 'batch' else 's'}/{{{name}_id}}?wait=20", "acme", site.held)


def comparable(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    """A response without the parts that are always new."""
    return answer.status_code, {**answer.json(), "request_id": ""}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if names_what_is_held(name)])
def test_another_tenants_record_is_answered_exactly_like_a_missing_one(site: Site, name: str) -> None:
    body = {"json": BODIES[name]} if name in BODIES else {}
    foreign = comparable(site.call(name, "other", site.held, **body))
    assert foreign == comparable(site.call(name, "other", ABSENT, **body))
    assert foreign[0] == 404


def test_afterwards_its_owner_still_has_everything(site: Site) -> None:
    for name in ("/v1/jobs/{job_id}", "/v1/batches/{batch_id}", "/v1/webhook-endpoints/{endpoint_id}"):
        assert site.call(f"GET {name}", "acme", site.held).status_code == 200
    assert site.call("GET /v1/webhook-deliveries/{delivery_id}", "acme", site.held).status_code == 200
    endpoint = site.call("GET /v1/webhook-endpoints/{endpoint_id}", "acme", site.held).json()
    assert (endpoint["description"], endpoint["enabled"]) == ("", True)


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_shows_nothing_of_another_tenant(site: Site, name: str) -> None:
    assert any(held in site.call(name, "acme", {}).text for held in site.held.values())
    assert not any(held in site.call(name, "other", {}).text for held in site.held.values())


@pytest.mark.parametrize("name", sorted(MAKES - {"POST /v1/webhook-endpoints"}))
def test_a_tenants_new_records_are_its_own(site: Site, name: str) -> None:
    answer = submit(site, "other", name)
    assert answer.status_code in {200, 201, 202}, answer.text  # a batch may be completed already
    path = answer.headers["location"]
    assert site.call(f"GET {path}", "other", {}).status_code == 200
    assert site.call(f"GET {path}", "acme", {}).status_code == 404


def test_an_idempotency_key_belongs_to_its_tenant(site: Site) -> None:
    def submitted(who: str) -> str:
        headers = {"Authorization": f"Bearer {site.keys[who]}", "Idempotency-Key": "one"}
        answer = httpx.post(
            f"{site.url}/v1/jobs", headers=headers, files={"image": PICTURE}, data={"operation": "detect"}
        )
        job_id: str = answer.json()["id"]
        return job_id

    assert submitted("acme") == submitted("acme") != submitted("other")


def test_the_job_behind_a_classic_call_belongs_to_its_tenant(site: Site) -> None:
    before = {job["id"] for job in site.call("GET /v1/jobs", "other", {}).json()["jobs"]}
    answer = site.call("POST /detect", "other", {}, files={"file": PICTURE})
    assert answer.status_code == 200, answer.text
    (new,) = {job["id"] for job in site.call("GET /v1/jobs", "other", {}).json()["jobs"]} - before
    assert site.call(f"GET /v1/jobs/{new}", "acme", {}).status_code == 404


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in PUBLIC])
def test_no_answer_without_a_key_or_without_the_scope(site: Site, name: str) -> None:
    ids = {**ABSENT, "tenant_id": "acme", "key_id": "0" * 12}
    body: dict[str, Any] = {"json": {}} if name.startswith(("POST", "PATCH")) and name not in ANSWERS else {}
    assert (site.call(name, None, ids, **body).status_code, site.call(name, "nothing", ids, **body).status_code) == (
        401,
        403,
    )


@pytest.mark.parametrize("name", [name for name in OPERATIONS if is_admin(name)])
def test_managing_tenants_and_keys_needs_its_own_scope(site: Site, name: str) -> None:
    ids = {"tenant_id": "acme", "key_id": "0" * 12}
    assert (
        site.call(name, "acme", ids, **({"json": {}} if name.startswith(("POST", "PATCH")) else {})).status_code == 403
    )


def test_the_audit_log_of_another_tenant_needs_its_own_scope(site: Site) -> None:
    assert site.call("GET /v1/audit?tenant=acme", "other", {}).status_code == 403
    time.sleep(0.5)
    assert site.held["job_id"] in site.call("GET /v1/audit?tenant=acme", "admin", {}).text


def test_completions_go_only_to_endpoints_of_their_tenant(site: Site) -> None:
    other = submit(site, "other").json()["id"]
    site.call(f"GET /v1/jobs/{other}?wait=20", "other", {})
    own = f"GET /v1/jobs/{site.held['job_id']}/deliveries"
    until = time.monotonic() + 10
    while not site.call(own, "acme", {}).json()["deliveries"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    time.sleep(0.5)
    assert site.call(f"GET /v1/jobs/{other}/deliveries", "other", {}).json()["deliveries"] == []


@pytest.mark.parametrize("whose", ["acme", "other", "the operator"])
def test_a_jobs_own_url_is_signed_only_with_its_tenants_secret(site: Site, whose: str) -> None:
    if whose == "the operator":
        secret = OPERATORS
    else:
        (secret,) = site.call(f"GET {SECRETS.split()[1]}", whose, {}).json()["secrets"]
    heard: queue.Queue[Callback] = queue.Queue()
    with receiving(secret=secret, heard=heard.put) as url:
        fields = {"operation": "detect", "webhook": json.dumps({"url": url})}
        answer = site.call("POST /v1/jobs", "acme", {}, files={"image": ("a.png", PICTURE)}, data=fields)
        assert answer.status_code == 202, answer.text
        callback = heard.get(timeout=20)
    assert (callback.problem is None) is (whose == "acme")
