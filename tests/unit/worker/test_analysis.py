"""Claim, decode, run, finish: what a worker does with a job, whatever goes wrong on the way."""

import gc
import weakref
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from shared.errors import ErrorCode, JobError, TriedBeforeError, UnavailableError
from shared.jobs import Claim, Job, Status
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.presence import Presence, WorkerInfo
from shared.operations import Operation
from worker import analysis
from worker.analysis import Analyst, Stopwatch
from worker.engine.base import AS_THE_PACK_SAYS, Crops, Detection, Image, Search, Vectors
from worker.engine.fake import FakeEngine
from worker.execution.cancellation import Cancels
from worker.execution.exclusive_gate import ExclusiveGate
from worker.execution.leases import Heartbeat
from worker.execution.watchdog import Watchdog

INFO = WorkerInfo(worker="w", model_pack="p", embedding_contract="c", embedding_size=512, provider="CPU", threads=1)


def photo() -> bytes:
    pixels = np.full((120, 160, 3), 30, np.uint8)
    pixels[20:100, 40:110] = 255
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


class OneJobLedger(Ledger):
    """A ledger with one queued job; it can be down for a while, or have given the job to another worker."""

    def __init__(
        self,
        image: bytes | None,
        *,
        away: int = 0,
        fenced: bool = False,
        attempts: int = 1,
        operation: Operation = Operation.EMBED,
    ) -> None:
        self.lease = timedelta(seconds=10)
        self.outcomes: list[Outcome] = []
        self._image, self._away, self._fenced = image, away, fenced
        self._waiting = True
        self._attempts = attempts
        self._operation = operation
        self.asked_alone: list[bool] = []

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:
        self.asked_alone.append(alone)
        if not self._waiting:
            return None
        if self._attempts > 1 and not alone:
            raise TriedBeforeError
        self._waiting = False
        job = Job(
            id="job_x",
            operation=self._operation,
            status=Status.RUNNING,
            created_at=100.0,
            started_at=100.5,
            attempts=self._attempts,
        )
        reference = self._image if self._operation == Operation.VERIFY else None
        return Claim(job=job, token=f"{worker}:1", image=self._image, reference=reference)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        assert (job_id, token) == ("job_x", "w:1")
        if self._away:
            self._away -= 1
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "away")
        if self._fenced:
            return False
        self.outcomes.append(outcome)
        return True


class Crashing(FakeEngine):
    """An engine whose detector fails in a way that nobody foresaw."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        msg = f"a bug, at {search} in {image.shape}"
        raise RuntimeError(msg)


class NotFinite(FakeEngine):
    """An engine whose recogniser gives NaN."""

    def embed(self, crops: Crops) -> Vectors:
        assert len(crops) == 1
        raise JobError(ErrorCode.MODEL_FAILURE, "The recogniser gave a number that is not finite.")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "FINISH_PAUSES", (0.001,) * 3)


def analyst(ledger: Ledger, engine: FakeEngine | None = None) -> Analyst:
    heartbeat, exclusive_gate = Heartbeat(ledger, Presence.__new__(Presence), INFO), ExclusiveGate()
    return Analyst(
        ledger=ledger,
        engine=engine or FakeEngine(),
        heartbeat=heartbeat,
        exclusive_gate=exclusive_gate,
        watchdog=Watchdog(
            ledger, heartbeat, exclusive_gate, limits=dict.fromkeys(Operation, timedelta(seconds=60)), max_attempts=3
        ),
        cancels=Cancels(ledger),
        worker="w",
        max_pixels=1_000_000,
    )


def test_a_job_ends_with_result_metrics_and_provenance() -> None:
    ledger = OneJobLedger(photo())
    assert analyst(ledger).analyze_next() is True
    (outcome,) = ledger.outcomes
    assert outcome.failure is None
    assert outcome.result is not None
    assert len(outcome.result["faces"]) == 1
    assert outcome.metrics is not None
    assert outcome.metrics["queue_ms"] == 500
    assert {"decode_ms", "detect_ms", "embed_ms", "total_ms"} <= set(outcome.metrics)
    assert "liveness_ms" not in outcome.metrics
    assert outcome.provenance is not None
    assert (outcome.provenance.worker, outcome.provenance.model_pack) == ("w", "fake")
    assert outcome.provenance.detection == "full"


def test_the_operators_threshold_reaches_the_comparison() -> None:
    ledger = OneJobLedger(photo(), operation=Operation.VERIFY)
    replace(analyst(ledger), verify_threshold=0.25).analyze_next()
    result = ledger.outcomes[0].result
    assert result is not None
    assert (result["verified"], result["threshold"], result["threshold_from"]) == (True, 0.25, "setting")


def test_a_doorbell_with_an_empty_queue_is_harmless() -> None:
    ledger = OneJobLedger(photo())
    worker = analyst(ledger)
    assert worker.analyze_next() is True
    assert worker.analyze_next() is False
    assert len(ledger.outcomes) == 1


@pytest.mark.parametrize(
    ("image", "engine", "code", "retryable"),
    [
        (b"no image", FakeEngine(), ErrorCode.UNSUPPORTED_IMAGE_TYPE, False),
        (None, FakeEngine(), ErrorCode.INVALID_IMAGE, False),
        (photo(), NotFinite(), ErrorCode.MODEL_FAILURE, False),
        (photo(), Crashing(), ErrorCode.INTERNAL_ERROR, True),
    ],
)
def test_an_error_fails_the_job_and_not_the_worker(
    image: bytes | None, engine: FakeEngine, code: ErrorCode, retryable: bool
) -> None:
    ledger = OneJobLedger(image)
    assert analyst(ledger, engine).analyze_next() is True
    (outcome,) = ledger.outcomes
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == (code, retryable)
    assert "bug" not in outcome.failure.detail


def test_a_result_waits_for_an_unavailable_store() -> None:
    ledger = OneJobLedger(photo(), away=3)
    analyst(ledger).analyze_next()
    assert len(ledger.outcomes) == 1


def test_a_result_is_abandoned_if_the_store_stays_unavailable() -> None:
    ledger = OneJobLedger(photo(), away=99)
    assert analyst(ledger).analyze_next() is True
    assert ledger.outcomes == []


def test_a_fenced_result_is_dropped() -> None:
    ledger = OneJobLedger(photo(), fenced=True)
    assert analyst(ledger).analyze_next() is True
    assert ledger.outcomes == []


def test_a_job_that_is_taken_away_stops_at_its_next_stage() -> None:
    ledger = OneJobLedger(photo())
    stages: list[str] = []

    class CanceledInTheMiddle(FakeEngine):
        def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
            stages.append("detect")
            worker.cancels.take("job_x")
            worker.cancels.take("another")
            return super().detect(image, search)

        def embed(self, crops: Crops) -> Vectors:
            stages.append("embed")
            return super().embed(crops)

    worker = analyst(ledger, CanceledInTheMiddle())
    assert worker.analyze_next() is True
    assert stages == ["detect"]
    assert ledger.outcomes == []
    assert worker.heartbeat.held() == []


def test_only_a_repeated_attempt_is_claimed_exclusively() -> None:
    first, later = OneJobLedger(photo()), OneJobLedger(photo(), attempts=2)
    assert analyst(first).analyze_next() is True
    assert analyst(later).analyze_next() is True
    assert (first.asked_alone, later.asked_alone) == ([False], [False, True])
    assert len(later.outcomes) == 1


def test_a_process_that_is_stopping_claims_no_more_jobs() -> None:
    ledger = OneJobLedger(photo())
    worker = analyst(ledger)
    worker.exclusive_gate.close()
    assert worker.analyze_next() is False
    assert ledger.asked_alone == []


def test_a_stage_that_runs_twice_adds_up() -> None:
    moments = iter([0.0, 1.0, 5.0, 7.0])
    stopwatch = Stopwatch(now=lambda: next(moments))
    for _ in range(2):
        with stopwatch("detect"):
            pass
    assert stopwatch.spent == {"detect_ms": 3000.0}
    assert stopwatch.stage == "detect"


def test_the_memory_of_a_picture_is_free_before_its_job_is_put_back() -> None:
    pictures: list[weakref.ref[Image]] = []
    left: list[bool] = []

    class TooLarge(FakeEngine):
        def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
            unpacked = image.copy()
            pictures.append(weakref.ref(unpacked))
            raise MemoryError(str(search))

    def refuse() -> None:
        raise ConnectionError

    class Unreachable(OneJobLedger):
        def release(self, job_id: str, token: str, **_: object) -> bool:
            assert (job_id, token) == ("job_x", "w:1")
            left.append(pictures[0]() is not None)
            try:
                refuse()
            except ConnectionError as error:
                kept = error  # a cycle with this frame, as the driver makes one when it cannot connect
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "away") from kept

    gc.disable()
    try:
        assert analyst(Unreachable(photo()), TooLarge()).analyze_next() is True
        assert left == [False]
        assert pictures[0]() is None
    finally:
        gc.enable()
