"""What each call does with tenants: the table that the matrix of isolation walks. A call without an entry fails it."""

from typing import Any, Final

OF_A_TENANT: Final = frozenset({"job_id", "batch_id", "endpoint_id", "delivery_id", "session_id"})
"""Parameters of paths that name what belongs to a tenant: for another tenant it is not there."""
BODIES: Final[dict[str, dict[str, Any]]] = {
    "PATCH /v1/webhook-endpoints/{endpoint_id}": {"description": "taken over"},
    "POST /v1/webhook-endpoints/{endpoint_id}/resend": {"since": "2020-01-01T00:00:00Z"},
}
"""What calls that name such a thing need beside, to get as far as looking for it."""
LISTS: Final = frozenset({"GET /v1/jobs", "GET /v1/webhook-endpoints", "GET /v1/audit"})
"""They show what is the caller's, and nothing else."""
MAKES: Final = frozenset(
    {"POST /v1/jobs", "POST /v1/batches", "POST /v1/webhook-endpoints", "POST /v1/liveness-sessions"}
)
"""What they make is the caller's."""
ANSWERS: Final = frozenset(
    {"POST /detect", "POST /extract-embedding", "POST /compare", "POST /verify", "POST /liveness", "POST /register"}
)
"""They answer the caller from what it sent; the job behind the call is the caller's."""
SECRETS: Final = "GET /v1/webhook-secrets"
"""Each tenant is told its own."""
FRAMES: Final = "POST /v1/liveness-sessions/{session_id}/frames"
"""Called by a client with a token of its session, which opens that session and nothing else of its tenant."""
PUBLIC: Final = frozenset({"GET /", "GET /health", "GET /livez", "GET /readyz", FRAMES})
"""They ask for no key."""


def is_admin(name: str) -> bool:
    """True for calls that keep tenants and keys: nobody makes them without the scope `admin`."""
    return " /v1/admin/" in name


def names_what_is_held(name: str) -> bool:
    """True for calls whose path names something that belongs to a tenant."""
    parts = {part.strip("{}") for part in name.split("/") if part.startswith("{")}
    return not is_admin(name) and name not in PUBLIC and bool(parts) and parts <= OF_A_TENANT


def is_known(name: str) -> bool:
    """True if the table says what this call does with tenants."""
    return is_admin(name) or names_what_is_held(name) or name in LISTS | MAKES | ANSWERS | PUBLIC | {SECRETS}
