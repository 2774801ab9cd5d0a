"""The list of live workers: fresh enough, and cheap."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from api.backend.workers import Workers
from shared.errors import ErrorCode, UnavailableError
from tests.doubles import WORKER, MemoryPresence


def test_many_reads_reach_the_store_once() -> None:
    presence = MemoryPresence(WORKER)
    workers = Workers(presence, good_for=timedelta(hours=1))
    assert [workers.alive() for _ in range(5)] == [[WORKER]] * 5
    assert presence.asked == 1


def test_a_stale_list_is_read_again() -> None:
    presence = MemoryPresence()
    workers = Workers(presence, good_for=timedelta(0))
    workers.alive()
    presence.workers = [WORKER]
    assert workers.alive() == [WORKER]


def test_no_worker_is_an_error_if_one_is_required() -> None:
    with pytest.raises(UnavailableError) as caught:
        Workers(MemoryPresence()).required()
    assert caught.value.code is ErrorCode.NO_WORKER


def test_a_failed_read_is_not_cached() -> None:
    presence = MemoryPresence(WORKER)
    presence.broken = True
    workers = Workers(presence)
    with pytest.raises(UnavailableError):
        workers.alive()
    presence.broken = False
    assert workers.required() == [WORKER]


def test_workers_of_different_contracts_are_logged_once() -> None:
    presence = MemoryPresence(WORKER, replace(WORKER, worker="worker-2", embedding_contract="another"))
    workers = Workers(presence, good_for=timedelta(0))
    with capture_logs() as logs:
        workers.alive()
        workers.alive()
    assert [(line["event"], line["contracts"]) for line in logs] == [
        ("workers.contracts_differ", ("another", WORKER.embedding_contract))
    ]
