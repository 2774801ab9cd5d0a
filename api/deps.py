"""What routes ask for by type."""

from typing import Annotated, cast

from fastapi import Depends, Request

from api.backend import Backend
from api.draining import Drain
from api.settings import ApiSettings
from shared.jobs import is_job_id
from shared.storage.ledger import no_such_job


def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


def _drain(request: Request) -> Drain:
    return cast("Drain", request.app.state.drain)


def _settings(request: Request) -> ApiSettings:
    return cast("ApiSettings", request.app.state.settings)


def _job_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise no_such_job()
    return job_id


BackendDep = Annotated[Backend, Depends(_backend)]
DrainDep = Annotated[Drain, Depends(_drain)]
SettingsDep = Annotated[ApiSettings, Depends(_settings)]
JobIdDep = Annotated[str, Depends(_job_id)]
"""The `job_id` of the path; what cannot be one is answered `job_not_found`."""
