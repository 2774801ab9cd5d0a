"""How each call treats tenants: the table that the isolation matrix walks. A call without an entry fails it."""

from typing import Any, Final

OF_A_TENANT: Final = frozenset({"job_id", "batch_id", "endpoint_id", "delivery_id", "session_id"})
"""Path parameters that name something that belongs to a tenant; for another tenant it does not exist."""
BODIES: Final[dict[str, dict[str, Any]]] = {
    "PATCH /v1/webhook-endpoints/{endpoint_id}": {"description": "taken over"},
    "POST /v1/webhook-endpoints/{endpoint_id}/resend": {"since": "2020-01-01T00:00:00Z"},
}
"""What calls with such a parameter also need in order to reach the lookup."""
LISTS: Final = frozenset({"GET /v1/jobs", "GET /v1/webhook-endpoints", "GET /v1/audit"})
"""They show what belongs to the caller, and nothing else."""
MAKES: Final = frozenset(
    {"POST /v1/jobs", "POST /v1/batches", "POST /v1/webhook-endpoints", "POST /v1/liveness-sessions"}
)
"""What they create belongs to the caller."""
ANSWERS: Final = frozenset(
    {"POST /detect", "POST /extract-embedding", "POST /compare", "POST /verify", "POST /liveness", "POST /register"}
)
"""They answer from the submitted data; the job behind the call belongs to the caller."""
SECRETS: Final = "GET /v1/webhook-secrets"
"""Each tenant gets its own."""
FRAMES: Final = "POST /v1/liveness-sessions/{session_id}/frames"
"""Called by a client with a token of its session, which opens that session and nothing else of its tenant."""
PUBLIC: Final = frozenset({"GET /", "GET /health", "GET /livez", "GET /readyz", FRAMES})
"""They require no key."""


def is_admin(name: str) -> bool:
    """True for calls that manage tenants and keys: they require the scope `admin`."""
    return " /v1/admin/" in name


def names_what_is_held(name: str) -> bool:
    """True for calls whose path names something that belongs to a tenant."""
    parts = {part.strip("{}") for part in name.split("/") if part.startswith("{")}
    return not is_admin(name) and name not in PUBLIC and bool(parts) and parts <= OF_A_TENANT


def is_known(name: str) -> bool:
    """True if the table says how this call treats tenants."""
    return is_admin(name) or names_what_is_held(name) or name in LISTS | MAKES | ANSWERS | PUBLIC | {SECRETS}
