"""The heartbeat keeps what is held, and nothing else."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, Job, Status
from shared.ledger.jobs.store import Ledger
from shared.ledger.presence import Presence, WorkerInfo
from shared.operations import Operation
from worker.execution.leases import Heartbeat

INFO = WorkerInfo(worker="w", model_pack="p", embedding_contract="c", embedding_size=512, provider="CPU", threads=1)


class RecordingLedger(Ledger):
    """A ledger that only counts beats."""

    def __init__(self) -> None:
        self.lease = timedelta(seconds=0.06)
        self.beats: list[str] = []
        self.away = False
        self.lost: set[str] = set()

    def beat(self, job_id: str, token: str) -> bool:
        if self.away:
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "away")
        assert token.startswith(job_id)
        self.beats.append(job_id)
        return job_id not in self.lost


class RecordingPresence(Presence):
    """A roll that only remembers."""

    def __init__(self) -> None:
        self.announced = 0
        self.left: list[str] = []

    def announce(self, info: WorkerInfo, *, good_for: timedelta) -> None:
        assert (info.worker, good_for.total_seconds() > 0) == ("w", True)
        self.announced += 1

    def leave(self, worker: str) -> None:
        self.left.append(worker)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def beaten(presence: RecordingPresence, *, times: int) -> None:
    """Return after so many beats from now on, the one under way included."""
    last = presence.announced + times
    until(lambda: presence.announced >= last)


def claim(name: str) -> Claim:
    job = Job(id=name, operation=Operation.DETECT, status=Status.RUNNING, created_at=0)
    return Claim(job=job, token=f"{name}:1", image=b"", reference=None)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[RecordingLedger, RecordingPresence, Heartbeat, Path]]:
    ledger, presence, ready = RecordingLedger(), RecordingPresence(), tmp_path / "ready"
    heartbeat = Heartbeat(ledger, presence, INFO, ready_file=ready)
    heartbeat.start()
    yield ledger, presence, heartbeat, ready
    heartbeat.stop()


Parts = tuple[RecordingLedger, RecordingPresence, Heartbeat, Path]


def test_a_started_worker_is_on_the_roll_before_start_returns(parts: Parts) -> None:
    _, presence, _, ready = parts
    assert presence.announced == 1
    assert ready.exists()


def test_leases_are_renewed_only_while_held(parts: Parts) -> None:
    ledger, presence, heartbeat, _ = parts
    with heartbeat.hold(claim("a")):
        until(lambda: len(ledger.beats) >= 3)
    held = len(ledger.beats)
    beaten(presence, times=3)
    assert len(ledger.beats) <= held + 1


def test_heartbeats_resume_after_the_store_was_unavailable(parts: Parts) -> None:
    ledger, _, heartbeat, _ = parts
    with heartbeat.hold(claim("a")):
        ledger.away = True
        until(lambda: heartbeat.unheard)
        ledger.away = False
        before = len(ledger.beats)
        until(lambda: len(ledger.beats) > before)


def test_a_stopped_worker_leaves_the_roll_and_removes_its_ready_file(parts: Parts) -> None:
    _, presence, heartbeat, ready = parts
    heartbeat.stop()
    assert presence.left == ["w"]
    assert not ready.exists()


def test_a_lost_lease_is_logged_unless_the_job_just_ended(parts: Parts) -> None:
    ledger, presence, heartbeat, _ = parts
    ledger.lost = {"gone", "ended"}
    with capture_logs() as lines, heartbeat.hold(claim("gone")):
        with heartbeat.hold(claim("ended")):
            until(lambda: "ended" in ledger.beats)
        beaten(presence, times=3)
    assert {line["job_id"] for line in lines if line["event"] == "job.lease_lost"} == {"gone"}
