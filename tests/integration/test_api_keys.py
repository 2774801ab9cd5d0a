"""Keys in a real ledger, and the command that creates the first one; a gateway in its own process accepts them."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from shared.ledger.connection import connect
from shared.ledger.stores import Stores
from shared.ledger.tenants.api_keys import ApiKeys
from shared.tenants import DEFAULT, ApiKey, Quotas, Scope, Tenant, new_key, read_key
from tests.integration.servers import Server
from tests.stacks import FAKE, serving
from tools.setup import models_dir

ROOT = Path(__file__).parents[2]


def put(stores: Stores) -> tuple[ApiKey, str]:
    public, whole, digest = new_key()
    key = stores.api_keys.create(ApiKey(public, DEFAULT, frozenset({Scope.JOBS_READ}), digest))
    assert key is not None
    return key, whole


def command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.auth.keys_cli", *arguments],
        cwd=ROOT,
        env={"VULTUS_LEDGER_URL": url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_key_is_stored_by_its_public_part_and_never_whole(stores: Stores, ledger_server: Server) -> None:
    key, whole = put(stores)
    parts = read_key(whole)
    assert parts is not None
    found = stores.api_keys.find(key.id)
    assert found is not None
    assert (found[0].valid(parts[1], now=time.time()), found[0].valid("x" * 43, now=time.time())) == (True, False)
    with connect(ledger_server.url) as client:
        kept = repr([client.hgetall(name) for name in client.scan_iter("*{auth}:key:*")])
    assert parts[1] not in kept


def test_a_use_is_recorded_and_a_revoked_key_is_gone(stores: Stores) -> None:
    key, _ = put(stores)
    assert key.last_used_at is None
    stores.api_keys.find(key.id)
    used = stores.api_keys.read(key.id)
    assert used is not None
    assert used.last_used_at is not None
    assert abs(used.last_used_at - time.time()) < 60
    assert stores.api_keys.revoke(key)
    assert not stores.api_keys.revoke(key)
    assert stores.api_keys.find(key.id) is None
    assert stores.api_keys.of(DEFAULT) == []


def test_the_expiry_of_a_key_is_never_extended(stores: Stores) -> None:
    key, _ = put(stores)
    for at, then in ((2e9, 2e9), (1e9, 1e9), (3e9, 1e9)):
        changed = stores.api_keys.expire(key.id, at=at)
        assert changed is not None
        assert changed.expires_at == then
    assert stores.api_keys.expire("0" * 12, at=1.0) is None


def test_a_key_needs_a_tenant_and_may_create_it(stores: Stores) -> None:
    public, _, digest = new_key()
    key = ApiKey(public, "acme", frozenset({Scope.ADMIN}), digest)
    assert stores.api_keys.create(key) is None
    made = stores.tenants.create(Tenant("acme", name="Acme", quotas=Quotas(rate=2.5, jobs=7)))
    assert made is not None
    assert stores.tenants.create(Tenant("acme")) is None
    assert stores.api_keys.create(key) is not None
    found = stores.api_keys.find(public)
    assert found is not None
    assert (found[1].name, found[1].quotas, found[0].scopes) == (
        "Acme",
        Quotas(rate=2.5, jobs=7),
        frozenset({Scope.ADMIN}),
    )


def test_the_default_tenant_always_exists_and_can_have_quotas(stores: Stores) -> None:
    assert [tenant.id for tenant in stores.tenants.all()] == [DEFAULT]
    key, _ = put(stores)
    changed = stores.tenants.change(DEFAULT, {"disabled": True, "quality_policy": {"min_width": 80}})
    assert changed is not None
    found = stores.api_keys.find(key.id)
    assert found is not None
    assert (found[1].disabled, found[1].quality_policy) == (True, {"min_width": 80})
    assert stores.tenants.change("nobody", {"name": "x"}) is None


def test_the_command_creates_lists_and_revokes_keys(stores: Stores, ledger_server: Server) -> None:
    url = ledger_server.url.get_secret_value()
    made = command(url, "create", "--tenant", "acme", "--scopes", "jobs:read,admin", "--name", "ci", "--days", "30")
    assert made.returncode == 0, made.stderr
    parts = read_key(made.stdout.strip())
    assert parts is not None
    (key,) = stores.api_keys.of("acme")
    assert (key.id, key.scopes, key.name) == (parts[0], frozenset({Scope.JOBS_READ, Scope.ADMIN}), "ci")
    assert key.valid(parts[1], now=time.time())
    assert not key.valid(parts[1], now=time.time() + 31 * 86400)
    listed = command(url, "list", "--tenant", "acme")
    assert re.search(rf"^{key.id}  admin jobs:read .* ci$", listed.stdout, flags=re.MULTILINE)
    assert parts[1] not in listed.stdout
    assert command(url, "revoke", key.id).returncode == 0
    again = command(url, "revoke", key.id)
    assert (again.returncode, "does not exist" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [["create", "--tenant", "No"], ["create", "--scopes", "all"], ["create", "--days", "0"]]
)
def test_the_command_refuses_invalid_input(arguments: list[str]) -> None:
    done = command("redis://127.0.0.1:1/0", *arguments)
    assert (done.returncode, "usage" in done.stderr) == (2, True)


def test_a_closed_service_accepts_new_and_drops_revoked_keys_in_seconds(tmp_path: Path) -> None:
    settings = {**FAKE, "VULTUS_MODELS_DIR": str(models_dir()), "VULTUS_AUTH": "keys"}
    with serving(tmp_path, settings) as stack:
        assert httpx.get(f"{stack.url}/v1/jobs").status_code == 401
        made = command(stack.ledger.url, "create", "--tenant", "acme")
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert httpx.get(f"{stack.url}/v1/jobs", headers=headers).status_code == 200
        with stack.ledger.client() as client:
            keys = ApiKeys(client, shards=1)
            (key,) = keys.of("acme")
            assert keys.revoke(key)
        until = time.monotonic() + 6
        while httpx.get(f"{stack.url}/v1/jobs", headers=headers).status_code != 401:
            assert time.monotonic() < until
            time.sleep(0.2)


def test_an_open_gateway_refuses_to_listen_on_other_addresses() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api.app"],
        cwd=ROOT,
        env={"VULTUS_HOST": "0.0.0.0", "PATH": ""},  # noqa: S104 - the test expects a refusal
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "VULTUS_AUTH is off and VULTUS_HOST is 0.0.0.0" in done.stderr
