"""Waiting for a job: no completion is missed, and waiters are cheap."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from api.backend import waiting as module
from api.backend.waiting import REREAD_MOST, Waiting
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, NewJob, Status, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Outcome
from shared.operations import Operation
from tests.memory_ledger import MemoryLedger

LONG = timedelta(seconds=20)
NEVER = timedelta(hours=1)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, timeout=15))


def accept(ledger: MemoryLedger, job_id: str | None = None) -> str:
    job_id = job_id or new_job_id(shard=0, now_ms=1)
    ledger.accept(
        NewJob(id=job_id, operation=Operation.DETECT, params={}, image=b"x", result_ttl=LONG), limits=Limits(100_000)
    )
    return job_id


def end_next(ledger: MemoryLedger) -> None:
    claim = ledger.claim("w")
    assert claim is not None
    ledger.finish(claim.job.id, claim.token, Outcome(result={}))


def void(_: object) -> None:
    """Nothing."""


async def settle() -> None:
    await asyncio.sleep(0.05)


def test_a_completed_job_is_returned_at_once() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        job_id = accept(ledger)
        end_next(ledger)
        assert (await Waiting(ledger).wait_for_end(job_id, timeout=LONG)).status is Status.SUCCEEDED

    run(case())


def test_an_event_wakes_every_waiter_of_its_job() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        waits = [asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG)) for _ in range(3)]
        await settle()
        end_next(ledger)
        waiting.hear(job_id, Status.SUCCEEDED)
        assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}

    run(case())


def test_events_before_completion_wake_no_waiter() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        waiting.hear(job_id, Status.RUNNING)
        waiting.hear("job_of_somebody_else", Status.SUCCEEDED)
        await settle()
        assert not wait.done()
        assert ledger.reads == 1
        wait.cancel()

    run(case())


def test_a_completion_right_after_the_first_read_is_not_missed() -> None:
    class EndsAfterFirstRead(MemoryLedger):
        def read(self, job_id: str) -> Job | None:
            job = super().read(job_id)
            if self.reads == 1:
                end_next(self)
            return job

    async def case() -> None:
        ledger = EndsAfterFirstRead()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        loop = asyncio.get_running_loop()
        ledger.listeners.append(lambda i, status: void(loop.call_soon_threadsafe(waiting.hear, i, status)))
        assert (await waiting.wait_for_end(job_id, timeout=LONG)).status is Status.SUCCEEDED

    run(case())


def test_a_lost_event_is_caught_up_by_reading_again() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=timedelta(seconds=0.05))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        end_next(ledger)
        assert (await wait).status is Status.SUCCEEDED
        rereading.cancel()

    run(case())


def test_a_failed_pass_is_repeated() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        ledger.broken = True
        await settle()
        ledger.broken = False
        end_next(ledger)
        assert (await wait).status is Status.SUCCEEDED
        rereading.cancel()

    run(case())


def test_catching_up_reads_everything_at_once() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        rereading = asyncio.create_task(waiting.reread())
        job_ids = [accept(ledger) for _ in range(REREAD_MOST + 50)]
        waits = [asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG)) for job_id in job_ids]
        while ledger.reads < len(job_ids):
            await settle()
        for _ in job_ids:
            end_next(ledger)
        waiting.catch_up()
        assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}
        rereading.cancel()

    run(case())


def test_the_current_job_is_returned_on_timeout() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        job = await Waiting(ledger).wait_for_end(accept(ledger), timeout=timedelta(seconds=0.05))
        assert job.status is Status.QUEUED

    run(case())


def test_an_unknown_job_is_not_found() -> None:
    async def case() -> None:
        with pytest.raises(RequestError) as caught:
            await Waiting(MemoryLedger()).wait_for_end("job_x", timeout=LONG)
        assert caught.value.code is ErrorCode.JOB_NOT_FOUND

    run(case())


def test_a_job_that_expires_during_a_wait_is_not_found() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        ledger.forget(job_id)
        with pytest.raises(RequestError):
            await wait
        rereading.cancel()

    run(case())


def test_an_unavailable_store_is_an_error() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        job_id = accept(ledger)
        ledger.broken = True
        with pytest.raises(UnavailableError):
            await Waiting(ledger).wait_for_end(job_id, timeout=LONG)

    run(case())


def test_no_watch_is_kept_after_it_ends() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        await waiting.wait_for_end(job_id, timeout=timedelta(0))
        with waiting.watch(job_id, transitions=True):
            during = waiting.of_transitions
        assert (during, waiting.of_transitions) == (True, False)
        assert waiting._watches == {}

    run(case())


def test_a_stopping_process_cuts_all_waits_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HURRY", timedelta(seconds=0.05))

    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(accept(ledger), timeout=NEVER))
        await settle()
        waiting.hurry()
        assert (await wait).status is Status.QUEUED

    run(case())


def test_ten_thousand_waiters_cost_one_bounded_pass() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=timedelta(seconds=0.05))
        ids = [accept(ledger) for _ in range(10_000)]
        watches = [waiting.watch(job_id) for job_id in ids]
        for watch in watches:
            waiting.enter(watch)
        before = len(asyncio.all_tasks())
        await waiting._pass(REREAD_MOST)
        assert ledger.reads == REREAD_MOST
        assert len(asyncio.all_tasks()) == before
        await waiting._pass(REREAD_MOST)
        assert list(waiting._watches)[-1] == ids[2 * REREAD_MOST - 1]  # the next ones had their turn
        assert not any(watch._happened.is_set() for watch in watches)

    run(case())


def test_a_watch_of_transitions_sees_each_change_once() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        with waiting.watch(job_id, transitions=True) as watch:
            waiting.hear(job_id, Status.QUEUED)  # may be newer than what a read will say
            assert watch._happened.is_set()
            await watch.read()
            waiting.hear(job_id, Status.QUEUED)  # an echo of what was read
            assert not await watch.happened(within=timedelta(seconds=0.01))
            waiting.hear(job_id, Status.RUNNING)
            assert await watch.happened(within=LONG)

    run(case())


def test_a_wait_from_submission_reads_the_job_only_on_completion() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        loop = asyncio.get_running_loop()
        ledger.listeners.append(lambda i, status: void(loop.call_soon_threadsafe(waiting.hear, i, status)))
        job_id = new_job_id(shard=0, now_ms=1)
        with waiting.watch(job_id) as watch:
            known = ledger.read(accept(ledger, job_id))
            ledger.reads = 0
            wait = asyncio.create_task(watch.end(known, timeout=LONG))
            await settle()
            assert ledger.reads == 0
            end_next(ledger)
            assert (await wait).status is Status.SUCCEEDED
            assert ledger.reads == 1

    run(case())


@pytest.mark.parametrize("late", [False, True])
def test_a_completion_near_the_timeout_returns_the_current_job(*, late: bool) -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=timedelta(seconds=0.1)))
        await asyncio.sleep(0.05)
        if not late:
            end_next(ledger)  # nobody tells: the look at the limit finds it
        job = await wait
        assert job.status is (Status.QUEUED if late else Status.SUCCEEDED)

    run(case())


def test_an_erased_job_wakes_its_waits() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        ledger.delete(job_id)
        waiting.hear(job_id, None)
        with pytest.raises(RequestError) as caught:
            await wait
        assert caught.value.code is ErrorCode.JOB_NOT_FOUND

    run(case())
