"""`Idempotency-Key`: a repeated submission returns the first job; a different one is rejected."""

import base64
from typing import Any

import pytest

from shared.jobs import Status
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG, PNG
from tests.unit.api.results import faces

KEY = {"Idempotency-Key": '"order-17"'}
BODY = {"operation": "detect", "image": {"base64": base64.b64encode(JPEG).decode()}}


def test_repeated_submission_returns_the_first_job(gateway: Gateway) -> None:
    first = gateway.submit("detect", JPEG, key="order-17", metadata='{"a": 1, "b": 2}')
    again = gateway.submit("detect", JPEG, key="order-17", metadata='{"b": 2, "a": 1}')
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (gateway.ledger.depth(), gateway.doorbell.rings) == ((1, 0), 1)


def test_the_form_and_the_json_of_a_submission_are_the_same(gateway: Gateway) -> None:
    first = gateway.submit("detect", JPEG, key="order-17")
    again = gateway.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "order-17"})
    assert again.json()["id"] == first.json()["id"]


def test_repeat_of_an_ended_job_is_200(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    gateway.submit("detect", JPEG, key="order-17")
    again = gateway.submit("detect", JPEG, key="order-17")
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")
    assert "retry-after" not in again.headers


def test_a_replay_may_wait(gateway: Gateway) -> None:
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    gateway.submit("detect", JPEG, key="order-17")
    again = gateway.submit("detect", JPEG, key="order-17", prefer="wait=30")
    assert (again.status_code, again.headers["preference-applied"]) == (200, "wait=30")


@pytest.mark.parametrize(
    "other",
    [
        {"operation": "embed"},
        {"image": {"base64": base64.b64encode(PNG).decode()}},
        {"params": {"max_faces": 3}},
        {"metadata": {"a": 1}},
        {"priority": "low"},
    ],
    ids=["operation", "image", "params", "metadata", "priority"],
)
def test_different_submission_under_the_same_key_is_rejected(gateway: Gateway, other: dict[str, Any]) -> None:
    gateway.post("/v1/jobs", json=BODY, headers=KEY)
    problem(gateway.post("/v1/jobs", json={**BODY, **other}, headers=KEY), 422, "idempotency_mismatch")
    assert gateway.ledger.depth() == (1, 0)


def test_different_deadline_is_a_different_submission(gateway: Gateway) -> None:
    gateway.post("/v1/jobs", json=BODY, headers=KEY)
    problem(gateway.post("/v1/jobs", json=BODY, headers={**KEY, "Cancel-After": "5s"}), 422, "idempotency_mismatch")


def test_effective_parameters_are_compared(gateway: Gateway) -> None:
    first = gateway.post("/v1/jobs", json=BODY, headers=KEY)
    again = gateway.post("/v1/jobs", json={**BODY, "params": {"max_faces": 100}}, headers=KEY)
    assert again.json()["id"] == first.json()["id"]


def test_key_in_progress_is_409_before_the_body_is_read(gateway: Gateway) -> None:
    gateway.stores.idempotency.begin("default POST /v1/jobs", "order-17")
    answer = gateway.post("/v1/jobs", content=b"never read", headers={**KEY, "Content-Type": "application/json"})
    problem(answer, 409, "idempotency_in_progress")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("how", ["image", "json", "type", "queue", "priority"])
def test_rejected_submission_releases_its_key(make_gateway: MakeGateway, how: str) -> None:
    gateway = make_gateway(queue_limit=1)
    refused = {
        "image": lambda: gateway.submit("detect", b"no image", key="order-17"),
        "json": lambda: gateway.post("/v1/jobs", content=b"{", headers={**KEY, "Content-Type": "application/json"}),
        "type": lambda: gateway.post("/v1/jobs", content=b"x", headers={**KEY, "Content-Type": "text/plain"}),
        "priority": lambda: gateway.submit("detect", JPEG, key="order-17", priority="urgent"),
        "queue": lambda: gateway.submit("detect", JPEG, key="order-17"),
    }
    other = gateway.submit("detect", PNG).json()
    assert refused[how]().status_code >= 400
    gateway.post(other["urls"]["cancel"])
    answer = gateway.submit("detect", JPEG, key="order-17")
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (202, False)


def test_interrupted_body_releases_its_key(gateway: Gateway) -> None:
    async def broken_off() -> None:
        pieces: list[dict[str, Any]] = [
            {"type": "http.request", "body": b'{"oper', "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return pieces.pop(0)

        async def send(_: object) -> None:
            pytest.fail("nobody is there to be answered")

        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"order-17")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/jobs",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
        }
        await gateway.app(scope, receive, send)

    gateway._run(broken_off())
    assert gateway.submit("detect", JPEG, key="order-17").status_code == 202


def test_key_of_a_deleted_job_is_free(gateway: Gateway) -> None:
    first = gateway.submit("detect", JPEG, key="order-17").json()
    gateway.request("DELETE", first["urls"]["self"])
    again = gateway.submit("embed", PNG, key="order-17")
    assert (again.status_code, "idempotent-replayed" in again.headers) == (202, False)


def test_key_of_an_expired_job_is_404(gateway: Gateway) -> None:
    first = gateway.submit("detect", JPEG, key="order-17").json()
    gateway.store.forget(first["id"])
    problem(gateway.submit("detect", JPEG, key="order-17"), 404, "job_not_found")


@pytest.mark.parametrize("key", ["", '"', "ä".encode(), "x" * 256])
def test_invalid_key_is_reported(gateway: Gateway, key: Any) -> None:
    answer = gateway.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": key})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "Idempotency-Key"


def test_hundred_concurrent_equal_submissions_are_one_job(gateway: Gateway) -> None:
    answers = gateway.together(*(gateway.client.post("/v1/jobs", json=BODY, headers=KEY) for _ in range(100)))
    ids = {answer.json()["id"] for answer in answers if answer.status_code != 409}
    assert len(ids) == 1
    assert {answer.status_code for answer in answers} <= {200, 202, 409}
    first = [answer for answer in answers if answer.status_code == 202 and "idempotent-replayed" not in answer.headers]
    assert len(first) == 1
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "idempotency_in_progress")
    assert (gateway.ledger.depth(), gateway.doorbell.rings) == ((1, 0), 1)


def test_key_whose_response_was_lost_returns_the_job(gateway: Gateway) -> None:
    """The store accepts the job but its response is lost: releasing the key must not free it."""
    accept = gateway.ledger.accept

    def lost(*args: Any, **named: Any) -> Any:
        accept(*args, **named)
        gateway.store.away = True
        gateway.ledger.depth()

    gateway.ledger.accept = lost  # type: ignore[method-assign]
    problem(gateway.submit("detect", JPEG, key="order-17"), 503, "store_unavailable")
    gateway.ledger.accept = accept  # type: ignore[method-assign]
    gateway.store.away = False
    again = gateway.submit("detect", JPEG, key="order-17")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert gateway.ledger.depth() == (1, 0)
    assert Status(again.json()["status"]) is Status.QUEUED
