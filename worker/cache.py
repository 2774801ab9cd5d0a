"""Reuse the result of an earlier identical job, if the operator enables this."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from shared.errors import UnavailableError
from shared.jobs import Claim
from shared.ledger.jobs.result_cache import Results
from shared.operations import DetectionWay, FindParams
from shared.settings import SharedSettings
from worker import metrics
from worker.engine.base import EngineInfo
from worker.settings import WorkerSettings

IRRELEVANT: Final = frozenset(
    {"worker_threads", "job_time_limit", "job_time_limits", "result_cache_ttl", "drain", "ready_file"}
)
"""Worker settings that do not affect results."""
LIBRARIES: Final = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "insightface")
ROOT: Final = Path(__file__).resolve().parents[1]

log = structlog.get_logger(__name__)


class Cached(NamedTuple):
    """A cached result."""

    result: dict[str, Any]
    detection: DetectionWay | None


@dataclass(frozen=True, slots=True)
class ResultCache:
    """Results of this process' models and code. A cache failure never fails a job."""

    results: Results
    good_for: timedelta
    made_by: str
    """Digest of everything that determines a result besides the request: models, settings, code, libraries."""

    def digest(self, claim: Claim, params: FindParams) -> str:
        """Return the cache key of a job: tenant, operation, parameters, image bytes, and `made_by`."""
        request = _digest(
            {
                "tenant": claim.job.tenant,
                "operation": claim.job.operation.value,
                "params": params.model_dump(mode="json"),
                "image": hashlib.sha256(claim.image or b"").hexdigest(),
                "reference": None if claim.reference is None else hashlib.sha256(claim.reference).hexdigest(),
                "extra_images": [hashlib.sha256(image).hexdigest() for image in claim.extra_images],
                "made_by": self.made_by,
            }
        )
        return f"{request}:{claim.job.tenant}"  # so that all results of a tenant can be found and erased

    def find(self, digest: str) -> Cached | None:
        """Return what is cached for an identical job, or None."""
        try:
            entry = self.results.find(digest)
        except UnavailableError as error:
            log.warning("cache.unread", detail=str(error.__cause__))
            return None
        metrics.LOOKUPS.labels("hit" if entry else "miss").inc()
        return Cached(**entry) if entry else None

    def keep(self, digest: str, result: Mapping[str, Any], *, detection: DetectionWay | None) -> None:
        """Store a result for identical jobs, and how its faces were detected."""
        try:
            self.results.keep(digest, {"result": result, "detection": detection}, good_for=self.good_for)
        except UnavailableError as error:
            log.warning("cache.unwritten", detail=str(error.__cause__))


def result_cache(results: Results, info: EngineInfo, settings: WorkerSettings) -> ResultCache | None:
    """Return the cache, or None if it is disabled."""
    if not settings.result_cache_ttl:
        return None
    return ResultCache(results, settings.result_cache_ttl, made_by=made_by(info, settings))


def made_by(info: EngineInfo, settings: WorkerSettings, *, root: Path = ROOT) -> str:
    """Return the digest of what a result depends on besides the request: engine, pack, settings, code, libraries.

    Hashing the source code makes it unnecessary to maintain a version number.
    """
    pack = settings.models_dir / settings.pack
    described = [pack / "manifest.json", pack / "prepared" / "record.json"]
    # this engine also runs folders without a manifest or checksums
    models = sorted(pack.rglob("*.onnx")) if settings.engine == "insightface" else []
    sources = [
        root / "shared" / "faces.py",
        root / "shared" / "operations.py",
        root / "shared" / "quality.py",
        *(root / "worker").rglob("*.py"),
    ]
    return _digest(
        {
            "engine": asdict(info),
            "pack": [_file(path) for path in (*described, *models)],
            "settings": settings.model_dump(mode="json", exclude={*SharedSettings.model_fields, *IRRELEVANT}),
            "code": {str(path.relative_to(root)): _file(path) for path in sources},
            "libraries": {name: _version(name) for name in LIBRARIES},
        }
    )


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _file(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
