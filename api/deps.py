"""What routes ask for by type."""

from typing import Annotated, Any, Final, cast

import structlog
from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from api.auth.authenticator import Authenticator, Caller, RateLimitedError
from api.backend.backend import Backend
from api.http.draining import Drain
from api.http.headers import read_if_match
from api.settings.api import ApiSettings
from shared.jobs import is_job_id
from shared.ledger.jobs.store import no_such_job
from shared.tenants import Scope


def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


def _drain(request: Request) -> Drain:
    return cast("Drain", request.app.state.drain)


def _gate(request: Request) -> Authenticator:
    return cast("Authenticator", request.app.state.authenticator)


def _settings(request: Request) -> ApiSettings:
    return cast("ApiSettings", request.app.state.settings)


def _if_match(request: Request) -> frozenset[int] | None:
    return read_if_match(request.headers.getlist("if-match"))


def _job_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise no_such_job()
    return job_id


class _Credentials(SecurityBase):
    """Gives the caller of a request, who has the scopes that its route needs."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An API key (`vk_...`), or a token from the configured issuer.")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request, needed: SecurityScopes) -> Caller:
        """The caller; what it may still ask is noted for the headers of the answer.

        Raises:
            RequestError: `unauthenticated` or `forbidden`.
            UnavailableError: `rate_limited`, `store_unavailable` or `auth_unavailable`.
        """
        try:
            caller, taken = await _gate(request).admit(request.headers)
        except RateLimitedError as error:
            request.state.more_headers = error.taken.headers
            raise
        if taken is not None:
            request.state.more_headers = taken.headers
            structlog.contextvars.bind_contextvars(tenant=caller.tenant, key=caller.key)
        request.state.caller = caller
        caller.require(needed.scopes)
        return caller


CLIENT_TOKEN: Final = "session-token"  # noqa: S105 - where one is sent, not one
"""The header of a client token."""
_CREDENTIALS: Final = _Credentials()


async def _reader_or_client(request: Request, needed: SecurityScopes) -> Caller | None:
    """The caller; None where a client token is shown instead, which the route checks."""
    return None if CLIENT_TOKEN in request.headers else await _CREDENTIALS(request, needed)


BackendDep = Annotated[Backend, Depends(_backend)]
DrainDep = Annotated[Drain, Depends(_drain)]
GateDep = Annotated[Authenticator, Depends(_gate)]
SettingsDep = Annotated[ApiSettings, Depends(_settings)]
IfMatchDep = Annotated[frozenset[int] | None, Depends(_if_match)]
"""The versions that the `If-Match` header allows; None for any."""
JobIdDep = Annotated[str, Depends(_job_id)]
"""The `job_id` of the path; what cannot be one is answered `job_not_found`."""

JobsWriter = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.JOBS_WRITE])]
JobsReader = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.JOBS_READ])]
WebhooksAdmin = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.WEBHOOKS_ADMIN])]
Admin = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.ADMIN])]
"""The caller, by what the route needs. Every route names one of them or says that it is `PUBLIC`."""

ReaderOrClient = Annotated[Caller | None, Security(_reader_or_client, scopes=[Scope.JOBS_READ])]
"""A caller who may read jobs, or None for a client with a token."""

PUBLIC: Final[dict[str, Any]] = {"security": []}
"""The `openapi_extra` of a route that anybody may call: it reads and changes nothing of any tenant."""
