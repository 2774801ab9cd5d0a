"""The rows of the report and their limits."""

from dataclasses import dataclass
from typing import Final, Literal

FACE_ANALYSIS: Final = "engine in process / FaceAnalysis.get"
RAW_LIMIT: Final = "engine, all cores / raw limit"
SERVICE_RAW: Final = "whole service at saturation / raw limit"
SERVICE_SYNC: Final = "whole service / synchronous service"
SERVICE_CELERY: Final = "whole service / plain Celery service"
P99: Final = "p99 at 64 clients / synchronous service"
BF16: Final = "whole service with OpenVINO bf16 / synchronous service"
IDLE: Final = "submit to result when idle, less the engine's own time (median)"
ACCEPTED: Final = "accepted 202 while workers are saturated (p99)"
DURABLE: Final = "jobs accepted and on disk, 16 clients straight to the ledger"
LAG: Final = "end of a job to its callback, 100 of 1,000 endpoints hang (median of the other 900)"
LARGE: Final = "12-megapixel JPEG / 1-megapixel"
GROWTH: Final = "worker memory after all jobs / after a tenth of them"
MEMORY: Final = "worker memory with two job threads"

ONE_PERSON: Final = "one person"
"""Column of picture `one` where the service embeds the largest face, detected coarse-to-fine; rivals as always."""


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the report with its limit for each picture."""

    row: str
    sense: Literal[">=", "<="]
    limits: dict[str, float]
    """By column."""
    unit: str = ""

    def met(self, column: str, value: float) -> bool:
        """Return True if a value meets the limit of this column."""
        limit = self.limits[column]
        return value >= limit if self.sense == ">=" else value <= limit


TARGETS: Final = (
    Target(FACE_ANALYSIS, ">=", {"t1": 1.40, "one": 1.10}),
    Target(RAW_LIMIT, ">=", {"t1": 0.95, "one": 0.95}),
    Target(SERVICE_RAW, ">=", {"t1": 0.92, "one": 0.88, ONE_PERSON: 2.0}),
    Target(SERVICE_SYNC, ">=", {"t1": 1.7, "one": 1.05, ONE_PERSON: 2.6}),
    Target(SERVICE_CELERY, ">=", {"t1": 1.7, "one": 1.05, ONE_PERSON: 2.6}),
    Target(P99, "<=", {"t1": 0.40, "one": 0.7, ONE_PERSON: 0.30}),
    Target(BF16, ">=", {"t1": 3.0, "one": 2.0}),
    Target(IDLE, "<=", {"t1": 6.0, "one": 6.0}, "ms"),
    Target(ACCEPTED, "<=", {"one": 50.0}, "ms"),
    Target(DURABLE, ">=", {"200 KB": 1000.0}, "jobs/s"),
    Target(LAG, "<=", {"thin": 1000.0}, "ms"),
    Target(LARGE, "<=", {"one": 1.5}),
    Target(GROWTH, "<=", {"mixed": 1.10}),
    Target(MEMORY, "<=", {"mixed": 300.0}, "MiB"),
)
ROWS: Final = {target.row: target for target in TARGETS}
