"""All keys of the ledger, with their type, content and lifetime.

All keys of one shard have the hash tag `{n}`, so that one script may access them in a cluster.

==================================  =======  =========================================  ==============================
key                                 type     content                                    lifetime
==================================  =======  =========================================  ==============================
vultus:{n}:job:ID                   hash     job (see `records.py`)                     until completion, then its TTL
vultus:{n}:image:ID                 string   image                                      until completion; for a retry
                                                                                        VULTUS_RETRY_WINDOW more
vultus:{n}:reference:ID             string   reference image                            as the image
vultus:{n}:extra_images:ID          list     further images of the same person          as the image
vultus:{n}:embeddings:ID            string   embeddings from the job's parameters       as the image
vultus:{n}:urls:ID                  hash     URLs of images to fetch                    until fetched, or as the image
vultus:{n}:batch:ID                 hash     batch                                      until completion, then its TTL
vultus:{n}:batch_jobs:ID            list     ids of its jobs, in the order of items     as the batch
vultus:{n}:session:ID               hash     liveness session (see `sessions/`)         until completion, then its TTL
vultus:{n}:sessions                 zset     running sessions by timeout                removed on completion
vultus:{n}:idempotency:HASH         string   holder of a key, or what the key led to    24 h, at least as the job or
                                                                                        batch
vultus:{n}:result:HASH:TENANT       string   cached result (see `result_cache.py`)      VULTUS_RESULT_CACHE_TTL
vultus:{n}:queue                    zset     queued jobs by priority, then acceptance   removed when claimed
vultus:{n}:queue:TENANT             zset     queued jobs of one tenant                  as the queue
vultus:{n}:queued_tenants           zset     tenants with queued jobs by last claim     removed when their queue is
                                                                                        empty
vultus:{n}:fetch                    zset     jobs whose images must be fetched          removed when they are there
vultus:{n}:leases                   zset     running jobs by end of lease               removed on completion
vultus:{n}:deadlines                zset     waiting jobs by deadline                   removed when claimed
vultus:{n}:index:S:O:TENANT         zset     jobs of status S and operation O, by       removed when the record
                                                creation                                   expires
vultus:{n}:expiry                   zset     index entries by expiry                    removed with the index entry
vultus:{n}:outbox                   list     events that no courier has taken, as JSON  removed when fanned out
vultus:{n}:listeners:T:TENANT       set      endpoints subscribed to event type T       removed with the endpoint
vultus:{n}:closed:MARK              string   fence of a tenant or API key: "all", or    while the tenant is disabled;
                                                the time before which grants are void      a day after erasure or
                                                                                        revocation
vultus:{n}:ended:T                  string   number of jobs completed in 5 seconds      60 s
vultus:{n}:turns                    string   number of claims, for fairness             unlimited
vultus:{n}:counts                   hash     event counters (see `measures.py`)         unlimited
vultus:{n}:completions              channel  "ID status" on every completion            -
vultus:{n}:transitions              channel  "ID status" on every transition            -
vultus:{n}:outbox_signal            channel  something is ready to be sent              -
vultus:{n}:cancels                  channel  ids of jobs taken from a worker            -
vultus:{n}:event:ID                 hash     event (see `deliveries.py`)                while a delivery is pending,
                                                                                        then VULTUS_WEBHOOK_FAILED_TTL
vultus:{n}:delivery:ID              hash     delivery of an event to a destination      until delivered, then
                                                                                        VULTUS_WEBHOOK_LOG_TTL; failed
                                                                                        or canceled:
                                                                                        VULTUS_WEBHOOK_FAILED_TTL
vultus:{n}:attempts:ID              list     its last 20 attempts, as JSON              as the delivery
vultus:{n}:log:DEST                 zset     deliveries of a destination by creation    30 days after the last entry
vultus:{n}:queue:DEST               zset     waiting deliveries by due time             removed when taken
vultus:{n}:flying:DEST              zset     leased deliveries by end of lease          removed with the outcome
vultus:{n}:destination:DEST         hash     consecutive failures, and end of a pause   7 days after the last failure
vultus:{n}:due                      zset     destinations by due time                   removed when nothing waits
vultus:layout                       string   number of shards                           unlimited
vultus:{webhooks}:endpoint:ID       hash     endpoint, with its secrets                 until it is deleted
vultus:{webhooks}:endpoints:TENANT  zset     endpoints of a tenant by creation          removed with the endpoint
vultus:{webhooks}:tenants           set      tenants that have had an endpoint          until the tenant is erased
vultus:{webhooks}:closed:MARK       string   fence of a tenant, as on the shards        as there
vultus:{auth}:tenant:ID             hash     tenant: name, quotas, policy               until it is erased
vultus:{auth}:tenants               zset     all tenants by creation                    removed with the tenant
vultus:{auth}:key:ID                hash     API key: digest and scopes                 until revoked or the tenant is
                                                                                        erased
vultus:{auth}:keys:TENANT           zset     API keys of a tenant by creation           removed with the key
vultus:{auth}:audit:TENANT          stream   audit log of a tenant (see `audit.py`)     VULTUS_AUDIT_TTL after the
                                                                                        last entry
vultus:{workers}:*                  hash     live workers (see `presence.py`)           a silent worker is removed
==================================  =======  =========================================  ==============================

An unfinished job has no TTL: an accepted job is never dropped by a timeout of the store.
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
"""The number of shards that the ledger was set up with."""


def prefix(shard: int) -> str:
    """Return the prefix of every key of a shard. Scripts append `job:ID` and so on."""
    return f"{ROOT}:{{{shard}}}:"


def job(shard: int, job_id: str) -> str:
    """Key of the job's record."""
    return f"{prefix(shard)}job:{job_id}"


def image(shard: int, job_id: str) -> str:
    """Key of the image."""
    return f"{prefix(shard)}image:{job_id}"


def reference(shard: int, job_id: str) -> str:
    """Key of the reference image."""
    return f"{prefix(shard)}reference:{job_id}"


def extra_images(shard: int, job_id: str) -> str:
    """Key of the further images."""
    return f"{prefix(shard)}extra_images:{job_id}"


def embeddings(shard: int, job_id: str) -> str:
    """Key of the embeddings from the job's parameters, as JSON."""
    return f"{prefix(shard)}embeddings:{job_id}"


def urls(shard: int, job_id: str) -> str:
    """Key of the URLs that the job's images are fetched from."""
    return f"{prefix(shard)}urls:{job_id}"


def result(shard: int, digest: str) -> str:
    """Key of a cached result."""
    return f"{prefix(shard)}result:{digest}"


def batch(shard: int, batch_id: str) -> str:
    """Key of the batch's record."""
    return f"{prefix(shard)}batch:{batch_id}"


def batch_jobs(shard: int, batch_id: str) -> str:
    """Key of the ids of the batch's jobs."""
    return f"{prefix(shard)}batch_jobs:{batch_id}"


def session(shard: int, session_id: str) -> str:
    """Key of the liveness session's record."""
    return f"{prefix(shard)}session:{session_id}"


def idempotency(shard: int, digest: str) -> str:
    """Key of what an idempotency key led to."""
    return f"{prefix(shard)}idempotency:{digest}"


def queue(shard: int) -> str:
    """Key of the queue of jobs that wait for a worker."""
    return f"{prefix(shard)}queue"


def queued_tenants(shard: int) -> str:
    """Key of the tenants that have queued jobs."""
    return f"{prefix(shard)}queued_tenants"


def fetch(shard: int) -> str:
    """Key of the queue of jobs that wait for their images."""
    return f"{prefix(shard)}fetch"


def leases(shard: int) -> str:
    """Key of the running jobs."""
    return f"{prefix(shard)}leases"


def outbox(shard: int) -> str:
    """Key of the events that no courier has taken yet."""
    return f"{prefix(shard)}outbox"


def listeners(shard: int, event_type: str, tenant: str = DEFAULT) -> str:
    """Key of the tenant's endpoints that are subscribed to events of this type."""
    return f"{prefix(shard)}listeners:{event_type}:{tenant}"


def event(shard: int, event_id: str) -> str:
    """Key of the event's record."""
    return f"{prefix(shard)}event:{event_id}"


def delivery(shard: int, delivery_id: str) -> str:
    """Key of the delivery's record."""
    return f"{prefix(shard)}delivery:{delivery_id}"


def attempts(shard: int, delivery_id: str) -> str:
    """Key of the delivery's last attempts."""
    return f"{prefix(shard)}attempts:{delivery_id}"


def delivery_log(shard: int, destination: str) -> str:
    """Key of the ids of the destination's deliveries."""
    return f"{prefix(shard)}log:{destination}"


def due(shard: int) -> str:
    """Key of the destinations that have waiting deliveries."""
    return f"{prefix(shard)}due"


def fences(shards: int, kind: str, name: str) -> list[str]:
    """Return the keys of a tenant's or API key's fences: one per shard, and one for webhook endpoints."""
    mark = fence_mark(kind, name)
    return [f"{slot}closed:{mark}" for slot in [*map(prefix, range(shards)), f"{ROOT}:{{webhooks}}:"]]


def fence_mark(kind: str, name: str) -> str:
    """Return a digest of the name. A fence outlives its erased tenant, whose name must not be stored."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:24]


def webhook_fence(tenant: str) -> str:
    """Key of the tenant's fence for webhook endpoints."""
    return fences(0, "tenant", tenant)[0]


def endpoint(endpoint_id: str) -> str:
    """Key of the endpoint's record. All endpoints share one slot, outside the shards."""
    return f"{ROOT}:{{webhooks}}:endpoint:{endpoint_id}"


def endpoints(tenant: str) -> str:
    """Key of the ids of the tenant's endpoints."""
    return f"{ROOT}:{{webhooks}}:endpoints:{tenant}"


def tenant(tenant_id: str) -> str:
    """Key of the tenant's record. Tenants and API keys share one slot, outside the shards."""
    return f"{ROOT}:{{auth}}:tenant:{tenant_id}"


def api_key(key_id: str) -> str:
    """Key of the API key's record."""
    return f"{ROOT}:{{auth}}:key:{key_id}"


def api_keys(tenant_id: str) -> str:
    """Key of the ids of the tenant's API keys."""
    return f"{ROOT}:{{auth}}:keys:{tenant_id}"


def audit(tenant_id: str) -> str:
    """Key of the tenant's audit log."""
    return f"{ROOT}:{{auth}}:audit:{tenant_id}"


def completions(shard: int) -> str:
    """Channel of completions."""
    return f"{prefix(shard)}completions"


def transitions(shard: int) -> str:
    """Channel of all transitions."""
    return f"{prefix(shard)}transitions"


def outbox_signal(shard: int) -> str:
    """Channel that signals events and deliveries to send."""
    return f"{prefix(shard)}outbox_signal"


def cancels(shard: int) -> str:
    """Channel of jobs that were taken from their worker."""
    return f"{prefix(shard)}cancels"
