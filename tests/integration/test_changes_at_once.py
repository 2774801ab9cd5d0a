"""Concurrent changes of one record: none is lost, a stale one is refused, and a deletion wins."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from shared.errors import ErrorCode, RequestError
from shared.ledger import keys
from shared.ledger.connection import connect
from shared.ledger.stores import Stores
from shared.ledger.webhooks.endpoints import MAX_SECRETS
from shared.tenants import Quotas, Tenant
from shared.webhooks.schemas import SUBSCRIBABLE, EventType
from tests.integration.servers import Server
from tests.integration.test_webhook_endpoints_kept import endpoint

ROUNDS = 20


def test_changes_of_different_fields_are_all_kept(stores: Stores) -> None:
    stores.tenants.create(Tenant("acme"))
    for number in range(ROUNDS):
        stores.tenants.change("acme", {"disabled": False})
        together = Barrier(2)

        def change(field: str, value: object, barrier: Barrier = together) -> None:
            barrier.wait()
            stores.tenants.change("acme", {field: value})

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(change, ("disabled", "quotas"), (True, Quotas(jobs=number))))
        tenant = stores.tenants.read("acme")
        assert tenant is not None
        assert (tenant.disabled, tenant.quotas) == (True, Quotas(jobs=number))


def test_the_second_of_two_changes_of_one_version_is_refused(stores: Stores) -> None:
    created = stores.endpoints.create(endpoint())
    changed = stores.endpoints.change(created.id, {"description": "a"}, versions={created.version})
    assert changed is not None
    with pytest.raises(RequestError) as refused:
        stores.endpoints.change(created.id, {"description": "b"}, versions={created.version})
    assert refused.value.code is ErrorCode.PRECONDITION_FAILED
    with pytest.raises(RequestError):
        stores.endpoints.delete(created.id, versions={created.version})
    kept = stores.endpoints.read(created.id)
    assert kept is not None
    assert (kept.description, kept.version) == ("a", changed.version)
    assert stores.endpoints.delete(created.id, versions={changed.version})


def listeners(server: Server) -> set[bytes]:
    with connect(server.url) as client:
        return {name for event_type in SUBSCRIBABLE for name in client.smembers(keys.listeners(0, event_type))}


def test_an_endpoint_deleted_during_a_change_stops_listening(stores: Stores, ledger_server: Server) -> None:
    for _ in range(ROUNDS):
        name = stores.endpoints.create(endpoint(EventType.JOB_FAILED)).id
        together = Barrier(3)

        def change(events: tuple[EventType, ...], name: str = name, barrier: Barrier = together) -> None:
            barrier.wait()
            if events:
                stores.endpoints.change(name, {"events": events})
            else:
                stores.endpoints.delete(name)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(change, ((EventType.JOB_SUCCEEDED,), (), SUBSCRIBABLE)))
        assert stores.endpoints.read(name) is None
        assert listeners(ledger_server) == set()


def test_the_sets_of_listeners_follow_the_last_change(stores: Stores, ledger_server: Server) -> None:
    name = stores.endpoints.create(endpoint()).id
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(
                    lambda on: stores.endpoints.change(name, {"events": on}), (SUBSCRIBABLE, (EventType.JOB_FAILED,))
                )
            )
        kept = stores.endpoints.read(name)
        assert kept is not None
        with connect(ledger_server.url) as client:
            listening = {each for each in SUBSCRIBABLE if client.sismember(keys.listeners(0, each), name)}
        assert listening == set(kept.events)


def test_an_endpoint_signs_with_a_limited_number_of_secrets(stores: Stores) -> None:
    name = stores.endpoints.create(endpoint()).id
    for number in range(3 * MAX_SECRETS):
        rotated = stores.endpoints.rotate(name, f"whsec_{number}", overlap=timedelta(days=7))
    assert rotated is not None
    assert [secret.value for secret in rotated.secrets] == [
        f"whsec_{number}" for number in range(3 * MAX_SECRETS - 1, 2 * MAX_SECRETS - 1, -1)
    ]
