"""Waiting for a job: no completion is missed, and waiters are cheap."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from api.backend import waiting as module
from api.backend.waiting import REREAD_MOST, Waiting
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, NewJob, Status, new_job_id
from shared.ledger import keys
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Ledger, Outcome
from shared.operations import Operation
from shared.tenants import DEFAULT
from tests.clock import run as run_with_made_clock
from tests.store import CountingLedger, LiveStore

LONG = timedelta(minutes=5)
NEVER = timedelta(hours=1)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, LONG.total_seconds()))


def accept(ledger: Ledger, job_id: str | None = None) -> str:
    job_id = job_id or new_job_id(shard=0, now_ms=1)
    ledger.accept(
        NewJob(id=job_id, operation=Operation.DETECT, params={}, image=b"x", result_ttl=LONG), limits=Limits(100_000)
    )
    return job_id


def end_next(ledger: Ledger) -> None:
    claim = ledger.claim("w")
    assert claim is not None
    ledger.finish(claim.job.id, claim.token, Outcome(result={}))


async def until(condition: Callable[[], bool]) -> None:
    """Return once this is so; `run` ends what never becomes so."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads and in the store
        await asyncio.sleep(0.001)


def test_a_completed_job_is_returned_at_once(ledger: CountingLedger) -> None:
    async def case() -> None:
        job_id = accept(ledger)
        end_next(ledger)
        assert (await Waiting(ledger).wait_for_end(job_id, timeout=LONG)).status is Status.SUCCEEDED

    run(case())


def test_an_event_wakes_every_waiter_of_its_job(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        waits = [asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG)) for _ in range(3)]
        await until(lambda: ledger.reads == 3)
        end_next(ledger)
        waiting.hear(job_id, Status.SUCCEEDED)
        assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}

    run(case())


def test_events_before_completion_wake_no_waiter(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads == 1)
        waiting.hear(job_id, Status.RUNNING)
        waiting.hear(new_job_id(shard=0, now_ms=1), Status.SUCCEEDED)
        assert not any(watch._happened.is_set() for watch in waiting._watches[job_id])
        wait.cancel()

    run(case())


def test_a_completion_right_after_the_first_read_is_not_missed(store: LiveStore) -> None:
    class EndsAfterFirstRead(CountingLedger):
        def read(self, job_id: str) -> Job | None:
            job = super().read(job_id)
            if self.reads == 1:
                end_next(self)
            return job

    async def case() -> None:
        ledger = EndsAfterFirstRead(store.client, shards=1, lease=LONG)
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        async with store.followed(waiting):
            assert (await waiting.wait_for_end(job_id, timeout=LONG)).status is Status.SUCCEEDED

    run(case())


def test_a_lost_event_is_caught_up_by_reading_again(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.05))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads > 0)
        end_next(ledger)
        assert (await wait).status is Status.SUCCEEDED
        rereading.cancel()

    run(case())


def test_a_failed_pass_is_repeated(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads > 0)
        store.away = True
        await until(lambda: ledger.refused > 1)
        store.away = False
        end_next(ledger)
        assert (await wait).status is Status.SUCCEEDED
        rereading.cancel()

    run(case())


def test_catching_up_reads_everything_at_once(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        rereading = asyncio.create_task(waiting.reread())
        job_ids = [accept(ledger) for _ in range(REREAD_MOST + 50)]
        waits = [asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG)) for job_id in job_ids]
        await until(lambda: ledger.reads >= len(job_ids))
        for _ in job_ids:
            end_next(ledger)
        waiting.catch_up()
        assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}
        rereading.cancel()

    run(case())


def test_the_current_job_is_returned_on_timeout(ledger: CountingLedger) -> None:
    async def case() -> None:
        job = await Waiting(ledger).wait_for_end(accept(ledger), timeout=timedelta(seconds=0.05))
        assert job.status is Status.QUEUED

    run(case())


def test_an_unknown_job_is_not_found(ledger: CountingLedger) -> None:
    async def case() -> None:
        with pytest.raises(RequestError) as caught:
            await Waiting(ledger).wait_for_end(new_job_id(shard=0, now_ms=1), timeout=LONG)
        assert caught.value.code is ErrorCode.JOB_NOT_FOUND

    run(case())


def test_a_job_that_expires_during_a_wait_is_not_found(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.02))
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads > 0)
        store.forget(job_id)
        with pytest.raises(RequestError):
            await wait
        rereading.cancel()

    run(case())


def test_an_unavailable_store_is_an_error(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        job_id = accept(ledger)
        store.away = True
        with pytest.raises(UnavailableError):
            await Waiting(ledger).wait_for_end(job_id, timeout=LONG)

    run(case())


def test_no_watch_is_kept_after_it_ends(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads == 1)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        await waiting.wait_for_end(job_id, timeout=timedelta(0))
        with waiting.watch(job_id, transitions=True):
            during = waiting.of_transitions
        assert (during, waiting.of_transitions) == (True, False)
        assert waiting._watches == {}

    run(case())


def test_a_stopping_process_cuts_all_waits_short(ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HURRY", timedelta(seconds=0.05))

    async def case() -> None:
        waiting = Waiting(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(accept(ledger), timeout=NEVER))
        await until(lambda: ledger.reads == 1)
        waiting.hurry()
        assert (await wait).status is Status.QUEUED

    run(case())


def test_ten_thousand_waiters_cost_one_bounded_pass(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=timedelta(seconds=0.05))
        ids = [new_job_id(shard=0, now_ms=1) for _ in range(10_000)]
        with store.inside.pipeline(transaction=False) as records:
            for job_id in ids:
                records.hset(keys.job(0, job_id), "status", Status.QUEUED.value)
            records.execute()
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


def test_a_watch_of_transitions_sees_each_change_once(ledger: CountingLedger) -> None:
    async def case() -> None:
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


def test_a_wait_from_submission_reads_the_job_only_on_completion(ledger: CountingLedger, store: LiveStore) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = new_job_id(shard=0, now_ms=1)
        async with store.followed(waiting):
            with waiting.watch(job_id) as watch:
                job = ledger.read(accept(ledger, job_id))
                wait = asyncio.create_task(watch.end(job, timeout=LONG))
                await asyncio.sleep(0)
                assert ledger.reads == 1
                end_next(ledger)
                assert (await wait).status is Status.SUCCEEDED
                assert ledger.reads == 2

    run(case())


@pytest.mark.parametrize("late", [False, True])
def test_a_completion_near_the_timeout_returns_the_current_job(store: LiveStore, *, late: bool) -> None:
    class EndsBeforeLastRead(CountingLedger):
        def read(self, job_id: str) -> Job | None:
            if self.reads == 1 and not late:
                end_next(self)  # nothing announces it: only the read at the limit shows it
            return super().read(job_id)

    class ReadsAtOnce(Waiting):
        """Reads without a thread, so that the clock can be made."""

        async def read(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
            job = self._ledger.read(job_id)
            assert job is not None
            assert job.tenant == tenant
            return job

    async def case() -> None:
        ledger = EndsBeforeLastRead(store.client, shards=1, lease=LONG)
        job = await ReadsAtOnce(ledger).wait_for_end(accept(ledger), timeout=LONG)
        assert job.status is (Status.QUEUED if late else Status.SUCCEEDED)
        assert ledger.reads == 2

    run_with_made_clock(case())


def test_an_erased_job_wakes_its_waits(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads == 1)
        ledger.delete(job_id)
        waiting.hear(job_id, None)
        with pytest.raises(RequestError) as caught:
            await wait
        assert caught.value.code is ErrorCode.JOB_NOT_FOUND

    run(case())
