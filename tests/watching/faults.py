"""Faults of a live stack, each with the alerts that it fires. Each ends, and is mended, with its context."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from tests.integration.breaking import picture
from tests.integration.partner import OK, says
from tests.integration.poisons import CRASHES, HANGS, KILLS, SLOW
from tests.integration.watched_stack import soon
from tests.watching.live import THREADS, WITHIN, Live


@dataclass(frozen=True)
class Fault:
    """What is done to a stack, and the alerts that it fires."""

    alerts: tuple[str, ...]
    cause: Callable[[Live], AbstractContextManager[None]]


FAULTS: Final[dict[str, Fault]] = {}
"""In order. Those that need a share of all jobs or callbacks come before those that cause many good ones."""


def fires(*alerts: str) -> Callable[[Callable[[Live], Iterator[None]]], None]:
    """Register a fault under the name of its function."""

    def register(body: Callable[[Live], Iterator[None]]) -> None:
        FAULTS[body.__name__] = Fault(alerts, contextmanager(body))

    return register


def fire(live: Live, fault: Fault) -> None:
    """Cause a fault of a stack that is ready, and wait until each of its alerts has fired since."""
    live.wait_ready()
    live.wait_resolved(fault.alerts)
    before = len(live.receiver.notifications)
    with fault.cause(live):
        live.wait_fired(fault.alerts, since=before)


@contextmanager
def ledger_setting(live: Live, name: str, value: str) -> Iterator[None]:
    """Change a setting of the ledger, and restore it at the end."""
    with live.ledger() as ledger:
        before = ledger.config_get(name)[name]
        ledger.config_set(name, value)
        try:
            yield
        finally:
            ledger.config_set(name, before)


@fires("VultusTwoContracts")
def worker_with_another_pack(live: Live) -> Iterator[None]:
    with live.second_worker():
        yield


@fires("VultusJobsWaitLong")
def slow_jobs(live: Live) -> Iterator[None]:
    jobs = [live.submit(picture(SLOW)).json()["id"] for _ in range(3 * THREADS)]
    for job in jobs:
        live.wait_ended(job)
    yield


@fires("VultusServerErrors", "VultusJobsFail")
def crashing_job(live: Live) -> Iterator[None]:
    response = live.post("/detect", files={"file": ("photo.png", picture(CRASHES), "image/png")})
    assert response.status_code == 500
    yield


@fires("VultusJobsLost")
def fatal_job(live: Live) -> Iterator[None]:
    live.wait_ended(live.submit(picture(KILLS)).json()["id"])
    yield


@fires("VultusPartnersFail", "VultusCallbacksLate")
def failing_receiver(live: Live) -> Iterator[None]:
    with closing(live.partner(*[says("500 Internal Server Error")] * 4, OK)) as partner:
        live.submit(webhook=partner)
        yield


@fires("VultusEndpointDisabled")
def endpoint_that_is_gone(live: Live) -> Iterator[None]:
    with closing(live.partner(says("410 Gone"))) as partner:
        assert live.post("/v1/webhook-endpoints", json={"url": partner.url()}).status_code == 201
        live.submit()
        yield


@fires("VultusLedgerNearlyFull", "VultusRefusing")
def full_ledger(live: Live) -> Iterator[None]:
    with live.ledger() as ledger:
        limit = int(ledger.info("memory")["used_memory"] / 0.8)
    with ledger_setting(live, "maxmemory", str(limit)):
        soon(lambda: live.submit().status_code == 503, within=WITHIN)
        for _ in range(20):
            live.submit()
        yield


@fires("VultusLedgerCannotWrite")
def ledger_without_a_file(live: Live) -> Iterator[None]:
    with ledger_setting(live, "appendonly", "no"):
        yield


@fires("VultusNoWorker", "VultusWorkersDie", "VultusQueueOld")
def dead_worker(live: Live) -> Iterator[None]:
    jobs = [live.submit(picture(HANGS)).json() for _ in range(THREADS)]
    soon(lambda: live.busy_threads() == THREADS, within=WITHIN)
    with live.killed("worker"):
        yield
        for job in jobs:
            live.post(job["urls"]["cancel"])


@fires("VultusNobodyDelivers")
def dead_courier(live: Live) -> Iterator[None]:
    with live.killed("courier"):
        for _ in range(101):
            live.submit(webhook=live.good_partner)
        yield


@fires("VultusLedgerDown")
def dead_ledger(live: Live) -> Iterator[None]:
    with live.killed("ledger"):
        yield


@fires("VultusGatewayDown")
def dead_gateway(live: Live) -> Iterator[None]:
    with live.killed("gateway"):
        yield
