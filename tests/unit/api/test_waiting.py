"""Waiting for a job: no end is missed, no waiter costs more than a future."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Self

import pytest
import redis
import structlog
from redis.asyncio import Redis

from api import waiting as module
from api.waiting import REREAD_MOST, Waiting, follow
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, NewJob, Status, new_job_id
from shared.operations import Operation
from shared.storage.admission import Limits
from shared.storage.ledger import Outcome
from tests.memory_ledger import MemoryLedger

ENDS, MOVES = "vultus:{0}:ends", "vultus:{0}:moves"
LONG = timedelta(seconds=20)
NEVER = timedelta(hours=1)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, timeout=15))


def accept(ledger: MemoryLedger) -> str:
    job_id = new_job_id(shard=0, now_ms=1)
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


def test_a_job_that_has_ended_is_given_at_once() -> None:
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


def test_events_that_are_no_end_wake_nobody() -> None:
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


def test_an_end_right_after_the_first_read_is_not_missed() -> None:
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


def test_a_lost_event_is_made_up_for_by_reading_again() -> None:
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


def test_a_store_that_is_away_during_a_pass_is_asked_again() -> None:
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


def test_when_time_is_up_the_job_is_given_as_it_is() -> None:
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


def test_a_job_that_expires_while_it_is_waited_for_is_not_found() -> None:
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


def test_a_store_that_is_away_is_said_so() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        job_id = accept(ledger)
        ledger.broken = True
        with pytest.raises(UnavailableError):
            await Waiting(ledger).wait_for_end(job_id, timeout=LONG)

    run(case())


def test_nobody_is_remembered_after_leaving() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        await waiting.wait_for_end(job_id, timeout=timedelta(0))
        with waiting.watch(job_id, moves=True):
            during = waiting.of_moves
        assert (during, waiting.of_moves) == (True, False)
        assert waiting._watches == {}

    run(case())


def test_a_stopping_process_ends_every_wait_soon(monkeypatch: pytest.MonkeyPatch) -> None:
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


class FakeEvents:
    """The driver's subscription, driven by a script of messages, silences and errors."""

    def __init__(self, script: list[Any]) -> None:
        self._script = script
        self.subscribed: list[tuple[str, ...]] = []
        self.pings = 0
        self.done = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, *channels: str) -> None:
        self.subscribed.append(channels)

    async def ping(self) -> None:
        self.pings += 1

    async def get_message(self, *, timeout: float) -> Any:  # noqa: ASYNC109 - the driver's own name
        del timeout
        await asyncio.sleep(0)
        if not self._script:
            self.done.set()
            await asyncio.sleep(60)
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


class FakeRedis(Redis):
    """A client whose subscriptions are the script's."""

    def __init__(self, script: list[Any]) -> None:
        self.events = FakeEvents(script)

    def __del__(self, _warnings: Any = None, _grl: Any = None) -> None:
        pass

    def set_retry(self, retry: Any) -> None:
        assert retry.get_retries() == 0

    def pubsub(self, **_: Any) -> Any:
        return self.events


def ended(job_id: str) -> dict[str, Any]:
    return {"type": "message", "data": f"{job_id} succeeded".encode()}


async def follow_script(script: list[Any], waiting: Waiting) -> FakeEvents:
    client = FakeRedis(script)
    task = asyncio.create_task(follow(client, ends=[ENDS], moves=[MOVES], waiting=waiting))
    await client.events.done.wait()
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return client.events


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONNECT", timedelta(seconds=0.01))


@pytest.mark.usefixtures("_at_once")
def test_a_published_end_reaches_its_waiter() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        end_next(ledger)
        await follow_script([None, {"type": "pong", "data": b""}, ended(job_id)], waiting)
        assert (await wait).status is Status.SUCCEEDED

    run(case())


@pytest.mark.usefixtures("_at_once")
def test_a_store_that_restarts_is_found_again_with_one_line_each_way() -> None:
    async def case() -> None:
        ledger = MemoryLedger()
        waiting = Waiting(ledger, reread=NEVER)
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await settle()
        lost = [redis.exceptions.ConnectionError(), OSError(), redis.exceptions.BusyLoadingError()]
        with structlog.testing.capture_logs() as lines:
            end_next(ledger)  # nobody publishes it: the store is away
            events = await follow_script([*lost, None], waiting)
        assert (await wait).status is Status.SUCCEEDED
        assert len(events.subscribed) == len(lost) + 1
        counted = [line["event"] for line in lines]
        assert counted.count("events.away") <= len(lost)
        assert counted[:2] == ["events.away", "events.back"]
        rereading.cancel()

    run(case())


@pytest.mark.usefixtures("_at_once")
def test_a_silent_line_is_asked_and_then_given_up() -> None:
    async def case() -> None:
        events = await follow_script([None, None, None], Waiting(MemoryLedger()))
        assert events.pings == 2  # asked, given up, asked again on the new line
        assert len(events.subscribed) == 2

    run(case())
