"""Two jobs share a result only where everything that it depends on is the same, and the asker too."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, Job, Status
from shared.ledger.jobs.result_cache import Results
from shared.operations import FindParams, Operation, ReferenceEmbedding, VerifyParams
from shared.tenants import DEFAULT
from tests.unit.worker.operations.asking import TABLE
from worker.cache import ROOT, ResultCache, made_by, result_cache
from worker.engine.fake import FakeEngine
from worker.settings import WorkerSettings


class AwayResults(Results):
    """A store that cannot be used."""

    def __init__(self) -> None:
        pass

    def find(self, digest: str) -> dict[str, Any] | None:
        raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, digest)

    def keep(self, digest: str, result: Mapping[str, Any], *, good_for: timedelta) -> None:
        raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, f"{digest} {result} {good_for}")


CACHE = ResultCache(AwayResults(), timedelta(seconds=60), made_by="these models")


def claim(
    *,
    image: bytes = b"a",
    reference: bytes | None = None,
    operation: Operation = Operation.DETECT,
    job_id: str = "job",
    tenant: str = DEFAULT,
) -> Claim:
    job = Job(
        id=job_id, operation=operation, status=Status.RUNNING, created_at=0, metadata={"of": job_id}, tenant=tenant
    )
    return Claim(job=job, token=f"{job_id}:1", image=image, reference=reference)


def digest(asked: Claim, params: FindParams | None = None, *, cache: ResultCache = CACHE) -> str:
    return cache.digest(asked, params or FindParams())


def test_the_same_request_in_another_job_has_the_same_key() -> None:
    assert digest(claim()) == digest(claim(job_id="job_2"), FindParams(max_faces=FindParams().max_faces))


def test_another_tenant_never_meets_the_same_result() -> None:
    tenants = ["a", "b", "", "default", 'a","b', "A", "a "]
    assert len({digest(claim(tenant=tenant)) for tenant in tenants}) == len(tenants)


def test_everything_that_affects_a_result_changes_the_key() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0]]
    questions = [
        digest(claim()),
        digest(claim(image=b"b")),
        digest(claim(image=b"")),
        digest(claim(reference=b"")),
        digest(claim(reference=b"a")),
        digest(claim(image=b"", reference=b"a")),
        digest(claim(operation=Operation.EMBED)),
        digest(claim(), FindParams(max_faces=1)),
        digest(claim(), FindParams(det_threshold=0.5)),
        digest(claim(operation=Operation.VERIFY), VerifyParams()),
        *(
            digest(claim(operation=Operation.VERIFY), VerifyParams(reference_embedding=ReferenceEmbedding(vector=v)))
            for v in vectors
        ),
        digest(claim(), cache=replace(CACHE, made_by="other models")),
    ]
    assert len(set(questions)) == len(questions)


def test_an_unavailable_store_is_a_miss_and_fails_no_job() -> None:
    with capture_logs() as log:
        assert CACHE.find("ab") is None
        CACHE.keep("ab", {"kind": "faces"}, detection="full")
    assert [line["event"] for line in log] == ["cache.unread", "cache.unwritten"]
    assert "faces" not in str(log)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of our sources and a pack, to be changed."""
    shutil.copytree(ROOT / "worker", tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "shared", tmp_path / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "models" / "p" / "prepared").mkdir(parents=True)
    return tmp_path


def test_results_of_other_models_settings_or_code_are_never_used(house: Path) -> None:
    settings = WorkerSettings(models_dir=house / "models", pack="p")
    info = FakeEngine().info

    def now(settings: WorkerSettings = settings) -> str:
        return made_by(info, settings, root=house)

    seen = [now()]
    assert now() == seen[0]
    for name, text in {
        "models/p/manifest.json": "{}",
        "models/p/prepared/record.json": "{}",
        "worker/engine/fake.py": "# another engine\n",
        "shared/faces.py": "# another shape\n",
    }.items():
        (house / name).write_text(text, encoding="utf-8")
        seen.append(now())
    seen.append(now(settings.model_copy(update={"max_pixels": 7})))
    seen.append(now(settings.model_copy(update={"verify_threshold": 0.4})))
    seen.append(made_by(replace(info, contract="another"), settings, root=house))
    seen.append(made_by(replace(info, calibration=TABLE), settings, root=house))
    assert len(set(seen)) == len(seen)
    assert now(settings.model_copy(update={"worker_threads": 7})) == now()


def test_changed_files_of_a_folder_without_a_manifest_miss_the_cache(house: Path) -> None:
    settings = WorkerSettings(engine="insightface", models_dir=house / "models", pack="p")
    info = FakeEngine().info
    before = made_by(info, settings, root=house)
    (house / "models" / "p" / "det.onnx").write_bytes(b"another detector")
    assert made_by(info, settings, root=house) != before


def test_the_cache_is_off_unless_it_has_a_ttl() -> None:
    info = FakeEngine().info
    assert result_cache(AwayResults(), info, WorkerSettings()) is None
    on = result_cache(AwayResults(), info, WorkerSettings(result_cache_ttl=timedelta(seconds=60)))
    assert on is not None
    assert on.good_for == timedelta(seconds=60)
