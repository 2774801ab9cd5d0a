import time
from collections.abc import Callable, Iterator
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
from shared.ledger.admission import Limits
from shared.operations import Operation
from tests.doubles import RecordingDoorbell
from tests.memory_ledger import MemoryLedger
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


class House:
    """A ledger, a doorbell, and a fetcher between them."""

    def __init__(self, network: Network, *, found: list[str] | None = None, **settings: Any) -> None:
        self.ledger = MemoryLedger()
        self.doorbell = RecordingDoorbell()
        self.network = network
        self.lookups = 0
        self.settings = ApiSettings(image_url_hosts="photos.example.org", **settings)

        async def resolve(host: str, port: int) -> list[str]:
            del host, port
            self.lookups += 1
            return found or [PUBLIC]

        self.fetcher = Fetcher(
            self.ledger.fetches,
            self.ledger.pressure,
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

    @contextmanager
    def open(self) -> Iterator["House"]:
        self.fetcher.start()
        try:
            yield self
        finally:
            self.fetcher.stop()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def picture() -> Network:
    return Network(answer(body=JPEG, content_length=str(len(JPEG))))


def test_a_valid_image_is_supplied_and_rings_the_doorbell() -> None:
    with House(picture()).open() as house:
        job_id = house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
        claim = house.ledger.claim("w")
    assert claim is not None
    assert (claim.job.id, claim.image) == (job_id, JPEG)


def test_the_queue_is_checked_every_second_without_a_notification() -> None:
    with House(picture()).open() as house:
        time.sleep(0.1)  # it has seen the empty line
        house.accept()
        until(lambda: house.doorbell.rings == 1)


def test_a_url_removed_from_the_allowlist_is_refused_at_the_fetch() -> None:
    with House(picture()).open() as house:
        job_id = house.accept("https://elsewhere.example/1.jpg")
        house.fetcher.wake()
        until(lambda: house.status(job_id) is Status.FAILED)
        job = house.ledger.read(job_id)
    assert job is not None
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == (ErrorCode.IMAGE_URL_REFUSED, False)
    assert "image.url" in job.error.detail
    assert house.lookups == 0


def test_an_unreachable_reference_fails_the_job_at_once() -> None:
    with House(Hanging(), found=["127.0.0.1"]).open() as house:
        job_id = house.accept(None, image=JPEG, reference_url=URL)
        house.fetcher.wake()
        until(lambda: house.status(job_id) is Status.FAILED)
        job = house.ledger.read(job_id)
    assert job is not None
    assert job.error is not None
    assert job.error.code is ErrorCode.IMAGE_URL_REFUSED
    assert job.error.detail.startswith("The reference: ")


def test_no_more_fetches_are_taken_than_may_run_concurrently() -> None:
    with House(Hanging(), image_url_parallel=2).open() as house:
        jobs = [house.accept() for _ in range(5)]
        house.fetcher.wake()
        until(lambda: len(house.network.connected) == 2)
        time.sleep(0.05)
        house.fetcher.wake()
        time.sleep(0.05)
        assert len(house.network.connected) == 2
        assert sum(until > 0 for until in house.ledger.fetches.held.values()) == 2
    assert list(house.ledger.fetches.held) == jobs


def test_a_stop_releases_fetches_in_progress() -> None:
    house = House(Hanging())
    with house.open():
        job_id = house.accept()
        house.fetcher.wake()
        until(lambda: bool(house.network.connected))
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert house.ledger.fetches.held == {job_id: 0.0}
    house.fetcher.wake()  # a route that is a moment late
    house.fetcher.stop()


def test_nothing_is_fetched_while_the_store_is_nearly_full() -> None:
    with House(picture()).open() as house:
        house.ledger.pressure.high = True
        house.accept()
        house.fetcher.wake()
        time.sleep(0.1)
        assert house.network.connected == []
        house.ledger.pressure.high = False
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)


def test_fetching_resumes_after_an_outage_of_the_store() -> None:
    with structlog.testing.capture_logs() as logs, House(picture()).open() as house:
        house.accept()
        house.ledger.broken = True
        for _ in range(3):
            house.fetcher.wake()
            time.sleep(0.05)
        house.ledger.broken = False
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


def test_an_unexpected_error_fails_only_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(picture())
    stumble, _ = once(house.ledger.fetches.supply)
    monkeypatch.setattr(house.ledger.fetches, "supply", stumble)
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


def test_fetching_continues_after_an_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(picture())
    stumble, left = once(house.ledger.fetches.take)
    monkeypatch.setattr(house.ledger.fetches, "take", stumble)
    with structlog.testing.capture_logs() as logs, house.open():
        until(lambda: not left)
        house.accept()
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["fetches.failed"]


def test_no_log_line_contains_the_path_of_a_url() -> None:
    with structlog.testing.capture_logs() as logs, House(picture()).open() as house:
        house.accept()
        house.accept("https://elsewhere.example/?token=secret")
        house.fetcher.wake()
        until(lambda: house.doorbell.rings == 1)
        until(lambda: not house.ledger.fetches.held)
    assert {"fetch.supplied", "fetch.refused"} <= {entry["event"] for entry in logs}
    assert "secret" not in str(logs)
