"""Tenants: whose a record is, and what a caller may do with what is its tenant's."""

import re
from enum import StrEnum
from typing import Final

DEFAULT: Final = "default"
"""Whose everything is where nobody authenticates, and what was on record before there were tenants."""

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Scope(StrEnum):
    """What a caller may do, always for its own tenant alone; `admin` may also keep tenants and keys."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    WEBHOOKS_ADMIN = "webhooks:admin"
    ADMIN = "admin"


def is_tenant_id(text: str) -> bool:
    """True if `text` has the form of a tenant's id; says nothing about whether there is such a tenant."""
    return _TENANT.fullmatch(text) is not None
