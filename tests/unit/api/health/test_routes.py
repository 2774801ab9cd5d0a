"""Health endpoints for load balancers and supervisors."""

from dataclasses import replace

import pytest
import redis

from api.health.schemas import VERSION
from shared.ledger.connection import store_errors
from tests.doubles import WORKER
from tests.unit.api.conftest import Gateway, MakeGateway
from tests.unit.api.pictures import JPEG


def test_root_returns_name_and_version(gateway: Gateway) -> None:
    answer = gateway.get("/")
    assert answer.json() == {"service": "Face Recognition API", "status": "running", "version": VERSION}


def test_gateway_with_a_warmed_worker_is_healthy(gateway: Gateway) -> None:
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


def test_all_packs_are_listed(gateway: Gateway) -> None:
    gateway.presence.workers = [WORKER, replace(WORKER, worker="worker-2", model_pack="buffalo_l")]
    assert gateway.get("/health").json()["model_pack"] == "buffalo_l, compact"


def test_different_embedding_contracts_cause_a_warning(gateway: Gateway) -> None:
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
    gateway.store.away = True
    answer = gateway.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "the job store cannot be reached"
    assert (answer.json()["models_loaded"], answer.json()["queue"]) == (False, None)


def test_process_is_alive_whatever_is_missing(gateway: Gateway) -> None:
    gateway.presence.workers, gateway.store.away = [], True
    answer = gateway.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_gateway_with_a_store_is_ready_with_or_without_workers(gateway: Gateway) -> None:
    gateway.presence.workers = []
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "accepts_jobs": True})


def test_full_queue_leaves_the_gateway_ready_for_reads(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queue_limit=1)
    gateway.submit("detect", JPEG)
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "accepts_jobs": False})


def test_store_without_memory_accepts_no_jobs(gateway: Gateway) -> None:
    gateway.store.fill()
    assert gateway.get("/readyz").json()["accepts_jobs"] is False


def test_unavailable_store_makes_the_gateway_unready(gateway: Gateway) -> None:
    gateway.store.away = True
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "away", "accepts_jobs": False})
    assert answer.headers["retry-after"] == "5"


def test_loading_store_is_distinguished_from_a_dead_one(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def loads() -> None:
        with store_errors():
            raise redis.exceptions.BusyLoadingError

    monkeypatch.setattr(gateway.stores.layout, "check", loads)
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "loading")


def test_draining_gateway_is_unready_but_serves_requests(gateway: Gateway) -> None:
    assert "connection" not in gateway.get("/livez").headers
    gateway.app.state.drain.begin()
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    accepted = gateway.submit("detect", JPEG)
    assert (accepted.status_code, accepted.headers["connection"]) == (202, "close")
