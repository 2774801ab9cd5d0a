"""A stuck job costs its process, not its neighbours; and nothing keeps a stuck process alive."""

import faulthandler
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, Job, JobFailure, Status
from shared.ledger.jobs.store import Ledger
from shared.ledger.presence import Presence, WorkerInfo
from shared.operations import Operation
from worker.execution import watchdog as watchdog_module
from worker.execution.exclusive_gate import ExclusiveGate
from worker.execution.leases import Heartbeat
from worker.execution.watchdog import STUCK, Watchdog

ROOT = Path(__file__).resolve().parents[4]
INFO = WorkerInfo(worker="w", model_pack="p", embedding_contract="c", embedding_size=512, provider="CPU", threads=1)
LIMIT = timedelta(seconds=60)


class ReleasingLedger(Ledger):
    """A ledger that notes what is given back; it can be away, or hang."""

    def __init__(self) -> None:
        self.lease = timedelta(seconds=10)
        self.released: dict[str, JobFailure | None] = {}
        self.away = False
        self.hangs = threading.Event()

    def release(self, job_id: str, token: str, *, failure: JobFailure | None = None, max_attempts: int) -> bool:
        assert (token, max_attempts) == (f"{job_id}:1", 3)
        if self.away:
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "away")
        if self.hangs.is_set():
            time.sleep(5)
        self.released[job_id] = failure
        return True


class Roll(Presence):
    """A roll that remembers who left."""

    def __init__(self) -> None:
        self.left: list[str] = []

    def leave(self, worker: str) -> None:
        self.left.append(worker)


def claimed(name: str, *, operation: Operation = Operation.DETECT) -> Claim:
    job = Job(id=name, operation=operation, status=Status.RUNNING, created_at=0)
    return Claim(job=job, token=f"{name}:1", image=b"", reference=None)


class Scene:
    """A watchdog with a clock that is set by hand, and an end that is only noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: list[int] = []
        self.ledger, self.roll, self.exclusive_gate = ReleasingLedger(), Roll(), ExclusiveGate()
        self.heartbeat = Heartbeat(self.ledger, self.roll, INFO)
        self.watchdog = Watchdog(
            self.ledger,
            self.heartbeat,
            self.exclusive_gate,
            limits={**dict.fromkeys(Operation, LIMIT), Operation.ANALYZE: 3 * LIMIT},
            max_attempts=3,
            now=lambda: self.now,
            end=self.ends.append,
        )

    def begin(self, jobs: ExitStack, name: str, *, operation: Operation = Operation.DETECT) -> None:
        claim = claimed(name, operation=operation)
        jobs.enter_context(self.heartbeat.hold(claim))
        jobs.enter_context(self.watchdog.watch(claim, stage=lambda: "embed"))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_job_within_the_limit_is_left_alone(scene: Scene) -> None:
    with ExitStack() as jobs:
        scene.begin(jobs, "a")
        scene.now = 60.0
        scene.watchdog.look()
    scene.now = 1000.0
    scene.watchdog.look()
    assert scene.ends == []


def test_each_operation_has_its_own_limit(scene: Scene) -> None:
    with ExitStack() as jobs:
        scene.begin(jobs, "long", operation=Operation.ANALYZE)
        scene.now = 170.0
        scene.watchdog.look()
        assert scene.ends == []
        scene.now = 181.0
        scene.watchdog.look()
    assert scene.ends == [STUCK]
    failure = scene.ledger.released["long"]
    assert failure is not None
    assert failure.detail == "The job ran longer than 180 s."


def test_a_stuck_job_ends_the_process_and_only_it_loses_an_attempt(scene: Scene) -> None:
    with ExitStack() as jobs, capture_logs() as log:
        scene.begin(jobs, "stuck")
        scene.now = 59.0
        scene.begin(jobs, "innocent")
        scene.now = 61.0
        scene.watchdog.look()
    assert scene.ends == [STUCK]
    assert scene.ledger.released["innocent"] is None
    failure = scene.ledger.released["stuck"]
    assert failure is not None
    assert (failure.code, failure.retryable) == (ErrorCode.TIMED_OUT, True)
    assert scene.roll.left == ["w"]
    assert log[0] == {"event": "job.stuck", "log_level": "error", "job_id": "stuck", "stage": "embed", "seconds": 61.0}


def test_a_stuck_process_ends_though_it_gets_no_new_thread(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with ExitStack() as jobs:
        scene.begin(jobs, "stuck")
        scene.now = 61.0
        scene.watchdog.look()
    assert scene.ends == [STUCK]
    assert scene.ledger.released == {}  # its lease expires


def test_a_process_that_is_ending_claims_no_more_jobs(scene: Scene) -> None:
    with ExitStack() as jobs:
        scene.begin(jobs, "stuck")
        scene.now = 61.0
        scene.watchdog.look()
    assert scene.exclusive_gate.enter() is None


def test_an_unavailable_ledger_keeps_no_stuck_process_alive(scene: Scene) -> None:
    scene.ledger.away = True
    with ExitStack() as jobs, capture_logs() as log:
        scene.begin(jobs, "stuck")
        scene.now = 61.0
        scene.watchdog.look()
    assert scene.ends == [STUCK]
    assert "job.unreleased" in [line["event"] for line in log]


def test_a_ledger_that_hangs_keeps_no_stuck_process_alive(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_module, "PATIENCE", timedelta(seconds=0.05))
    scene.ledger.hangs.set()
    with ExitStack() as jobs:
        scene.begin(jobs, "stuck")
        scene.now = 61.0
        scene.watchdog.look()
    assert scene.ends == [STUCK]


def test_a_switch_without_memory_for_its_thread_is_armed_at_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_delay: float, *, exit: bool) -> None:  # noqa: A002 - the name that faulthandler gives it
        assert exit
        message = "unable to start watchdog thread"
        raise RuntimeError(message)

    monkeypatch.setattr(faulthandler, "dump_traceback_later", refuse)
    with pytest.raises(MemoryError, match="unable to start"):
        watchdog_module.dead_mans_switch(LIMIT)


def test_the_thread_checks_jobs_and_arms_the_switch() -> None:
    ended = threading.Event()
    armed: list[timedelta] = []
    ledger, exclusive_gate = ReleasingLedger(), ExclusiveGate()
    heartbeat = Heartbeat(ledger, Roll(), INFO)

    def end(_status: int) -> None:
        ended.set()

    dog = Watchdog(
        ledger,
        heartbeat,
        exclusive_gate,
        limits=dict.fromkeys(Operation, timedelta(seconds=0.1)),
        max_attempts=3,
        end=end,
        arm=armed.append,
    )
    dog.start()
    with dog.watch(claimed("a"), stage=lambda: "detect"):
        assert ended.wait(60)
    dog.stop()
    assert armed[0] == timedelta(seconds=10.1)


def test_a_call_that_holds_the_interpreter_lock_ends_the_process_too() -> None:
    holds_the_lock = (
        "import ctypes, datetime\n"
        "from worker.execution.watchdog import dead_mans_switch\n"
        "dead_mans_switch(datetime.timedelta(seconds=0.3))\n"
        "ctypes.PyDLL(None).sleep(600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", holds_the_lock],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
