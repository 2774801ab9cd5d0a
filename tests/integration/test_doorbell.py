"""Doorbells and the sweep against real servers: a lost ring costs a moment, never a job."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.dispatch import ENOUGH, QUEUE, RUN_NEXT, Doorbell, celery_app
from shared.ledger.jobs.store import Ledger
from shared.ledger.sweeper import Sweeper, sweep
from tests.integration.servers import Server
from tests.integration.test_ledger import accept


@pytest.fixture
def doorbell(broker_server: Server) -> Iterator[Doorbell]:
    bell = Doorbell(celery_app(broker_server.url))
    yield bell
    bell.close()


def messages(server: Server) -> int:
    with server.store.client() as client:
        return int(client.llen(QUEUE))


def eventually(promise: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


def test_each_ring_is_one_message(doorbell: Doorbell, broker_server: Server) -> None:
    assert doorbell.outstanding() == 0
    doorbell.ring()
    doorbell.ring(times=2)
    assert (doorbell.outstanding() or 0) >= 3
    eventually(lambda: messages(broker_server) == 3 == doorbell.outstanding())


def test_a_doorbell_contains_nothing_about_any_job(doorbell: Doorbell, broker_server: Server) -> None:
    doorbell.ring()
    eventually(lambda: messages(broker_server) == 1)
    with broker_server.store.client() as client:
        message = client.lrange(QUEUE, 0, -1)[0]
    assert b"job_" not in message
    assert len(message) < 1500


def test_a_doorbell_is_the_message_that_celery_would_send(doorbell: Doorbell, broker_server: Server) -> None:
    doorbell.ring(times=2)
    eventually(lambda: messages(broker_server) == 2)
    with celery_app(broker_server.url) as app, broker_server.store.client() as client:
        app.send_task(RUN_NEXT, retry=False, ignore_result=True)
        celerys, *own = map(json.loads, client.lrange(QUEUE, 0, -1))
    assert without_ids(own[0]) == without_ids(own[1]) == without_ids(celerys)
    assert ids(own[0]).isdisjoint(ids(own[1]))


def ids(message: dict[str, Any]) -> set[str]:
    headers, properties = message["headers"], message["properties"]
    return {headers["id"], headers["root_id"], properties["correlation_id"], properties["delivery_tag"]}


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(message)
    for each in ids(message):
        text = text.replace(each, "id")
    content: dict[str, Any] = json.loads(text)
    content["properties"].pop("reply_to")  # the sender's result queue: doorbells have no results
    return content


def test_a_dead_broker_blocks_nothing_and_works_again_when_it_is_back(
    doorbell: Doorbell, broker_server: Server
) -> None:
    doorbell.ring()
    eventually(lambda: messages(broker_server) == 1)
    broker_server.kill()
    begin = time.monotonic()
    doorbell.ring()
    assert time.monotonic() - begin < 0.5
    assert doorbell.outstanding() is None
    broker_server.start()
    eventually(lambda: doorbell.outstanding() is not None)
    doorbell.ring()
    eventually(lambda: messages(broker_server) >= 1)


def test_a_frozen_broker_blocks_nothing(doorbell: Doorbell, broker_server: Server) -> None:
    doorbell.ring()
    eventually(lambda: messages(broker_server) == 1)
    broker_server.service.signal(signal.SIGSTOP)
    begin = time.monotonic()
    try:
        for _ in range(100):
            doorbell.ring()
        assert time.monotonic() - begin < 0.5
    finally:
        broker_server.service.signal(signal.SIGCONT)


def test_the_sweep_rings_for_jobs_without_a_doorbell(ledger: Ledger, doorbell: Doorbell, broker_server: Server) -> None:
    for _ in range(3):
        accept(ledger)
    doorbell.ring()

    def swept() -> int | None:
        sweep(ledger, doorbell, max_attempts=3)
        return doorbell.outstanding()

    eventually(lambda: swept() == 3 == messages(broker_server))
    for _ in range(5):
        swept()
    eventually(lambda: doorbell._unsent == 0)
    assert messages(broker_server) == 3


def test_the_sweep_requeues_the_jobs_of_a_dead_worker_and_rings(ledger: Ledger, doorbell: Doorbell) -> None:
    job_id = accept(ledger)
    assert ledger.claim("dead") is not None
    sweeper = Sweeper(ledger, doorbell, max_attempts=3, interval=timedelta(seconds=0.1))
    sweeper.start()
    try:
        eventually(lambda: doorbell.outstanding() == 1)
    finally:
        sweeper.stop()
    claim = ledger.claim("next")
    assert claim is not None
    assert (claim.job.id, claim.job.attempts) == (job_id, 2)


def test_the_sweep_continues_after_the_ledger_was_down(
    ledger: Ledger, doorbell: Doorbell, ledger_server: Server
) -> None:
    sweeper = Sweeper(ledger, doorbell, max_attempts=3, interval=timedelta(seconds=0.1))
    sweeper.start()
    try:
        ledger_server.kill()
        time.sleep(0.5)
        ledger_server.start()
        accept(ledger)
        eventually(lambda: doorbell.outstanding() == 1)
    finally:
        sweeper.stop()


def test_rings_do_not_pile_up_while_all_workers_are_busy(doorbell: Doorbell, broker_server: Server) -> None:
    for _ in range(5):
        doorbell.ring(times=ENOUGH)
        eventually(lambda: doorbell._unsent == 0)
    assert messages(broker_server) == ENOUGH
    with broker_server.store.client() as client:
        client.delete(QUEUE)
    doorbell.ring()
    eventually(lambda: messages(broker_server) == 1)


def test_the_sweep_rings_no_more_than_needed(ledger: Ledger, doorbell: Doorbell, broker_server: Server) -> None:
    for _ in range(ENOUGH + 9):
        accept(ledger, limit=1000)
    for _ in range(3):
        sweep(ledger, doorbell, max_attempts=3)
        eventually(lambda: doorbell._unsent == 0)
    assert messages(broker_server) == ENOUGH
