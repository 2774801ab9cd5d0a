"""What a worker can be told: its models, its device, its threads."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from shared.operations import Operation
from shared.settings import Seconds, SecondsOrNever, SharedSettings, from_text, listed


def _by_operation(text: str) -> dict[str, str]:
    """Read `verify=20,analyze=120`."""
    pairs = [part.partition("=") for part in listed(text)]
    wrong = [name for name, _, _ in pairs if name not in set(Operation)]
    if wrong or len({name for name, _, _ in pairs}) < len(pairs):
        msg = f"each operation once, such as verify=20,analyze=120; the operations are {', '.join(Operation)}"
        raise ValueError(msg)
    return {name: seconds for name, _, seconds in pairs}


class WorkerSettings(SharedSettings):
    """Settings of one worker process. Read once at start."""

    engine: Literal["vultus", "insightface", "fake"] = Field(
        default="vultus",
        description="`vultus` runs the models of a pack in this project's own stages; `insightface` runs them through "
        "that library's `FaceAnalysis`: slower, a reference, and the way for a folder without a manifest; `fake` finds "
        "bright rectangles, for trying out a deployment.",
    )
    pack: str = Field(
        default="buffalo_l",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Model pack: `antelopev2`, `buffalo_l`, `buffalo_m`, `buffalo_s`, `buffalo_sc`, `compact`, or the "
        "name of any folder with a manifest; with `VULTUS_ENGINE=insightface` also of one with model files alone.",
    )
    models_dir: Path = Field(default=Path("models"), description="Folder that holds one folder for each pack.")
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = Field(
        default="auto",
        description="Where the models run. `auto` takes CUDA where there is a GPU, else the CPU; `cuda` and `tensorrt` "
        "refuse to start where the models would run on the CPU.",
    )
    precision: Literal["f32", "bf16"] = Field(
        default="f32",
        description="`bf16` can halve the time with `openvino`, or lengthen it: `make bench` says. Its embeddings "
        "are another contract: they do not compare with those of `f32`.",
    )
    intra_op_threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Cores that one run of a model uses. 1 gives the most jobs per second; all cores together with "
        "`VULTUS_WORKER_THREADS=1` give the shortest wait of a single job.",
    )
    micro_batch: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Join the work of concurrent jobs into one run. `auto` does so on a GPU; on a CPU it loses.",
    )
    device_id: int = Field(default=0, ge=0, description="Number of the GPU that this worker uses.")
    gpu_memory_mb: int = Field(
        default=0, ge=0, description="Most GPU memory for each model's arena, in MiB; 0 = no limit."
    )
    cudnn_search: Literal["heuristic", "exhaustive", "default"] = Field(
        default="heuristic",
        description="How cuDNN picks its algorithms. `exhaustive` may be faster once warm, and costs gigabytes.",
    )
    allow_cpu_fallback: bool = Field(
        default=False, description="Start although operators of a model run on the CPU where a GPU was asked for."
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
    job_time_limits: Annotated[dict[Operation, Seconds], NoDecode, from_text(_by_operation)] = Field(
        default_factory=dict,
        description="Limits of single operations in seconds, such as `verify=20,analyze=120`; the others have "
        "`VULTUS_JOB_TIME_LIMIT`.",
    )
    result_cache_ttl: SecondsOrNever = Field(
        default=timedelta(0),
        description="How long the result of an image may answer the same question about the same bytes again, in "
        "seconds; 0 = never. What is kept is biometric data (docs/decisions/0010).",
    )
    verify_threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="`verify` jobs that name neither a threshold nor a false-match rate: match means similarity > this "
        "cosine; the pack's own where absent.",
    )
    worker_memory_mb: int = Field(
        default=0,
        ge=0,
        description="Memory of its own that one worker may have, in MiB; a job that asks for more fails by itself and "
        "the process lives. Below the container's limit, and above 16 bytes for each of `VULTUS_MAX_PIXELS` beside the "
        "models. 0 = no limit.",
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

    @property
    def time_limits(self) -> dict[Operation, timedelta]:
        """How long a job of each operation may run."""
        return {operation: self.job_time_limits.get(operation, self.job_time_limit) for operation in Operation}
