"""The subscription: channels, watches of transitions, and reconnects."""

import asyncio
from datetime import timedelta
from typing import Any, Self

import pytest
import redis
import structlog
from redis.asyncio import Redis

from api.backend import subscription as module
from api.backend.subscription import follow
from api.backend.waiting import Waiting
from shared.jobs import Status
from tests.store import CountingLedger
from tests.unit.api.backend.test_waiting import LONG, NEVER, accept, end_next, run, until

ENDS, MOVES = "vultus:{0}:ends", "vultus:{0}:moves"


class FakeEvents:
    """The driver's subscription, driven by a script of messages, silences and errors."""

    def __init__(self, script: list[Any]) -> None:
        self._script = script
        self.subscribed: list[tuple[str, ...]] = []
        self.unsubscribed: list[tuple[str, ...]] = []
        self.pings = 0
        self.done = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, *channels: str) -> None:
        self.subscribed.append(channels)

    async def unsubscribe(self, *channels: str) -> None:
        self.unsubscribed.append(channels)

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


async def settle() -> None:
    """Let every task go on until it waits; nothing here waits for more than the next turn of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


async def follow_script(script: list[Any], waiting: Waiting) -> FakeEvents:
    client = FakeRedis(script)
    task = asyncio.create_task(follow(client, completions=[ENDS], transitions=[MOVES], waiting=waiting))
    await client.events.done.wait()
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return client.events


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONNECT", timedelta(seconds=0.01))


@pytest.mark.usefixtures("_at_once")
def test_a_published_completion_reaches_its_waiter(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads == 1)
        end_next(ledger)
        await follow_script([None, {"type": "pong", "data": b""}, ended(job_id)], waiting)
        assert (await wait).status is Status.SUCCEEDED

    run(case())


@pytest.mark.usefixtures("_at_once")
def test_a_restarted_store_is_logged_once_each_way(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        rereading = asyncio.create_task(waiting.reread())
        job_id = accept(ledger)
        wait = asyncio.create_task(waiting.wait_for_end(job_id, timeout=LONG))
        await until(lambda: ledger.reads == 1)
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
def test_a_silent_connection_gets_a_ping_and_is_then_dropped(ledger: CountingLedger) -> None:
    async def case() -> None:
        events = await follow_script([None, None, None], Waiting(ledger))
        assert events.pings == 2  # asked, given up, asked again on the new line
        assert len(events.subscribed) == 2

    run(case())


def heard(channel: str) -> dict[str, Any]:
    return {"type": "subscribe", "channel": channel.encode(), "data": 1}


def test_transitions_are_subscribed_only_while_watched(ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", timedelta(0))

    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        client = FakeRedis([heard(ENDS)])
        task = asyncio.create_task(follow(client, completions=[ENDS], transitions=[MOVES], waiting=waiting))
        await settle()
        with waiting.watch("job_a"):
            await settle()
        assert client.events.subscribed == [(ENDS,)]
        with waiting.watch("job_a", transitions=True), waiting.watch("job_b", transitions=True):
            await settle()
            assert client.events.subscribed == [(ENDS,), (MOVES,)]
        with waiting.watch("job_a", transitions=True):  # at once after: nothing was given up in between
            await settle()
        assert (client.events.subscribed, client.events.unsubscribed) == ([(ENDS,), (MOVES,)], [])
        await until(lambda: client.events.unsubscribed == [(MOVES,)])
        with waiting.watch("job_a", transitions=True):
            await settle()
        assert client.events.subscribed == [(ENDS,), (MOVES,), (MOVES,)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(case())


def test_moves_are_still_heard_for_a_while_after_the_last_request(
    ledger: CountingLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", NEVER)

    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        client = FakeRedis([heard(ENDS)])
        task = asyncio.create_task(follow(client, completions=[ENDS], transitions=[MOVES], waiting=waiting))
        for _ in range(2):
            with waiting.watch("job_a", transitions=True):
                await settle()
            await settle()
        assert (client.events.subscribed, client.events.unsubscribed) == ([(ENDS, MOVES)], [])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(case())


def test_a_watch_older_than_the_subscription_reads_again(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        job_id = accept(ledger)
        with waiting.watch(job_id, transitions=True) as watch, waiting.watch(job_id) as end:
            await watch.read()
            await end.read()
            ledger.claim("w")  # published before the subscription was there
            await follow_script([heard(ENDS)], waiting)
            assert not watch._happened.is_set()
            await follow_script([heard(MOVES)], waiting)
            assert watch._happened.is_set()
            assert not end._happened.is_set()

    run(case())


@pytest.mark.usefixtures("_at_once")
def test_a_new_connection_subscribes_to_transitions_at_once(ledger: CountingLedger) -> None:
    async def case() -> None:
        waiting = Waiting(ledger, reread=NEVER)
        with waiting.watch("job_a", transitions=True):
            events = await follow_script([OSError()], waiting)
        assert events.subscribed == [(ENDS, MOVES), (ENDS, MOVES)]

    run(case())
