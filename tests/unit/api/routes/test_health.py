"""Health: what a load balancer and a supervisor see."""

from dataclasses import replace

from api.schemas import VERSION
from tests.doubles import WORKER
from tests.unit.api.conftest import Gateway
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
