import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpcore
import pytest
import structlog

from api.backend.fetcher import Fetcher
from api.settings.api import ApiSettings
from shared.errors import ErrorCode
from shared.jobs import NewJob, Status, new_job_id
from shared.ledger.admission import QUERY_EVERY, Limits, Pressure
from shared.ledger.jobs.fetches import Fetch, Fetches
from shared.operations import Operation
from tests.doubles import RecordingDoorbell
from tests.store import LiveStore
from tests.unit.api.networks import Network, answer
from tests.unit.api.pictures import JPEG

URL = "https://photos.example.org/1.jpg?token=secret"
PUBLIC = "93.184.215.14"


class Hanging(Network):
    """Takes every connection and says nothing."""

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        await self.sleep(60)
        raise AssertionError


class CountingFetches(Fetches):
    """The queue of jobs that wait for their images, with the number of looks at it."""

    looks = 0

    def take(self, *, most: int, hold: timedelta, held: Iterable[Fetch] = ()) -> list[Fetch]:
        try:
            return super().take(most=most, hold=hold, held=held)
        finally:
            self.looks += 1


class House:
    """A ledger, a doorbell, and a fetcher between them."""

    def __init__(self, store: LiveStore, network: Network, *, found: list[str] | None = None, **settings: Any) -> None:
        self.store = store
        self.ledger = store.ledger()
        self.fetches = CountingFetches(store.client, shards=1, retry_window=timedelta(hours=1))
        self.clock = 0.0
        self.pressure = Pressure(store.client, now=lambda: self.clock)
        self.doorbell = RecordingDoorbell()
        self.network = network
        self.lookups = 0
        self.settings = ApiSettings(image_url_hosts="photos.example.org,*.cdn.example.com", **settings)

        async def resolve(host: str, port: int) -> list[str]:
            del host, port
            self.lookups += 1
            return found or [PUBLIC]

        self.fetcher = Fetcher(
            self.fetches,
            self.pressure,
            self.doorbell,
            settings=self.settings,
            resolve=resolve,
            network=network,
        )

    def accept(self, url: str | None = URL, **more: Any) -> str:
        job_id = new_job_id(shard=0, now_ms=1)
        new = NewJob(
            id=job_id, operation=Operation.DETECT, params={}, result_ttl=timedelta(hours=1), image_url=url, **more
        )
        self.ledger.accept(new, limits=Limits(100))
        return job_id

    def status(self, job_id: str) -> Status:
        job = self.ledger.read(job_id)
        assert job is not None
        return job.status

    def wake(self) -> None:
        """Wake the fetcher, and return once it waits again."""
        self.fetcher.wake()
        asyncio.run_coroutine_threadsafe(_turns(), self.fetcher._loop).result()

    def look(self, *, times: int) -> None:
        """Return after so many looks at the queue that began from now on."""
        last = self.fetches.looks + 1 + times
        while self.fetches.looks < last:
            self.wake()

    @contextmanager
    def open(self) -> Iterator["House"]:
        self.fetcher.start()
        try:
            yield self
        finally:
            self.fetcher.stop()


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def picture() -> Network:
    return Network(answer(body=JPEG, content_length=str(len(JPEG))))


def test_a_valid_image_is_supplied_and_rings_the_doorbell(store: LiveStore) -> None:
    with House(store, picture()).open() as house:
        job_id = house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
        claim = house.ledger.claim("w")
    assert claim is not None
    assert (claim.job.id, claim.image) == (job_id, JPEG)


def test_the_queue_is_checked_every_second_without_a_notification(store: LiveStore) -> None:
    with House(store, picture()).open() as house:
        until(lambda: house.fetches.looks > 0)
        house.accept()
        until(lambda: house.doorbell.rings == 1)


def test_a_url_removed_from_the_allowlist_is_refused_at_the_fetch(store: LiveStore) -> None:
    with House(store, picture()).open() as house:
        job_id = house.accept("https://elsewhere.example/1.jpg")
        house.fetcher.wake()
        until(lambda: house.status(job_id) is Status.FAILED)
        job = house.ledger.read(job_id)
    assert job is not None
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (ErrorCode.IMAGE_URL_REFUSED, False)
    assert "image.url" in job.error.detail
    assert house.lookups == 0


def test_an_unreachable_reference_fails_the_job_at_once(store: LiveStore) -> None:
    with House(store, Hanging(), found=["127.0.0.1"]).open() as house:
        job_id = house.accept(None, image=JPEG, reference_url=URL)
        house.fetcher.wake()
        until(lambda: house.status(job_id) is Status.FAILED)
        job = house.ledger.read(job_id)
    assert job is not None
    assert job.error is not None
    assert job.error.code is ErrorCode.IMAGE_URL_REFUSED
    assert job.error.detail.startswith("The reference: ")


def test_no_more_fetches_are_taken_than_may_run_concurrently(store: LiveStore) -> None:
    with House(store, Hanging(), image_url_parallel=2).open() as house:
        jobs = [house.accept(f"https://{number}.cdn.example.com/1.jpg") for number in range(5)]
        house.fetcher.wake()
        until(lambda: len(house.network.connected) == 2)
        house.wake()
        assert len(house.network.connected) == 2
        assert sum(until > time.time() for until in store.fetches().values()) == 2
    assert sorted(store.fetches()) == sorted(jobs)


def test_a_stop_releases_fetches_in_progress(store: LiveStore) -> None:
    house = House(store, Hanging())
    with house.open():
        job_id = house.accept()
        house.fetcher.wake()
        until(lambda: bool(house.network.connected))
    assert not house.fetcher._thread.is_alive()
    assert store.fetches() == {job_id: 0.0}
    house.fetcher.wake()  # a route that is a moment late
    house.fetcher.stop()


def test_nothing_is_fetched_while_the_store_is_nearly_full(store: LiveStore) -> None:
    house = House(store, picture())
    house.accept()
    store.fill()
    with structlog.testing.capture_logs() as logs, house.open():
        until(lambda: "fetches.paused" in [entry["event"] for entry in logs])
        assert house.network.connected == []
        store.inside.config_set("maxmemory", 0)
        house.clock += QUERY_EVERY.total_seconds()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)


def test_fetching_resumes_after_an_outage_of_the_store(store: LiveStore) -> None:
    with structlog.testing.capture_logs() as logs, House(store, picture()).open() as house:
        until(lambda: house.fetches.looks > 0)
        store.away = True
        house.look(times=3)
        store.away = False
        house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
    assert [entry["event"] for entry in logs].count("fetches.paused") == 1


def once(fail: Callable[..., Any]) -> tuple[Callable[..., Any], list[bool]]:
    """The same, but for its first call."""
    left = [True]

    def stumble(*given: Any, **named: Any) -> Any:
        if left:
            left.clear()
            raise ZeroDivisionError
        return fail(*given, **named)

    return stumble, left


def test_an_unexpected_error_fails_only_its_job(store: LiveStore, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(store, picture())
    stumble, _ = once(house.fetches.supply)
    monkeypatch.setattr(house.fetches, "supply", stumble)
    with structlog.testing.capture_logs() as logs, house.open():
        first = house.accept()
        house.fetcher.wake()
        until(lambda: house.status(first) is Status.FAILED)
        house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
    job = house.ledger.read(first)
    assert job is not None
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (ErrorCode.INTERNAL_ERROR, True)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["fetch.failed"]


def test_fetching_continues_after_an_unexpected_error(store: LiveStore, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(store, picture())
    stumble, left = once(house.fetches.take)
    monkeypatch.setattr(house.fetches, "take", stumble)
    with structlog.testing.capture_logs() as logs, house.open():
        until(lambda: not left)
        house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["fetches.failed"]


def test_no_log_line_contains_the_path_of_a_url(store: LiveStore) -> None:
    with structlog.testing.capture_logs() as logs, House(store, picture()).open() as house:
        house.accept()
        house.accept("https://elsewhere.example/?token=secret")
        house.fetcher.wake()
        until(lambda: {"fetch.supplied", "fetch.refused"} <= {entry["event"] for entry in logs})
    assert "secret" not in str(logs)


def test_a_refusal_that_a_stop_overtakes_is_logged(store: LiveStore, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(store, picture())
    refuse, written, stopped = house.fetches.refuse, threading.Event(), threading.Event()

    def linger(*given: Any) -> bool:
        refused = refuse(*given)
        written.set()
        stopped.wait(timeout=300)
        return refused

    monkeypatch.setattr(house.fetches, "refuse", linger)
    with structlog.testing.capture_logs() as logs:
        with house.open():
            job_id = house.accept("https://elsewhere.example/1.jpg")
            house.fetcher.wake()
            assert written.wait(timeout=300)
        stopped.set()
        until(lambda: "fetch.refused" in [entry["event"] for entry in logs])
    assert house.status(job_id) is Status.FAILED
