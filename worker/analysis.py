"""Process one job: claim it, decode its images, run its operation, record the result."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared.errors import ErrorCode, ImageError, TriedBeforeError, UnavailableError, VultusError
from shared.jobs import Claim, Job, JobFailure, Provenance, Status
from shared.ledger.jobs.store import Ledger, Outcome
from shared.observability import tracing
from shared.observability.request_context import bind_request_context
from shared.observability.spans import Span
from shared.operations import DetectionMode, DetectionWay, FindParams, Operation, parse_params
from worker import metrics, operations
from worker.cache import ResultCache
from worker.engine.base import Engine
from worker.execution.cancellation import Cancels, TakenError
from worker.execution.exclusive_gate import ExclusiveGate
from worker.execution.leases import Heartbeat
from worker.execution.watchdog import Watchdog
from worker.images import Picture, decode

FINISH_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between attempts to write a result while the store is unreachable; then the lease expires soon."""
NO_MEMORY: Final = JobFailure(
    ErrorCode.WORKER_LOST, "Every worker that took this job ran out of memory.", retryable=True
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds of each stage of one job."""

    now: Callable[[], float] = time.perf_counter
    check: Callable[[], object] = lambda: None
    """Called before each stage; raises if the job must stop."""
    around: Callable[[str], AbstractContextManager[object]] = nullcontext
    """Returns a context for each stage, such as a tracing span."""
    spent: dict[str, float] = field(default_factory=dict)
    stage: str = "start"
    """The current stage, or the last one."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to `stage`."""
        self.check()
        self.stage = stage
        begin = self.now()
        try:
            with self.around(stage):
                yield
        finally:
            self.spent[f"{stage}_ms"] = self.spent.get(f"{stage}_ms", 0.0) + (self.now() - begin) * 1000


@dataclass(frozen=True, slots=True)
class Analyst:
    """Processes jobs; one per process, shared by its threads."""

    ledger: Ledger
    engine: Engine
    heartbeat: Heartbeat
    exclusive_gate: ExclusiveGate
    watchdog: Watchdog
    cancels: Cancels
    worker: str
    max_pixels: int
    cache: ResultCache | None = None
    verify_threshold: float | None = None
    detection: DetectionMode = "full"

    def analyze_next(self) -> bool:
        """Process the next job; return False if none is queued or the process takes no more jobs.

        A job whose previous worker was lost runs alone in this process, so that it cannot take other jobs with it.

        Raises:
            UnavailableError: the ledger is unreachable. Nothing is lost: the sweeper rings the doorbell again.
        """
        alone = False
        while (turn := self.exclusive_gate.enter(alone=alone)) is not None:
            with turn:
                try:
                    claim = self.ledger.claim(self.worker, alone=turn.alone)
                except TriedBeforeError:
                    alone = True
                    continue
                if claim is None:
                    return False
                if turn.alone and claim.job.attempts == 1:
                    turn.share()
                self._analyze(claim)
                return True
        return False

    def _analyze(self, claim: Claim) -> None:
        job = claim.job
        with (
            bind_request_context(job.context, job_id=job.id),
            self.heartbeat.hold(claim),
            self.cancels.watch(job.id) as check,
            _span_of(job, self.worker) as span,
        ):
            # A log line costs 0.2 ms, and the outcome is logged anyway; only later attempts log their start.
            write = log.debug if job.attempts == 1 else log.info
            write("job.claimed", operation=job.operation.value, attempt=job.attempts)
            stopwatch = Stopwatch(check=check, around=lambda stage: tracing.span(stage, parent=span.traceparent))
            outcome = None
            try:
                with self.watchdog.watch(claim, stage=lambda: stopwatch.stage):
                    outcome = self._outcome(claim, stopwatch)
            except TakenError:
                log.info(
                    "job.taken", after=stopwatch.stage, detail="canceled or erased; the remaining stages are skipped"
                )
                metrics.JOBS.labels(job.operation.value, "taken").inc()
                span.fail("taken")
                return
            except MemoryError:
                log.error("job.out_of_memory", stage=stopwatch.stage)  # noqa: TRY400 - a known state, no traceback
            if outcome is None:
                # Other jobs may have used the memory, so the job is retried alone; the attempt counts. Not inside the
                # handler: there the exception keeps the picture, and an error of the ledger would keep the exception.
                self.watchdog.put_back(claim, NO_MEMORY)
                span.fail(ErrorCode.WORKER_LOST.value)
                return
            if outcome.failure:
                span.fail(outcome.failure.code.value)
            self._finish(claim, outcome)
            metrics.note_stages(stopwatch.spent)

    def _outcome(self, claim: Claim, stopwatch: Stopwatch) -> Outcome:
        job = claim.job
        result, failure, digest, cached = None, None, None, False
        detection: DetectionWay | None = None
        begin = stopwatch.now()
        try:
            params = parse_params(job.operation, job.params)
            if self.cache and job.operation is not Operation.FRAME:  # the result of a frame must not outlive it
                digest = self.cache.digest(claim, params)
                if entry := self.cache.find(digest):
                    result, detection, cached = entry.result, entry.detection, True
            if result is None:
                work = self._work(claim, params, stopwatch)
                result = operations.run(job.operation, params, work).model_dump(mode="json")
                detection = work.way
                if self.cache and digest:
                    self.cache.keep(digest, result, detection=detection)
        except (TakenError, MemoryError):
            raise
        except VultusError as error:
            failure = JobFailure(code=error.code, detail=error.detail, retryable=error.retryable)
        except Exception:
            log.exception("job.crashed")
            failure = JobFailure(
                code=ErrorCode.INTERNAL_ERROR, detail="The worker failed; see its log for the reason.", retryable=True
            )
        waited = max(0.0, (job.started_at or job.created_at) - job.created_at) * 1000
        total = waited + (stopwatch.now() - begin) * 1000
        spent = {"queue_ms": waited, **stopwatch.spent, "total_ms": total}
        return Outcome(
            result=result,
            failure=failure,
            metrics={name: round(value, 2) for name, value in spent.items()},
            provenance=self._provenance(cached=cached, detection=detection),
            cached_as=None if failure else digest,
        )

    def _provenance(self, *, cached: bool, detection: DetectionWay | None) -> Provenance:
        info = self.engine.info
        return Provenance(
            model_pack=info.pack,
            embedding_contract=info.contract,
            provider=info.provider,
            worker=self.worker,
            cached=cached,
            detection=detection,
        )

    def _work(self, claim: Claim, params: FindParams, stopwatch: Stopwatch) -> operations.Work:
        with stopwatch("decode"):
            min_long_side = operations.min_long_side(params, self.engine.info)
            image = self._decode(claim.image, min_long_side=min_long_side)
            reference = (
                self._decode(claim.reference, min_long_side=min_long_side) if claim.reference is not None else None
            )
            extra_images = tuple(self._decode_extra(claim.extra_images, min_long_side=min_long_side))
        return operations.Work(
            engine=self.engine,
            clock=stopwatch,
            image=image,
            reference=reference,
            extra_images=extra_images,
            verify_threshold=self.verify_threshold,
            detection=self.detection,
        )

    def _decode(self, data: bytes | None, *, min_long_side: int | None) -> Picture:
        if data is None:
            raise ImageError(ErrorCode.INVALID_IMAGE, "The image of this job is no longer in the store.")
        return decode(data, max_pixels=self.max_pixels, min_long_side=min_long_side)

    def _decode_extra(self, images: Sequence[bytes], *, min_long_side: int | None) -> Iterator[Picture]:
        for index, data in enumerate(images, 1):
            try:
                yield self._decode(data, min_long_side=min_long_side)
            except ImageError as error:
                raise ImageError(error.code, f"Image {index}: {error.detail}") from None

    def _finish(self, claim: Claim, outcome: Outcome) -> None:
        for pause in (*FINISH_PAUSES, None):
            try:
                written = self.ledger.finish(claim.job.id, claim.token, outcome)
            except UnavailableError:
                if pause is None:
                    metrics.JOBS.labels(claim.job.operation.value, "unwritten").inc()
                    detail = "the store is unreachable; the job runs again when its lease expires"
                    log.error("job.unwritten", detail=detail)  # noqa: TRY400 - a known state, no traceback
                    return
                time.sleep(pause)
            else:
                _report(claim.job, outcome, written=written)
                return


def _span_of(job: Job, worker: str) -> AbstractContextManager[Span]:
    """Open a span for the job in this worker, after a span for the time since it was last queued."""
    parent = job.context.traceparent
    attributes = {
        "vultus.job.id": job.id,
        "vultus.job.operation": job.operation.value,
        "vultus.job.attempt": job.attempts,
    }
    began = job.started_at or job.created_at
    queued = [step.at for step in job.history if step.status is Status.QUEUED]
    tracing.past(
        "queue", parent=parent, begin=queued[-1] if queued else job.created_at, end=began, attributes=attributes
    )
    return tracing.span("analyze", parent=parent, kind="consumer", attributes={**attributes, "vultus.worker": worker})


def _report(job: Job, outcome: Outcome, *, written: bool) -> None:
    spent = outcome.metrics or {}
    status = "fenced" if not written else "failed" if outcome.failure else "succeeded"
    metrics.JOBS.labels(job.operation.value, status).inc()
    metrics.QUEUE.labels(job.priority.value).observe(spent["queue_ms"] / 1000)
    metrics.RUN.labels(job.operation.value).observe((spent["total_ms"] - spent["queue_ms"]) / 1000)
    if not written:
        log.warning("job.fenced", detail="another worker has claimed the job; this result is dropped")
    elif outcome.failure:
        log.info("job.failed", code=outcome.failure.code.value, ms=spent["total_ms"])
    else:
        log.info("job.succeeded", ms=spent["total_ms"])
