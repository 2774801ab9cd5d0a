"""Response bodies of the health endpoints, with their OpenAPI descriptions."""

from typing import Final, Literal

from pydantic import BaseModel, Field

VERSION: Final = "0.1.0"
"""Version of the service. A test compares it with pyproject.toml."""


class ServiceAnswer(BaseModel):
    """Response of `GET /`."""

    service: Literal["Face Recognition API"] = "Face Recognition API"
    status: Literal["running"] = "running"
    version: str = VERSION


class QueueDepth(BaseModel):
    """Number of jobs that are waiting and running."""

    waiting: int = Field(ge=0, description="Queued jobs.")
    running: int = Field(ge=0, description="Running jobs.")


class HealthAnswer(BaseModel):
    """Response of `GET /health`, with status 200 or 503."""

    status: Literal["healthy", "unhealthy"]
    models_loaded: bool = Field(description="True if at least one live worker has loaded its models.")
    workers: int = Field(ge=0, description="Number of live workers.")
    queue: QueueDepth | None = Field(description="Null if the job store cannot be reached.")
    model_pack: str | None = Field(description="Model pack of the workers. Several are separated by commas.")
    reason: str | None = Field(default=None, description="Why the service is unhealthy.")
    warning: str | None = Field(
        default=None,
        description="Set if workers have different embedding contracts, so that results cannot be compared.",
    )


class ReadyAnswer(BaseModel):
    """Response of `GET /readyz`: whether this gateway should receive traffic."""

    status: Literal["ready", "draining", "loading", "away"] = Field(
        description="`draining`: shutting down; `loading`: the store is loading its data; `away`: the store does not "
        "respond."
    )
    accepts_jobs: bool = Field(
        description="False if the gateway is not ready, the queue is full, or the store is out of memory."
    )


class LiveAnswer(BaseModel):
    """Response of `GET /livez`."""

    status: Literal["alive"] = "alive"
