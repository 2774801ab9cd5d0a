"""Every store of the ledger, opened together over one connection."""

from dataclasses import dataclass
from datetime import timedelta

import redis

from shared.ledger.admission import Pressure
from shared.ledger.batches.store import Batches
from shared.ledger.idempotency import Idempotency
from shared.ledger.jobs.fetches import Fetches
from shared.ledger.jobs.listing import Listing
from shared.ledger.jobs.result_cache import Results
from shared.ledger.jobs.store import RETRY_WINDOW, Ledger
from shared.ledger.layout import Layout
from shared.ledger.measures import Measures
from shared.ledger.sessions.store import Sessions
from shared.ledger.tenant_data import TenantData
from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.audit import Audit
from shared.ledger.tenants.store import Tenants
from shared.ledger.webhooks.deliveries import Deliveries
from shared.ledger.webhooks.endpoints import Endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """All stores, as the gateway needs them. Other processes construct the few that they use."""

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
    tenant_data: TenantData
    pressure: Pressure
    layout: Layout
    measures: Measures


def open_stores(
    client: redis.Redis, *, shards: int, lease: timedelta, retry_window: timedelta = RETRY_WINDOW
) -> Stores:
    """Open every store over this connection. The caller closes the connection."""
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
        tenant_data=TenantData(
            client, jobs=jobs, batches=batches, sessions=sessions, endpoints=endpoints, api_keys=api_keys
        ),
        pressure=pressure,
        layout=Layout(client, shards=shards),
        measures=Measures(client, shards=shards),
    )
