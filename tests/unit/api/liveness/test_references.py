"""References of liveness sessions: embedded immediately, not stored, compared only within their contract."""

import base64
from dataclasses import replace

import pytest

from shared.errors import ErrorCode
from shared.faces import Recognisability
from shared.jobs import JobFailure
from tests.doubles import WORKER
from tests.heads import Head, result, vector
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.liveness.test_routes import PATH, SECRET, Client, opened
from tests.unit.api.pictures import JPEG


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(session_secrets=SECRET)


def test_reference_image_is_embedded_immediately_and_not_stored(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: result(Head(person=3)).model_dump(mode="json")
    body = opened(gateway, reference={"base64": base64.b64encode(JPEG).decode()})
    assert gateway.jobs() == []
    assert "reference" not in body
    client, head = Client(gateway, body), Head(person=4)
    for _ in range(3):
        told = client.shows(result(head := head.posed()))
    assert (told["status"], told["reason"]) == ("failed", "not_the_reference")


@pytest.mark.parametrize(
    "outcome", [None, JobFailure(ErrorCode.MODEL_FAILURE, "The model failed.", retryable=True)], ids=["late", "failed"]
)
def test_reference_that_was_not_analyzed_leaves_no_job(make_gateway: MakeGateway, outcome: JobFailure | None) -> None:
    gateway = make_gateway(session_secrets=SECRET, sync_timeout=0.2 if outcome is None else 60)
    gateway.worker.script = None if outcome is None else lambda _: outcome
    answer = gateway.post(PATH, json={"reference": {"base64": base64.b64encode(JPEG).decode()}})
    assert answer.status_code == (504 if outcome is None else 500)
    assert gateway.jobs() == []


def test_a_reference_image_must_show_one_face(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: result(None).model_dump(mode="json")
    answer = gateway.post(PATH, json={"reference": {"base64": base64.b64encode(JPEG).decode()}})
    assert problem(answer, 422, "invalid_request")["errors"][0]["field"] == "reference.base64"


def test_reference_image_must_show_a_recognizable_face(gateway: Gateway) -> None:
    dark = Recognisability(recognisable=False, score=0.2, reasons=["degraded"], advice="Find better light.")
    gateway.worker.script = lambda _: result(Head(), recognisability=dark).model_dump(mode="json")
    answer = gateway.post(PATH, json={"reference": {"base64": base64.b64encode(JPEG).decode()}})
    [error] = problem(answer, 422, "invalid_request")["errors"]
    assert error["field"] == "reference.base64"
    assert "Find better light." in error["detail"]
    assert gateway.jobs() == []


def test_reference_embedding_must_be_recognizable(gateway: Gateway) -> None:
    gateway.presence.workers = [replace(WORKER, embedding_size=64)]
    embedding = {"vector": vector(3, 1), "length": 3.0, "contract": WORKER.embedding_contract}
    dark = {"recognisable": False, "reasons": ["degraded"], "advice": "Find better light."}
    answer = gateway.post(PATH, json={"reference": {"embedding": {**embedding, "recognisability": dark}}})
    [error] = problem(answer, 422, "invalid_request")["errors"]
    assert error["field"] == "reference.embedding"
    assert "Find better light." in error["detail"]


def test_a_reference_embedding_must_fit_the_models(gateway: Gateway) -> None:
    gateway.presence.workers = [replace(WORKER, embedding_size=64)]
    fitting = {"vector": vector(3, 1), "contract": WORKER.embedding_contract}
    assert gateway.post(PATH, json={"reference": {"embedding": fitting}}).status_code == 201
    short = gateway.post(PATH, json={"reference": {"embedding": {"vector": [1.0, 2.0]}}})
    problem(short, 422, "invalid_embedding")
    other = gateway.post(PATH, json={"reference": {"embedding": {**fitting, "contract": "another"}}})
    problem(other, 422, "embedding_contract_mismatch")


def test_reference_without_workers_is_checked_at_the_first_frame(gateway: Gateway) -> None:
    gateway.presence.workers = []
    embedding = {"vector": vector(3, 1), "contract": "another"}
    client = Client(gateway, opened(gateway, reference={"embedding": embedding}))
    told = client.shows(result(Head(person=3)))
    assert (told["status"], told["reason"]) == ("failed", "embedding_contract_mismatch")


def test_reference_image_keeps_the_contract_of_its_worker(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: result(Head(person=3), contract="another").model_dump(mode="json")
    client = Client(gateway, opened(gateway, reference={"base64": base64.b64encode(JPEG).decode()}))
    told = client.shows(result(Head(person=3)))
    assert (told["status"], told["reason"]) == ("failed", "embedding_contract_mismatch")


def test_different_contracts_are_never_compared(gateway: Gateway) -> None:
    one = replace(WORKER, embedding_size=64)
    gateway.presence.workers = [one, replace(one, worker="worker-2", embedding_contract="another")]
    embedding = {"vector": vector(3, 1), "contract": "another"}
    client = Client(gateway, opened(gateway, reference={"embedding": embedding}))
    told = client.shows(result(Head(person=3)))
    assert (told["status"], told["reason"]) == ("failed", "embedding_contract_mismatch")
