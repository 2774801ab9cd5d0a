"""Who calls: the tenant, the key and the scopes that stand behind a request."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.errors import ErrorCode, RequestError
from shared.tenants import DEFAULT, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. Whatever is read or changed for a caller is its tenant's; what is another's is not there."""

    tenant: str
    scopes: frozenset[Scope]
    key: str | None = None
    """The public part of the key that was shown; None where nobody authenticates."""

    def require(self, scopes: Iterable[str]) -> None:
        """Return where the caller has all of these scopes.

        Raises:
            RequestError: `forbidden`.
        """
        missing = sorted(set(scopes) - self.scopes)
        if missing:
            raise RequestError(ErrorCode.FORBIDDEN, f"This call needs the scope {missing[0]}, which the caller lacks.")


ANYONE: Final = Caller(tenant=DEFAULT, scopes=frozenset(Scope))
"""Who calls where authentication is off: everybody, as the one tenant, with every scope."""
