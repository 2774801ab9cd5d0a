"""Canceling a running job frees its worker at the next stage, through the real store's channel."""

import threading
import time
from datetime import timedelta

from shared.jobs import NewJob, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Ledger
from shared.operations import Operation
from tests.integration.breaking import until
from tests.integration.servers import Server
from worker.execution.cancellation import Cancels, TakenError


def taken_within(check: object, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            check()  # type: ignore[operator]
        except TakenError:
            return True
        time.sleep(0.01)
    return False


def running(ledger: Ledger) -> str:
    job = NewJob(
        id=new_job_id(shard=0, now_ms=1),
        operation=Operation.DETECT,
        params={},
        image=b"x",
        result_ttl=timedelta(hours=1),
    )
    ledger.accept(job, limits=Limits(10))
    assert ledger.claim("w") is not None
    return job.id


def test_cancel_and_erase_reach_the_worker_at_once_even_after_an_outage(ledger: Ledger, ledger_server: Server) -> None:
    cancels = Cancels(ledger)
    cancels.start()
    try:
        for act in (ledger.cancel, ledger.delete):
            job_id = running(ledger)
            time.sleep(0.2)
            with cancels.watch(job_id) as check:
                assert not taken_within(check, 0.05)
                act(job_id)
                assert taken_within(check, 1)
        ledger_server.kill()
        ledger_server.start()
        time.sleep(2.5)
        job_id = running(ledger)
        with cancels.watch(job_id) as check:
            ledger.cancel(job_id)
            assert taken_within(check, 1)
    finally:
        cancels.stop()
    until(lambda: "cancels" not in {thread.name for thread in threading.enumerate()})
