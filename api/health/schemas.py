"""Response bodies of the health endpoints, with the descriptions that OpenAPI shows."""

from typing import Final, Literal

from pydantic import BaseModel, Field

VERSION: Final = "0.1.0"
"""Version of the service; a test holds it to pyproject.toml."""


class ServiceAnswer(BaseModel):
    """Answer of `GET /`."""

    service: Literal["Face Recognition API"] = "Face Recognition API"
    status: Literal["running"] = "running"
    version: str = VERSION


class QueueDepth(BaseModel):
    """How full the queue is."""

    waiting: int = Field(ge=0, description="Jobs that no worker has taken.")
    running: int = Field(ge=0, description="Jobs in work.")


class HealthAnswer(BaseModel):
    """Answer of `GET /health`, with status 200 or 503."""

    status: Literal["healthy", "unhealthy"]
    models_loaded: bool = Field(description="True while at least one worker is alive with its models warmed.")
    workers: int = Field(ge=0, description="Workers alive.")
    queue: QueueDepth | None = Field(description="Null while the job store cannot be reached.")
    model_pack: str | None = Field(description="Pack of the workers; several are joined by commas.")
    reason: str | None = Field(default=None, description="Why it is unhealthy.")
    warning: str | None = Field(
        default=None, description="Present while workers have different embedding contracts: results do not compare."
    )


class ReadyAnswer(BaseModel):
    """Answer of `GET /readyz`: whether this gateway should be sent clients."""

    status: Literal["ready", "draining", "loading", "away"] = Field(
        description="`draining`: it stops; `loading`: its store reads its file; `away`: its store does not answer."
    )
    accepts_jobs: bool = Field(description="False where it is not ready, the queue is full or the store's memory is.")


class LiveAnswer(BaseModel):
    """Answer of `GET /livez`: this process answers."""

    status: Literal["alive"] = "alive"
