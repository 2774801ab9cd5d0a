"""Dependencies of the routes.

They are coroutines even where they await nothing: FastAPI runs any other function in a thread, a switch per dependency.
"""

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


async def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


async def _drain(request: Request) -> Drain:
    return cast("Drain", request.app.state.drain)


async def _authenticator(request: Request) -> Authenticator:
    return cast("Authenticator", request.app.state.authenticator)


async def _settings(request: Request) -> ApiSettings:
    return cast("ApiSettings", request.app.state.settings)


async def _if_match(request: Request) -> frozenset[int] | None:
    return read_if_match(request.headers.getlist("if-match"))


async def _job_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise no_such_job()
    return job_id


class _Credentials(SecurityBase):
    """Authenticates the caller of a request and checks the scopes that its route requires."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An API key (`vk_...`), or a token from the configured issuer.")
        self.scheme_name = "bearer"

    async def __call__(self, request: Request, required: SecurityScopes) -> Caller:
        """Return the caller, and store the rate-limit headers for the response.

        Raises:
            RequestError: `unauthenticated` or `forbidden`.
            UnavailableError: `rate_limited`, `store_unavailable`, or `auth_unavailable`.
        """
        try:
            authenticator = await _authenticator(request)
            caller, decision = await authenticator.admit(request.headers)
        except RateLimitedError as error:
            request.state.more_headers = error.decision.headers
            raise
        if decision is not None:
            request.state.more_headers = decision.headers
            structlog.contextvars.bind_contextvars(tenant=caller.tenant, key=caller.key)
        request.state.caller = caller
        caller.require(required.scopes)
        return caller


CLIENT_TOKEN: Final = "session-token"  # noqa: S105 - the name of a header
"""Header that carries a client token."""
_CREDENTIALS: Final = _Credentials()


async def _reader_or_client(request: Request, required: SecurityScopes) -> Caller | None:
    """Return the caller, or None if the request has a client token, which the route checks."""
    return None if CLIENT_TOKEN in request.headers else await _CREDENTIALS(request, required)


BackendDep = Annotated[Backend, Depends(_backend)]
DrainDep = Annotated[Drain, Depends(_drain)]
GateDep = Annotated[Authenticator, Depends(_authenticator)]
SettingsDep = Annotated[ApiSettings, Depends(_settings)]
IfMatchDep = Annotated[frozenset[int] | None, Depends(_if_match)]
"""The versions that the `If-Match` header allows; None for any."""
JobIdDep = Annotated[str, Depends(_job_id)]
"""The `job_id` of the path. An invalid one gets `job_not_found`."""

JobsWriter = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.JOBS_WRITE])]
JobsReader = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.JOBS_READ])]
WebhooksAdmin = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.WEBHOOKS_ADMIN])]
Admin = Annotated[Caller, Security(_CREDENTIALS, scopes=[Scope.ADMIN])]
"""The caller, with the scope that the route requires. Every route uses one of these or is marked `PUBLIC`."""

ReaderOrClient = Annotated[Caller | None, Security(_reader_or_client, scopes=[Scope.JOBS_READ])]
"""A caller who may read jobs, or None for a client with a client token."""

PUBLIC: Final[dict[str, Any]] = {"security": []}
"""The `openapi_extra` of a route that anyone may call. It must not read or change any tenant's data."""
