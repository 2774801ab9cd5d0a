"""Health: what a load balancer and a supervisor see."""

from dataclasses import replace

import pytest
import redis

from api.health.schemas import VERSION
from shared.ledger.connection import store_errors
from tests.doubles import WORKER
from tests.unit.api.conftest import Gateway, MakeGateway
from tests.unit.api.pictures import JPEG


def test_the_root_gives_name_and_version(gateway: Gateway) -> None:
    answer = gateway.get("/")
    assert answer.json() == {"service": "Face Recognition API", "status": "running", "version": VERSION}


def test_a_gateway_with_a_warmed_worker_is_healthy(gateway: Gateway) -> None:
    gateway.submit("detect", JPEG)
    answer = gateway.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "healthy",
        "models_loaded": True,
        "workers": 1,
        "queue": {"waiting": 1, "running": 0},
        "model_pack": "compact",
    }


def test_several_packs_are_all_named(gateway: Gateway) -> None:
    gateway.presence.workers = [WORKER, replace(WORKER, worker="worker-2", model_pack="buffalo_l")]
    assert gateway.get("/health").json()["model_pack"] == "buffalo_l, compact"


def test_workers_of_different_contracts_are_warned_of(gateway: Gateway) -> None:
    gateway.presence.workers = [WORKER, replace(WORKER, worker="worker-2", embedding_contract="another")]
    answer = gateway.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert "different embedding contracts" in answer.json()["warning"]


def test_without_a_worker_it_is_unhealthy(gateway: Gateway) -> None:
    gateway.presence.workers = []
    answer = gateway.get("/health")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {
        "status": "unhealthy",
        "models_loaded": False,
        "workers": 0,
        "queue": {"waiting": 0, "running": 0},
        "model_pack": None,
        "reason": "no worker with warmed models is alive",
    }


def test_without_its_store_it_is_unhealthy(gateway: Gateway) -> None:
    gateway.ledger.broken = True
    answer = gateway.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "the job store cannot be reached"
    assert (answer.json()["models_loaded"], answer.json()["queue"]) == (False, None)


def test_the_process_is_alive_whatever_is_missing(gateway: Gateway) -> None:
    gateway.presence.workers, gateway.ledger.broken = [], True
    answer = gateway.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_a_gateway_whose_store_answers_is_ready_whether_or_not_a_worker_is_there(gateway: Gateway) -> None:
    gateway.presence.workers = []
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "accepts_jobs": True})


def test_a_full_queue_leaves_it_ready_for_those_who_read(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queue_limit=1)
    gateway.submit("detect", JPEG)
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "accepts_jobs": False})


def test_a_store_whose_memory_is_full_takes_no_jobs(gateway: Gateway) -> None:
    gateway.ledger.pressure.high = True
    assert gateway.get("/readyz").json()["accepts_jobs"] is False


def test_a_store_that_is_away_makes_it_unready(gateway: Gateway) -> None:
    gateway.ledger.broken = True
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "away", "accepts_jobs": False})
    assert answer.headers["retry-after"] == "5"


def test_a_store_that_reads_its_file_is_told_from_a_dead_one(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def loads() -> None:
        with store_errors():
            raise redis.exceptions.BusyLoadingError

    monkeypatch.setattr(gateway.ledger, "check", loads)
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "loading")


def test_a_gateway_that_drains_says_so_and_sends_its_clients_elsewhere_but_serves_them(gateway: Gateway) -> None:
    assert "connection" not in gateway.get("/livez").headers
    gateway.app.state.drain.begin()
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    accepted = gateway.submit("detect", JPEG)
    assert (accepted.status_code, accepted.headers["connection"]) == (202, "close")
