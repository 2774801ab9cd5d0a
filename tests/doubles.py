"""In-memory stand-ins for what the gateway talks to: real code with the same promises, no server."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.dispatch import Doorbell
from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, Job, JobFailure, Provenance, Status
from shared.operations import Operation
from shared.storage.ledger import Accepted, Ledger, Outcome
from shared.storage.presence import Presence, WorkerInfo

WORKER = WorkerInfo(
    worker="worker-1",
    model_pack="compact",
    embedding_contract="contract-a",
    embedding_size=4,
    provider="CPUExecutionProvider",
    threads=1,
)


class MemoryLedger(Ledger):
    """A ledger in a dictionary. `broken` makes every call fail as if the store were away."""

    def __init__(self, *, shards: int = 1) -> None:
        self.shards = shards
        self.broken = False
        self.reads = 0
        self.now = 1_700_000_000.0
        self.listeners: list[Callable[[str, Status], None]] = []
        self.ttls: dict[str, timedelta] = {}
        self._jobs: dict[str, Job] = {}
        self._images: dict[str, tuple[bytes, bytes]] = {}
        self._pending: deque[str] = deque()
        self._tokens: dict[str, str] = {}
        self._lock = threading.RLock()

    def _step(self) -> float:
        if self.broken:
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The job store cannot be reached just now.")
        self.now += 0.001
        return self.now

    def _write(self, job: Job) -> None:
        self._jobs[job.id] = job
        for listener in self.listeners:
            listener(job.id, job.status)

    def accept(
        self,
        job_id: str,
        *,
        operation: Operation,
        params: Mapping[str, Any],
        metadata: Mapping[str, Any],
        image: bytes,
        reference: bytes = b"",
        result_ttl: timedelta,
        limit: int,
    ) -> Accepted:
        with self._lock:
            now = self._step()
            if len(self._pending) >= limit:
                raise UnavailableError(ErrorCode.QUEUE_FULL, "The queue is full. Nothing was accepted.")
            self._images[job_id] = (image, reference)
            self._pending.append(job_id)
            self.ttls[job_id] = result_ttl
            self._write(
                Job(
                    id=job_id,
                    operation=operation,
                    status=Status.QUEUED,
                    created_at=now,
                    params=dict(params),
                    metadata=dict(metadata),
                )
            )
            return Accepted(created_at=now, depth=len(self._pending))

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:  # noqa: ARG002 - no worker of it is lost
        with self._lock:
            now = self._step()
            if not self._pending:
                return None
            queued = self._jobs[self._pending.popleft()]
            job = replace(queued, status=Status.RUNNING, started_at=now, attempts=queued.attempts + 1)
            token = self._tokens[job.id] = f"{worker}:{job.attempts}"
            self._write(job)
            image, reference = self._images[job.id]
            return Claim(job=job, token=token, image=image, reference=reference or None)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        with self._lock:
            now = self._step()
            if self._tokens.get(job_id) != token:
                return False
            del self._tokens[job_id], self._images[job_id]
            self._write(
                replace(
                    self._jobs[job_id],
                    status=Status.SUCCEEDED if outcome.failure is None else Status.FAILED,
                    finished_at=now,
                    expires_at=now + self.ttls[job_id].total_seconds(),
                    result=dict(outcome.result) if outcome.result is not None else None,
                    error=outcome.failure,
                    metrics=dict(outcome.metrics or {}),
                    provenance=outcome.provenance,
                )
            )
            return True

    def read(self, job_id: str) -> Job | None:
        with self._lock:
            self._step()
            self.reads += 1
            return self._jobs.get(job_id)

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        with self._lock:
            self._step()
            self.reads += len(job_ids)
            return [self._jobs[job_id].status if job_id in self._jobs else None for job_id in job_ids]

    def forget(self, job_id: str) -> None:
        """The job's time to live is over."""
        with self._lock:
            del self._jobs[job_id]

    def depth(self) -> tuple[int, int]:
        with self._lock:
            self._step()
            return len(self._pending), len(self._tokens)

    def ping(self) -> None:
        self._step()

    def close(self) -> None:
        pass


class MemoryPresence(Presence):
    """A roll call in a list. `broken` makes it fail as if the store were away."""

    def __init__(self, *workers: WorkerInfo) -> None:
        self.workers = list(workers)
        self.broken = False
        self.asked = 0

    def alive(self) -> list[WorkerInfo]:
        self.asked += 1
        if self.broken:
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The job store cannot be reached just now.")
        return list(self.workers)


class RecordingDoorbell(Doorbell):
    """Counts its rings, and lets whoever listens in."""

    def __init__(self, answer: Callable[[], None] | None = None) -> None:
        self.rings = 0
        self.answer = answer

    def ring(self, *, times: int = 1) -> None:
        self.rings += times
        if self.answer is not None:
            self.answer()

    def outstanding(self) -> int | None:
        return self.rings

    def close(self) -> None:
        pass


@dataclass
class ScriptedWorker:
    """Takes one job for each ring and ends it as the script says, after `delay` in a thread of its own."""

    ledger: MemoryLedger
    script: Callable[[Claim], Mapping[str, Any] | JobFailure] | None = None
    delay: float | None = None

    def __post_init__(self) -> None:
        self.claims: list[Claim] = []

    def heard(self) -> None:
        """The doorbell rang. Without a script nobody comes."""
        if self.script is None:
            return
        if self.delay is None:
            self._work()
        else:
            threading.Timer(self.delay, self._work).start()

    def _work(self) -> None:
        claim = self.ledger.claim(WORKER.worker)
        assert claim is not None
        assert self.script is not None
        self.claims.append(claim)
        said = self.script(claim)
        failure = said if isinstance(said, JobFailure) else None
        self.ledger.finish(
            claim.job.id,
            claim.token,
            Outcome(
                result=None if isinstance(said, JobFailure) else said,
                failure=failure,
                metrics={"queue_ms": 1.0, "total_ms": 5.5},
                provenance=Provenance(
                    model_pack=WORKER.model_pack,
                    embedding_contract=WORKER.embedding_contract,
                    provider=WORKER.provider,
                    worker=WORKER.worker,
                ),
            ),
        )
