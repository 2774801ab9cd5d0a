"""Answers a job from the result of an equal one before, where the operator allows it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import structlog

from shared.errors import UnavailableError
from shared.jobs import Claim
from shared.ledger.jobs.result_cache import Results
from shared.operations import FindParams
from shared.settings import SharedSettings
from worker import metrics
from worker.engine.base import EngineInfo
from worker.settings import WorkerSettings

NO_MATTER: Final = frozenset(
    {"worker_threads", "job_time_limit", "job_time_limits", "result_cache_ttl", "drain", "ready_file"}
)
"""Settings of a worker that change no result."""
LIBRARIES: Final = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "insightface")
ROOT: Final = Path(__file__).resolve().parents[1]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResultCache:
    """Results of this process' models and code. It helps or it does not; no job fails because of it."""

    results: Results
    good_for: timedelta
    made_by: str
    """Digest of what stands behind every result: models, settings, code, libraries."""

    def digest(self, claim: Claim, params: FindParams) -> str:
        """Names the question: who asks what about which bytes, and who answers. Equal only where all of it is."""
        mark = _digest(
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
        return f"{mark}:{claim.job.tenant}"  # so that all results of one tenant can be found and erased

    def find(self, digest: str) -> dict[str, Any] | None:
        """The result of an equal job, or None."""
        try:
            found = self.results.find(digest)
        except UnavailableError as error:
            log.warning("cache.unread", detail=str(error.__cause__))
            return None
        metrics.LOOKUPS.labels("hit" if found else "miss").inc()
        return found

    def keep(self, digest: str, result: Mapping[str, Any]) -> None:
        """Keep a result for equal jobs."""
        try:
            self.results.keep(digest, result, good_for=self.good_for)
        except UnavailableError as error:
            log.warning("cache.unwritten", detail=str(error.__cause__))


def result_cache(results: Results, info: EngineInfo, settings: WorkerSettings) -> ResultCache | None:
    """The cache, or None where it is not turned on."""
    if not settings.result_cache_ttl:
        return None
    return ResultCache(results, settings.result_cache_ttl, made_by=made_by(info, settings))


def made_by(info: EngineInfo, settings: WorkerSettings, *, root: Path = ROOT) -> str:
    """Digest of what a result depends on besides the question: the engine, its pack's files, settings, code, libraries.

    The bytes of the code are hashed: nobody has to remember to raise a version number.
    """
    pack = settings.models_dir / settings.pack
    described = [pack / "manifest.json", pack / "prepared" / "record.json"]
    # that engine also runs folders whose manifest names no checksums, or that have none
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
            "settings": settings.model_dump(mode="json", exclude={*SharedSettings.model_fields, *NO_MATTER}),
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
