"""Worker settings: models, device, threads and limits."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from shared.operations import DetectionMode, Operation
from shared.settings import Seconds, SecondsOrNever, SharedSettings, from_text, listed


def _by_operation(text: str) -> dict[str, str]:
    """Parse text such as `verify=20,analyze=120`."""
    pairs = [part.partition("=") for part in listed(text)]
    wrong = [name for name, _, _ in pairs if name not in set(Operation)]
    if wrong or len({name for name, _, _ in pairs}) < len(pairs):
        msg = f"list each operation at most once, such as verify=20,analyze=120; operations: {', '.join(Operation)}"
        raise ValueError(msg)
    return {name: seconds for name, _, seconds in pairs}


class WorkerSettings(SharedSettings):
    """Settings of one worker process. Read once at start."""

    engine: Literal["vultus", "insightface", "fake"] = Field(
        default="vultus",
        description="`vultus` runs the models of a pack in this project's own pipeline. `insightface` runs them "
        "through that library's `FaceAnalysis`: slower, but it is the reference and also accepts a folder without "
        "a manifest. `fake` detects bright rectangles, for trying out a deployment.",
    )
    pack: str = Field(
        default="buffalo_l",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Model pack: `antelopev2`, `buffalo_l`, `buffalo_m`, `buffalo_s`, `buffalo_sc`, `compact`, or the "
        "name of any folder with a manifest. With `VULTUS_ENGINE=insightface`, model files alone are enough.",
    )
    models_dir: Path = Field(default=Path("models"), description="Folder with one subfolder per model pack.")
    provider: Literal["auto", "cpu", "cuda", "tensorrt", "openvino"] = Field(
        default="auto",
        description="Execution provider of the models. `auto` uses CUDA if a GPU is available, otherwise OpenVINO if "
        "`python -m worker.packs prepare` found it equal and faster on this machine, otherwise the CPU. "
        "`cuda` and `tensorrt` refuse to start if the models would run on the CPU.",
    )
    precision: Literal["f32", "bf16"] = Field(
        default="f32",
        description="With `openvino`, `bf16` can halve the run time or increase it; measure with `make bench`. Its "
        "embeddings have a different contract and cannot be compared with those of `f32`.",
    )
    intra_op_threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Cores used by one model run. 1 gives the highest throughput; all cores combined with "
        "`VULTUS_WORKER_THREADS=1` give the lowest latency of a single job.",
    )
    micro_batch: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Batch the work of concurrent jobs into one model run. `auto` batches on a GPU only; on a CPU "
        "batching is slower.",
    )
    detection: DetectionMode = Field(
        default="full",
        description="How operations on one person detect faces, unless a job sets `detection`. `full` uses the full "
        "pass. `coarse_to_fine` uses a small pass and a closer look at the face, and the full pass only if the face is "
        "small or another one might count: faster, and on damaged pictures slightly less accurate.",
    )
    device_id: int = Field(default=0, ge=0, description="Index of the GPU that this worker uses.")
    gpu_memory_mb: int = Field(
        default=0, ge=0, description="Maximum GPU memory for the arena of each model, in MiB; 0 = no limit."
    )
    cudnn_search: Literal["heuristic", "exhaustive", "default"] = Field(
        default="heuristic",
        description="How cuDNN selects its algorithms. `exhaustive` may be faster once warm but uses gigabytes.",
    )
    allow_cpu_fallback: bool = Field(
        default=False,
        description="Start even if some operators of a model run on the CPU although a GPU was requested.",
    )
    worker_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Jobs that one worker runs concurrently; 0 = one per core available to it (a container's CPU quota "
        "counts), or 8 if the provider is `cuda` or `tensorrt`.",
    )
    job_time_limit: Seconds = Field(
        default=timedelta(seconds=60),
        description="Maximum run time of a job, in seconds. A job that runs longer is considered stuck and its worker "
        "process exits. Ten times the slowest expected job is a good value.",
    )
    job_time_limits: Annotated[dict[Operation, Seconds], NoDecode, from_text(_by_operation)] = Field(
        default_factory=dict,
        description="Time limits of individual operations, in seconds, such as `verify=20,analyze=120`. Operations not "
        "listed use `VULTUS_JOB_TIME_LIMIT`.",
    )
    result_cache_ttl: SecondsOrNever = Field(
        default=timedelta(0),
        description="How long a result is reused for identical images and parameters, in seconds; 0 = never. Cached "
        "results are biometric data (docs/decisions/0010).",
    )
    verify_threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Cosine similarity above which `verify` reports a match, for jobs that specify neither a threshold "
        "nor a false-match rate. Defaults to the pack's own threshold.",
    )
    worker_memory_mb: int = Field(
        default=0,
        ge=0,
        description="Maximum private memory of one worker, in MiB; 0 = no limit. A job that needs more fails without "
        "ending the process. Set it below the container's limit, and high enough for the models plus 16 bytes per "
        "pixel of `VULTUS_MAX_PIXELS`.",
    )
    max_pixels: int = Field(
        default=40_000_000, ge=1, description="Largest accepted image, in pixels. Use the same value as the gateway."
    )
    drain: Seconds = Field(
        default=timedelta(seconds=30), description="How long a stopping worker may take to finish its jobs, in seconds."
    )
    ready_file: Path | None = Field(
        default=None,
        description="File that a ready worker touches every few seconds, for container health checks.",
    )

    @property
    def time_limits(self) -> dict[Operation, timedelta]:
        """The time limit of each operation."""
        return {operation: self.job_time_limits.get(operation, self.job_time_limit) for operation in Operation}
