"""What a worker can be told: its models, its device, its threads."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.settings import Seconds, SharedSettings


class WorkerSettings(SharedSettings):
    """Settings of one worker process. Read once at start."""

    engine: Literal["insightface", "fake"] = Field(
        default="insightface",
        description="`insightface` runs real models; `fake` finds bright rectangles, for trying out a deployment.",
    )
    pack: str = Field(
        default="buffalo_l",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Model pack: `buffalo_l`, `compact`, or the name of any folder with a manifest.",
    )
    models_dir: Path = Field(default=Path("models"), description="Folder that holds one folder for each pack.")
    provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the models run. `auto` takes CUDA where it is there; `cuda` refuses to start on a CPU.",
    )
    worker_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Jobs that one worker runs at once; 0 = one for each core that it may use (a container's quota "
        "counts), or 8 where the provider is named as a GPU.",
    )
    job_time_limit: Seconds = Field(
        default=timedelta(seconds=60),
        description="A job that runs longer, in seconds, is taken for stuck and its worker process is ended. Ten times "
        "the slowest job that you expect is a good value.",
    )
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Largest image, in pixels; the same value as the gateway's."
    )
    drain: Seconds = Field(
        default=timedelta(seconds=30), description="How long a stopping worker may finish its jobs, in seconds."
    )
    ready_file: Path | None = Field(
        default=None, description="A warmed worker touches this file every few seconds: a container's health check."
    )
