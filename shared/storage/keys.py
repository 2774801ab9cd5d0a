"""Every key of the ledger, its slot and its lifetime.

All keys of one shard carry the hash tag `{n}`, so that one script may touch them on a cluster.

=====================  =======  ==============================================  =============================
key                    type     holds                                           lives
=====================  =======  ==============================================  =============================
vultus:{n}:job:ID      hash     one job (see `scripts/accept.lua`)              until it ends, then its TTL
vultus:{n}:image:ID    string   the image's bytes                               until the job ends
vultus:{n}:reference:ID string  the reference image's bytes                     until the job ends
vultus:{n}:result:HASH  string   a result for repeated images (see `results.py`) VULTUS_RESULT_CACHE_TTL
vultus:{n}:pending     zset     ids that wait, by time of acceptance            an id leaves when it is claimed
vultus:{n}:leases      zset     ids in work, by the end of their lease          an id leaves when its job ends
vultus:{n}:events      channel  "ID status" at every transition                 -
vultus:{workers}:*     hash     who is at work (see `presence.py`)              a silent worker drops out
=====================  =======  ==============================================  =============================

A job that has not ended has no TTL: an accepted job is never dropped by a clock.
"""

from typing import Final

ROOT: Final = "vultus"
WORKERS_SEEN: Final = f"{ROOT}:{{workers}}:seen"
WORKERS_INFO: Final = f"{ROOT}:{{workers}}:info"


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


def result(shard: int, digest: str) -> str:
    """A result kept for repeated images."""
    return f"{prefix(shard)}result:{digest}"


def pending(shard: int) -> str:
    """The line of jobs that wait."""
    return f"{prefix(shard)}pending"


def leases(shard: int) -> str:
    """The jobs in work."""
    return f"{prefix(shard)}leases"


def events(shard: int) -> str:
    """The channel of transitions."""
    return f"{prefix(shard)}events"
