"""Webhook endpoints in a real store: what is stored, which listen, and what a crash between two steps leaves."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from shared.errors import ErrorCode, RequestError
from shared.jobs import Status
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores
from shared.ledger.webhooks import endpoints as registry
from shared.webhooks.schemas import (
    SUBSCRIBABLE,
    DisabledReason,
    Endpoint,
    EventType,
    PayloadForm,
    Secret,
    new_endpoint_id,
)
from tests.integration.servers import Server
from tests.integration.test_ledger import accept

SECRET = "whsec_" + "QUJD" * 11


def endpoint(*events: EventType, secret: str = SECRET) -> Endpoint:
    return Endpoint(
        id=new_endpoint_id(),
        url="https://partner.example.org/hook?token=abc",
        events=events or SUBSCRIBABLE,
        secrets=(Secret(secret, created_at=0),),
        description="the exclusive_gate's office",
        payload=PayloadForm.FULL,
        include_embeddings=True,
        headers={"X-Office": "7"},
    )


def rows(server: Server) -> list[dict[str, Any]]:
    with connect(server.url) as client:
        return [json.loads(row) for row in cast("list[bytes]", client.lrange(keys.outbox(0), 0, -1))]


def end(ledger: Ledger) -> str:
    job_id = accept(ledger)
    claim = ledger.claim("w")
    assert claim is not None
    assert ledger.finish(job_id, claim.token, Outcome(result={}))
    return job_id


def test_a_registered_endpoint_can_be_read(stores: Stores) -> None:
    requested = endpoint(EventType.JOB_FAILED, EventType.BATCH_COMPLETED)
    created = stores.endpoints.create(requested)
    assert created.created_at > 1_700_000_000
    (secret,) = created.secrets
    assert (secret.value, secret.expires_at) == (SECRET, None)
    assert secret.created_at == pytest.approx(created.created_at, abs=0.001)
    assert created == replace(requested, created_at=created.created_at, secrets=(secret,))
    assert stores.endpoints.read(requested.id) == created
    assert stores.endpoints.read(new_endpoint_id()) is None


def test_endpoints_are_listed_newest_first(stores: Stores) -> None:
    made = [stores.endpoints.create(endpoint()).id for _ in range(5)]
    assert [found.id for found in stores.endpoints.all()] == made[::-1]


def test_no_secret_or_url_is_in_a_repr(stores: Stores) -> None:
    text = repr(stores.endpoints.create(endpoint()))
    assert "whsec_" not in text
    assert "token" not in text
    assert "X-Office" not in text


def test_the_number_of_endpoints_is_limited(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST", 2)
    for _ in range(2):
        stores.endpoints.create(endpoint())
    with pytest.raises(RequestError) as refused:
        stores.endpoints.create(endpoint())
    assert refused.value.code is ErrorCode.TOO_MANY_ENDPOINTS


def test_a_completion_writes_a_row_only_if_an_endpoint_listens(stores: Stores, ledger_server: Server) -> None:
    end(stores.jobs)
    assert rows(ledger_server) == []
    failed = stores.endpoints.create(endpoint(EventType.JOB_FAILED))
    end(stores.jobs)
    assert rows(ledger_server) == []
    stores.endpoints.change(failed.id, {"events": (EventType.JOB_SUCCEEDED,)})
    job_id = end(stores.jobs)
    (row,) = rows(ledger_server)
    assert (row["id"], row["type"], row["operation"]) == (job_id, "job.succeeded", "detect")
    assert "webhook" not in row
    stores.endpoints.disable(failed.id, DisabledReason.BY_REQUEST)
    end(stores.jobs)
    assert len(rows(ledger_server)) == 1
    stores.endpoints.enable(failed.id)
    end(stores.jobs)
    assert len(rows(ledger_server)) == 2
    stores.endpoints.delete(failed.id)
    end(stores.jobs)
    assert len(rows(ledger_server)) == 2


def test_an_erased_job_is_not_reported(stores: Stores, ledger_server: Server) -> None:
    stores.endpoints.create(endpoint())
    assert stores.jobs.delete(accept(stores.jobs))
    assert rows(ledger_server) == []


def test_a_cancel_is_reported(stores: Stores, ledger_server: Server) -> None:
    stores.endpoints.create(endpoint())
    assert stores.jobs.cancel(accept(stores.jobs)).status is Status.CANCELED
    assert [row["type"] for row in rows(ledger_server)] == ["job.canceled"]


def test_a_disabled_endpoint_has_a_reason_and_an_enabled_one_starts_fresh(stores: Stores) -> None:
    name = stores.endpoints.create(endpoint()).id
    stores.endpoints.failed(name)
    off = stores.endpoints.disable(name, DisabledReason.GONE)
    assert off is not None
    assert (off.enabled, off.disabled_reason) == (False, DisabledReason.GONE)
    assert off.disabled_at is not None
    assert off.failing_since is not None
    on = stores.endpoints.enable(name)
    assert on is not None
    assert (on.enabled, on.disabled_reason, on.disabled_at, on.failing_since) == (True, None, None, None)


def test_failures_count_from_the_first_after_the_last_success(stores: Stores) -> None:
    name = stores.endpoints.create(endpoint()).id
    first = stores.endpoints.failed(name)
    second = stores.endpoints.failed(name)
    assert first == timedelta(0)
    assert second is not None
    assert second > timedelta(0)
    stores.endpoints.succeeded(name)
    assert stores.endpoints.failed(name) == timedelta(0)


def test_rotated_and_previous_secret_both_sign_until_the_overlap_ends(stores: Stores) -> None:
    name = stores.endpoints.create(endpoint()).id
    other, third = "whsec_" + "REVG" * 11, "whsec_" + "R0hJ" * 11
    turned = stores.endpoints.rotate(name, other, overlap=timedelta(hours=1))
    assert turned is not None
    now = turned.secrets[0].created_at
    assert turned.active_secrets(now) == (other, SECRET)
    assert turned.active_secrets(now + 3601) == (other,)
    again = stores.endpoints.rotate(name, third, overlap=timedelta(0))
    assert again is not None
    assert again.active_secrets(again.secrets[0].created_at) == (third,)
    assert len(again.secrets) == 1


def test_a_missing_endpoint_is_not_changed(stores: Stores, ledger_server: Server) -> None:
    name = new_endpoint_id()
    assert stores.endpoints.enable(name) is None
    assert stores.endpoints.disable(name, DisabledReason.GONE) is None
    assert stores.endpoints.rotate(name, SECRET, overlap=timedelta(0)) is None
    assert stores.endpoints.failed(name) is None
    stores.endpoints.succeeded(name)
    assert not stores.endpoints.delete(name)
    with connect(ledger_server.url) as client:
        assert client.exists(keys.endpoint(name)) == 0


def test_a_deleted_endpoint_leaves_nothing(stores: Stores, ledger_server: Server) -> None:
    name = stores.endpoints.create(endpoint()).id
    assert stores.endpoints.delete(name)
    assert stores.endpoints.all() == []
    with connect(ledger_server.url) as client:
        assert [key for key in _scan(client) if b"endpoint" in key or b"listeners" in key] == []


def test_repair_fixes_missing_and_leftover_entries_after_a_crash(stores: Stores, ledger_server: Server) -> None:
    kept = stores.endpoints.create(endpoint(EventType.JOB_FAILED))
    stranger = new_endpoint_id()
    with connect(ledger_server.url) as client:
        client.delete(keys.listeners(0, EventType.JOB_FAILED))
        client.sadd(keys.listeners(0, EventType.JOB_FAILED), stranger)
        client.sadd(keys.listeners(0, EventType.JOB_EXPIRED), kept.id, stranger)
        stores.endpoints.mend()
        assert client.smembers(keys.listeners(0, EventType.JOB_FAILED)) == {kept.id.encode()}
        assert client.smembers(keys.listeners(0, EventType.JOB_EXPIRED)) == set()


def _scan(client: redis.Redis) -> list[bytes]:
    return cast("list[bytes]", list(client.scan_iter()))
