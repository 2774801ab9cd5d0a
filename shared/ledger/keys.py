"""Every key of the ledger, its slot and its lifetime.

All keys of one shard carry the hash tag `{n}`, so that one script may touch them on a cluster.

======================  =======  =============================================  ================================
key                     type     holds                                          lives
======================  =======  =============================================  ================================
vultus:{n}:job:ID       hash     one job (see `records.py`)                     until it ends, then its TTL
vultus:{n}:image:ID     string   the image's bytes                              until the job ends; where it may be
                                                                                retried VULTUS_RETRY_WINDOW more
vultus:{n}:reference:ID string   the reference image's bytes                    as the image's
vultus:{n}:more:ID      list     further images of the same person              as the image's
vultus:{n}:embeddings:ID string  embeddings that came in its parameters         as the image's
vultus:{n}:urls:ID      hash     where its images are to be fetched             until they are; else as the images
vultus:{n}:batch:ID     hash     one batch                                      until it is completed, then its TTL
vultus:{n}:batch_jobs:ID list    the ids of its jobs, in the order of the items as the batch
vultus:{n}:session:ID   hash     one liveness session (`sessions.py`)           until it ends, then its TTL
vultus:{n}:sessions     zset     ids of those that run, by when their time ends an id leaves when it ends
vultus:{n}:idempotency:HASH string who holds a key, or what it led to           24 h, and as long as the job or batch
vultus:{n}:result:HASH:TENANT string a result for repeated images (`results.py`) VULTUS_RESULT_CACHE_TTL
vultus:{n}:queue        zset     ids that wait, by priority, then acceptance    an id leaves when it is claimed
vultus:{n}:queue:TENANT   zset   those of them that are the tenant's            as there
vultus:{n}:queued_tenants  zset     tenants with ids there, by their last start    one leaves when its queue is empty
vultus:{n}:fetch        zset     ids whose images are still to be fetched       an id leaves when they are there
vultus:{n}:leases       zset     ids in work, by the end of their lease         an id leaves when its job ends
vultus:{n}:deadlines    zset     ids that wait, by when they expire             an id leaves when it is claimed
vultus:{n}:index:S:O:TENANT zset ids of status S and operation O, by creation   an id leaves when its record expires
vultus:{n}:expiry       zset     what the index must forget, by when            an entry leaves then
vultus:{n}:outbox       list     ends that somebody is to be told of, as JSON   a row leaves when it is fanned out
vultus:{n}:listeners:T:TENANT set endpoints that ask for events of type T       an id leaves with its endpoint
vultus:{n}:closed:MARK  string   "all", or the time before which what a tenant  while it is disabled; a day after its
                                 or an API key was granted is void              erasure, or revocation
vultus:{n}:ended:T      string   how many jobs ended in 5 seconds               60 s
vultus:{n}:turns        string   how many claims there were, for fairness       -
vultus:{n}:counts       hash     how often what happened, by the words of       -
                                 `measures.py`
vultus:{n}:completions  channel  "ID status" at every end                       -
vultus:{n}:transitions  channel  "ID status" at every transition                -
vultus:{n}:outbox_signal  channel  that something is to be sent                   -
vultus:{n}:cancels      channel  "ID" of jobs taken import hashlib
from a worker               -
vultus:{n}:event:ID     hash     one event (`deliveries.py`)                    while a delivery is pending, then
                                                                                VULTUS_WEBHOOK_FAILED_TTL
vultus:{n}:delivery:ID  hash     one event for one destination                  until it is delivered, then
                                                                                VULTUS_WEBHOOK_LOG_TTL; failed or
                                                                                canceled: VULTUS_WEBHOOK_FAILED_TTL
vultus:{n}:attempts:ID  list     its last 20 attempts, as JSON                  as the delivery
vultus:{n}:log:DEST     zset     ids of a destination's deliveries, by creation 30 days without a new one
vultus:{n}:queue:DEST   zset     ids of those that wait, by when they are due   an id leaves when it is taken
vultus:{n}:flying:DEST  zset     ids of those in hand, by the end of the hold   an id leaves with its outcome
vultus:{n}:destination:DEST hash how many failed in a row, till when it rests   7 days after the last failure
vultus:{n}:due          zset     destinations, by when one may be sent to       one leaves when nothing waits there
vultus:layout           string   how many shards there are                      -
vultus:{webhooks}:endpoint:ID hash one registered endpoint, with its secrets     until it is deleted
vultus:{webhooks}:endpoints:TENANT zset ids of its endpoints, by creation       an id leaves with its endpoint
vultus:{webhooks}:tenants set    tenants that have had an endpoint              until the tenant is erased
vultus:{auth}:tenant:ID hash    one tenant: its name, quotas, policy           until it is erased
vultus:{auth}:tenants  zset     ids of all tenants on record, by creation      an id leaves with its tenant
vultus:{auth}:key:ID   hash     one API key: a digest, its scopes              until it is revoked, or its tenant erased
vultus:{auth}:keys:TENANT zset  ids of a tenant's keys, by creation            an id leaves with its key
vultus:{auth}:audit:TENANT stream who did what in a tenant (`audit.py`)         VULTUS_AUDIT_TTL after the last entry
vultus:{workers}:*      hash     who is at work (see `presence.py`)             a silent worker drops out
======================  =======  =============================================  ================================

A job that has not ended has no TTL: an accepted job is never dropped by a clock.
"""

import hashlib
from typing import Final

from shared.tenants import DEFAULT

ROOT: Final = "vultus"
WORKERS_SEEN: Final = f"{ROOT}:{{workers}}:seen"
WORKERS_INFO: Final = f"{ROOT}:{{workers}}:info"
TENANTS: Final = f"{ROOT}:{{auth}}:tenants"
ENDPOINT_TENANTS: Final = f"{ROOT}:{{webhooks}}:tenants"


LAYOUT: Final = f"{ROOT}:layout"
"""How many shards the ledger was set up with."""


def prefix(shard: int) -> str:
    """What every key of a shard begins with; scripts append `job:ID` and the like."""
    return f"{ROOT}:{{{shard}}}:"


def job(shard: int, job_id: str) -> str:
    """The job's record."""
    return f"{prefix(shard)}job:{job_id}"


def image(shard: int, job_id: str) -> str:
    """The image's bytes."""
    return f"{prefix(shard)}image:{job_id}"


def reference(shard: int, job_id: str) -> str:
    """The reference image's bytes."""
    return f"{prefix(shard)}reference:{job_id}"


def extra_images(shard: int, job_id: str) -> str:
    """The bytes of further images."""
    return f"{prefix(shard)}extra_images:{job_id}"


def embeddings(shard: int, job_id: str) -> str:
    """The embeddings that came in the job's parameters, as JSON."""
    return f"{prefix(shard)}embeddings:{job_id}"


def urls(shard: int, job_id: str) -> str:
    """Where the job's images are to be fetched."""
    return f"{prefix(shard)}urls:{job_id}"


def result(shard: int, digest: str) -> str:
    """A result kept for repeated images."""
    return f"{prefix(shard)}result:{digest}"


def batch(shard: int, batch_id: str) -> str:
    """The batch's record."""
    return f"{prefix(shard)}batch:{batch_id}"


def batch_jobs(shard: int, batch_id: str) -> str:
    """The ids of the batch's jobs."""
    return f"{prefix(shard)}batch_jobs:{batch_id}"


def session(shard: int, session_id: str) -> str:
    """The record of a liveness session."""
    return f"{prefix(shard)}session:{session_id}"


def idempotency(shard: int, digest: str) -> str:
    """What an idempotency key stands for."""
    return f"{prefix(shard)}idempotency:{digest}"


def queue(shard: int) -> str:
    """The queue of jobs that wait for a worker."""
    return f"{prefix(shard)}queue"


def queued_tenants(shard: int) -> str:
    """The tenants that have queued jobs."""
    return f"{prefix(shard)}queued_tenants"


def fetch(shard: int) -> str:
    """The queue of jobs that wait for their images."""
    return f"{prefix(shard)}fetch"


def leases(shard: int) -> str:
    """The jobs in work."""
    return f"{prefix(shard)}leases"


def outbox(shard: int) -> str:
    """The ends that somebody is to be told of."""
    return f"{prefix(shard)}outbox"


def listeners(shard: int, event_type: str, tenant: str = DEFAULT) -> str:
    """The tenant's endpoints that ask for events of this type."""
    return f"{prefix(shard)}listeners:{event_type}:{tenant}"


def event(shard: int, event_id: str) -> str:
    """The event's record."""
    return f"{prefix(shard)}event:{event_id}"


def delivery(shard: int, delivery_id: str) -> str:
    """The delivery's record."""
    return f"{prefix(shard)}delivery:{delivery_id}"


def attempts(shard: int, delivery_id: str) -> str:
    """The delivery's last attempts."""
    return f"{prefix(shard)}attempts:{delivery_id}"


def delivery_log(shard: int, destination: str) -> str:
    """The ids of the destination's deliveries."""
    return f"{prefix(shard)}log:{destination}"


def due(shard: int) -> str:
    """The destinations that something waits for."""
    return f"{prefix(shard)}due"


def fences(shards: int, kind: str, name: str) -> list[str]:
    """Where a tenant or an API key is shut out: on every shard, and beside the webhook endpoints."""
    mark = fence_mark(kind, name)
    return [f"{slot}closed:{mark}" for slot in [*map(prefix, range(shards)), f"{ROOT}:{{webhooks}}:"]]


def fence_mark(kind: str, name: str) -> str:
    """A digest in place of the name: a fence outlives the erasure of its tenant, of which no trace may stay."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:24]


def webhook_fence(tenant: str) -> str:
    """The fence of a tenant beside the webhook endpoints."""
    return fences(0, "tenant", tenant)[0]


def endpoint(endpoint_id: str) -> str:
    """The endpoint's record; all of them lie together, on no shard of jobs."""
    return f"{ROOT}:{{webhooks}}:endpoint:{endpoint_id}"


def endpoints(tenant: str) -> str:
    """The ids of the tenant's endpoints."""
    return f"{ROOT}:{{webhooks}}:endpoints:{tenant}"


def tenant(tenant_id: str) -> str:
    """The tenant's record; tenants and keys lie together, on no shard of jobs."""
    return f"{ROOT}:{{auth}}:tenant:{tenant_id}"


def api_key(key_id: str) -> str:
    """The key's record."""
    return f"{ROOT}:{{auth}}:key:{key_id}"


def api_keys(tenant_id: str) -> str:
    """The ids of the tenant's keys."""
    return f"{ROOT}:{{auth}}:keys:{tenant_id}"


def audit(tenant_id: str) -> str:
    """The tenant's audit log."""
    return f"{ROOT}:{{auth}}:audit:{tenant_id}"


def completions(shard: int) -> str:
    """The channel of ends, of jobs and of batches."""
    return f"{prefix(shard)}completions"


def transitions(shard: int) -> str:
    """The channel of all transitions."""
    return f"{prefix(shard)}transitions"


def outbox_signal(shard: int) -> str:
    """The channel of what is to be sent."""
    return f"{prefix(shard)}outbox_signal"


def cancels(shard: int) -> str:
    """The channel of jobs that were taken from their worker."""
    return f"{prefix(shard)}cancels"
