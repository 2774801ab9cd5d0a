"""Every store of the ledger, opened together over one connection."""

from dataclasses import dataclass
from datetime import timedelta

import redis

from shared.storage.admission import Pressure
from shared.storage.api_keys import ApiKeys
from shared.storage.audit import Audit
from shared.storage.batches import Batches
from shared.storage.belongings import Belongings
from shared.storage.deliveries import Deliveries
from shared.storage.endpoints import Endpoints
from shared.storage.fetches import Fetches
from shared.storage.idempotency import Idempotency
from shared.storage.layout import Layout
from shared.storage.ledger import RETRY_WINDOW, Ledger
from shared.storage.listing import Listing
from shared.storage.measures import Measures
from shared.storage.results import Results
from shared.storage.sessions import Sessions
from shared.storage.tenants import Tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores that a gateway needs: all of them. Other processes construct the few that they use."""

    jobs: Ledger
    listing: Listing
    batches: Batches
    sessions: Sessions
    fetches: Fetches
    results: Results
    idempotency: Idempotency
    endpoints: Endpoints
    deliveries: Deliveries
    tenants: Tenants
    api_keys: ApiKeys
    audit: Audit
    tenant_data: Belongings
    pressure: Pressure
    layout: Layout
    measures: Measures


def open_stores(
    client: redis.Redis, *, shards: int, lease: timedelta, retry_window: timedelta = RETRY_WINDOW
) -> Stores:
    """Open every store over this connection, which stays the caller's to close."""
    pressure = Pressure(client)
    jobs = Ledger(client, shards=shards, lease=lease, retry_window=retry_window, pressure=pressure)
    batches = Batches(client, shards=shards)
    sessions = Sessions(client, shards=shards)
    endpoints = Endpoints(client, shards=shards)
    api_keys = ApiKeys(client, shards=shards)
    return Stores(
        jobs=jobs,
        listing=Listing(client, shards=shards),
        batches=batches,
        sessions=sessions,
        fetches=Fetches(client, shards=shards, retry_window=retry_window),
        results=Results(client, shards=shards),
        idempotency=Idempotency(client, shards=shards),
        endpoints=endpoints,
        deliveries=Deliveries(client, shards=shards),
        tenants=Tenants(client, shards=shards),
        api_keys=api_keys,
        audit=Audit(client),
        tenant_data=Belongings(
            client, jobs=jobs, batches=batches, sessions=sessions, endpoints=endpoints, api_keys=api_keys
        ),
        pressure=pressure,
        layout=Layout(client, shards=shards),
        measures=Measures(client, shards=shards),
    )
