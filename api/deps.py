"""What routes ask for by type."""

from typing import Annotated, cast

from fastapi import Depends, Request

from api.backend import Backend
from api.settings import ApiSettings


def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)


def _settings(request: Request) -> ApiSettings:
    return cast("ApiSettings", request.app.state.settings)


BackendDep = Annotated[Backend, Depends(_backend)]
SettingsDep = Annotated[ApiSettings, Depends(_settings)]
