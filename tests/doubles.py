"""Stand-ins for the workers and the broker that the gateway talks to: real code with the same promises."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.dispatch import Doorbell
from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, JobFailure, Provenance
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.presence import Presence, WorkerInfo

WORKER = WorkerInfo(
    worker="worker-1",
    model_pack="compact",
    embedding_contract="contract-a",
    embedding_size=4,
    provider="CPUExecutionProvider",
    threads=1,
)


class MemoryPresence(Presence):
    """A worker registry in a list. `broken` makes it fail as if the store were down."""

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
    """Counts its rings and notifies its listeners."""

    def __init__(self, answer: Callable[[], None] | None = None) -> None:
        self.rings = 0
        self.answer = answer

    def ring(self, *, times: int = 1) -> None:
        self.rings += times
        if self.answer is not None:
            for _ in range(times):
                self.answer()

    def outstanding(self) -> int | None:
        return self.rings

    def close(self) -> None:
        pass


@dataclass
class ScriptedWorker:
    """Takes one job for each ring and ends it as the script says: at once, or in a thread as soon as `awaited`."""

    ledger: Ledger
    script: Callable[[Claim], Mapping[str, Any] | JobFailure] | None = None
    awaited: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        self.claims: list[Claim] = []
        self._threads: list[threading.Thread] = []

    def heard(self) -> None:
        """The doorbell rang. Without a script nobody comes."""
        if self.script is None:
            return
        if self.awaited is None:
            self._work()
        else:
            thread = threading.Thread(target=self._work_when_awaited, args=(self.awaited,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Wait until every job taken is ended: a thread still reading its reply outlives no store."""
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive(), "nobody waited for the job"

    def _work_when_awaited(self, awaited: Callable[[], bool]) -> None:
        while not awaited():
            time.sleep(0.001)
        self._work()

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
