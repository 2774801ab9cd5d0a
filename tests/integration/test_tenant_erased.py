"""A tenant with everything a tenant can have is exported and erased; then the whole store is searched for traces."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.store import Tenants
from shared.tenants import ApiKey, Scope, Tenant, new_key
from tests.pictures import encoded, one_face
from tests.stacks import FAKE, serving
from tools.receiver import TO_THIS_MACHINE
from tools.setup import models_dir
from tools.stack import Stack

PICTURE = encoded(one_face())
MARK = "a-mark-that-is-nowhere-else"
TENANTS = ("acme", "other")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    settings = {
        **FAKE,
        **TO_THIS_MACHINE,
        "VULTUS_MODELS_DIR": str(models_dir()),
        "VULTUS_AUTH": "keys",
        "VULTUS_SESSION_SECRETS": "a-secret-of-this-test-and-of-nothing-else",
        "VULTUS_RESULT_CACHE_TTL": "600",
        "VULTUS_WEBHOOK_SECRETS": "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=",
    }
    with serving(tmp_path, settings) as running:
        yield running


def made(client: redis.Redis, tenant: str, *scopes: Scope) -> dict[str, str]:
    Tenants(client, shards=1).create(Tenant(tenant))
    public, whole, digest = new_key()
    assert ApiKeys(client, shards=1).create(ApiKey(public, tenant, frozenset(scopes), digest)) is not None
    return {"Authorization": f"Bearer {whole}"}


def furnish(url: str, headers: dict[str, str], tenant: str) -> str:
    """Create one of everything, with a mark in it; return the id of a finished job."""

    def post(path: str, **more: Any) -> dict[str, Any]:
        answer = httpx.post(f"{url}{path}", headers={**headers, **more.pop("headers", {})}, timeout=30, **more)
        assert answer.is_success, answer.text
        body: dict[str, Any] = answer.json()
        return body

    hook = f"http://127.0.0.1:18999/{tenant}-{MARK}"
    endpoint = post("/v1/webhook-endpoints", json={"url": hook, "description": MARK})
    post(f"/v1/webhook-endpoints/{endpoint['id']}/test")
    fields = {"operation": "embed", "metadata": json.dumps({"of": tenant, "mark": MARK})}
    options = {"Prefer": "wait=20", "Idempotency-Key": f"{tenant}-1"}
    job = post("/v1/jobs", files={"image": PICTURE}, data=fields, headers=options)
    assert job["status"] == "succeeded", job
    with_webhook = {**fields, "webhook": json.dumps({"url": hook})}
    post("/v1/jobs", files={"image": PICTURE}, data=with_webhook, headers={"Prefer": "wait=20"})
    post("/v1/batches", files=[("images", PICTURE), ("images", PICTURE)], data=fields)
    post("/v1/liveness-sessions", json={"metadata": {"of": tenant, "mark": MARK}})
    post("/detect", files={"file": PICTURE})
    for _ in range(5):
        post("/v1/jobs", files={"image": PICTURE}, data=fields)
    job_id: str = job["id"]
    return job_id


def everything(client: redis.Redis, *, but: str) -> str:
    """All names and values of the store, without the audit log of the tenant that requested the erasure."""
    readers: dict[Any, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"stream": client.xrange,
    }
    names = [key for key in client.scan_iter("*") if key != but.encode()]
    return repr([(key, readers[client.type(key)](key)) for key in names if client.exists(key)])


def test_an_erased_tenant_leaves_nothing_and_no_other_loses_anything(stack: Stack) -> None:
    url = stack.url
    with stack.ledger.client() as client:
        callers = {tenant: made(client, tenant, *(set(Scope) - {Scope.ADMIN})) for tenant in TENANTS}
        admin = made(client, "operator", *Scope)
        jobs = {tenant: furnish(url, callers[tenant], tenant) for tenant in TENANTS}
        time.sleep(1)
        before = {job["id"] for job in httpx.get(f"{url}/v1/jobs", headers=callers["other"]).json()["jobs"]}

        exported = httpx.get(f"{url}/v1/admin/tenants/acme/export", headers=admin, timeout=60)
        lines = [json.loads(line) for line in exported.text.splitlines()]
        kinds = [line["kind"] for line in lines]
        assert set(kinds) == {"tenant", "key", "endpoint", "batch", "session", "job", "audit"}
        assert kinds.count("job") == 10
        (own,) = [line["data"] for line in lines if line["kind"] == "job" and line["data"]["id"] == jobs["acme"]]
        assert own["result"]["faces"][0]["embedding"]
        assert "whsec_" not in exported.text
        assert not any(job_id in exported.text for job_id in before)

        assert client.keys("vultus:{0}:result:*:acme")
        client.set(f"vultus:{{0}}:result:{'ab' * 32}:acme", "{}")  # of a job that has expired

        busy = threading.Thread(target=_keep_submitting, args=(url, callers["acme"]))
        busy.start()
        erased = httpx.post(f"{url}/v1/admin/tenants/acme/erase", headers=admin, timeout=60).json()
        busy.join()
        assert erased["nothing_left"], erased
        assert {"keys", "endpoints", "batches", "sessions", "jobs", "events", "results"} <= erased["erased"].keys()

        time.sleep(1)
        left = everything(client, but="vultus:{auth}:audit:operator")
        for trace in ("acme", jobs["acme"], own["metadata"]["of"]):
            assert trace not in left
        assert httpx.get(f"{url}/v1/jobs", headers=callers["acme"]).status_code == 401

        after = {job["id"] for job in httpx.get(f"{url}/v1/jobs", headers=callers["other"]).json()["jobs"]}
        assert after == before
        kept = httpx.get(f"{url}/v1/jobs/{jobs['other']}", headers=callers["other"]).json()
        assert (kept["status"], kept["metadata"]["mark"]) == ("succeeded", MARK)
        log = httpx.get(f"{url}/v1/audit", headers=admin).json()["entries"]
        assert (log[0]["action"], log[0]["subject"]) == ("erase_tenant", "acme")
        assert httpx.get(f"{url}/v1/admin/tenants/acme", headers=admin).status_code == 404


def _keep_submitting(url: str, headers: dict[str, str]) -> None:
    """A client that does not know about the erasure, until it is refused."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        answer = httpx.post(
            f"{url}/v1/jobs", headers=headers, files={"image": PICTURE}, data={"operation": "embed"}, timeout=30
        )
        if answer.status_code in {401, 403}:
            return
        time.sleep(0.05)
