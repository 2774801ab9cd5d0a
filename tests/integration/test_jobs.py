"""Jobs through the whole service: HTTP, ledger, doorbell, Celery worker, real models and back."""

import base64
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.ledger import keys
from tests.photos import ASTRONAUT, NO_FACE, SIX_FACES
from tools.stack import Stack

FIELDS = {
    "id", "operation", "status", "created_at", "started_at", "finished_at", "expires_at", "attempts", "params",
    "metadata", "result", "error", "metrics", "provenance", "urls",
}  # fmt: skip


def submit(stack: Stack, operation: str, image: Path, **data: str) -> requests.Response:
    with image.open("rb") as file:
        return requests.post(
            f"{stack.url}/v1/jobs", data={"operation": operation, **data}, files={"image": file}, timeout=30
        )


def finished(stack: Stack, operation: str, image: Path, **data: str) -> dict[str, Any]:
    answer = submit(stack, operation, image, **data)
    assert answer.status_code == 202, answer.text
    job = requests.get(stack.url + answer.headers["Location"], params={"wait": "30"}, timeout=40).json()
    assert job["status"] == "succeeded", job
    return dict(job)


def test_a_submission_is_answered_at_once_and_can_be_polled_to_its_end(stack: Stack) -> None:
    answer = submit(stack, "detect", SIX_FACES, metadata='{"order": 7}')
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "1"
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["urls"]["self"]
    assert set(job) >= FIELDS
    deadline = time.monotonic() + 30
    while job["status"] not in {"succeeded", "failed"} and time.monotonic() < deadline:
        time.sleep(0.05)
        job = requests.get(stack.url + job["urls"]["self"], timeout=10).json()
    assert job["status"] == "succeeded"
    assert job["metadata"] == {"order": 7}
    assert len(job["result"]["faces"]) == 6
    assert job["attempts"] == 1
    assert job["created_at"] <= job["started_at"] <= job["finished_at"] < job["expires_at"]
    assert {"queue_ms", "decode_ms", "detect_ms", "total_ms"} <= set(job["metrics"])
    assert job["provenance"]["model_pack"] == "compact"


def test_prefer_wait_answers_with_the_finished_job(stack: Stack) -> None:
    with ASTRONAUT.open("rb") as file:
        answer = requests.post(
            f"{stack.url}/v1/jobs",
            data={"operation": "embed"},
            files={"image": file},
            headers={"Prefer": "wait=30"},
            timeout=40,
        )
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=30"
    embedding = answer.json()["result"]["faces"][0]["embedding"]
    assert len(embedding["vector"]) == 512
    assert sum(value * value for value in embedding["vector"]) == pytest.approx(1)
    assert embedding["contract"] == answer.json()["provenance"]["embedding_contract"]


def test_json_with_base64_is_the_same_job(stack: Stack) -> None:
    body = {"operation": "detect", "image": {"base64": base64.b64encode(ASTRONAUT.read_bytes()).decode()}}
    answer = requests.post(f"{stack.url}/v1/jobs", json=body, headers={"Prefer": "wait=30"}, timeout=40)
    by_file = finished(stack, "detect", ASTRONAUT)
    assert answer.json()["result"] == by_file["result"]


def test_verify_by_image_and_by_embedding_agree(stack: Stack) -> None:
    with ASTRONAUT.open("rb") as one, ASTRONAUT.open("rb") as two:
        by_image = requests.post(
            f"{stack.url}/v1/jobs",
            data={"operation": "verify"},
            files={"image": one, "reference": two},
            headers={"Prefer": "wait=30"},
            timeout=40,
        ).json()
    stored = finished(stack, "embed", ASTRONAUT, params='{"select": "largest"}')["result"]["faces"][0]["embedding"]
    body = {
        "operation": "verify",
        "image": {"base64": base64.b64encode(ASTRONAUT.read_bytes()).decode()},
        "reference": {"embedding": {"vector": stored["vector"], "contract": stored["contract"]}},
    }
    by_vector = requests.post(f"{stack.url}/v1/jobs", json=body, headers={"Prefer": "wait=30"}, timeout=40).json()
    assert by_image["result"]["verified"] is True
    assert by_vector["result"]["verified"] is True
    assert by_image["result"]["similarity"] == pytest.approx(by_vector["result"]["similarity"], abs=1e-6)


def test_an_embedding_of_another_model_is_refused_and_not_compared(stack: Stack) -> None:
    body = {
        "operation": "verify",
        "image": {"base64": base64.b64encode(ASTRONAUT.read_bytes()).decode()},
        "reference": {"embedding": {"vector": [0.1] * 512, "contract": "vultus-emb-v1-of-another-model"}},
    }
    job = requests.post(f"{stack.url}/v1/jobs", json=body, headers={"Prefer": "wait=30"}, timeout=40).json()
    assert (job["status"], job["error"]["code"]) == ("failed", "embedding_contract_mismatch")


def test_liveness_and_registration_of_a_real_face(stack: Stack) -> None:
    assert finished(stack, "liveness", ASTRONAUT)["result"]["liveness"]["outcome"] == "live"
    registration = finished(stack, "register", ASTRONAUT)["result"]
    assert registration["registered"] is True
    assert all(check["passed"] for check in registration["checks"])


def test_no_face_is_a_result_and_not_an_error(stack: Stack) -> None:
    assert finished(stack, "detect", NO_FACE)["result"]["faces"] == []
    assert finished(stack, "register", NO_FACE)["result"]["reason"] == "one_face"


def test_an_image_that_only_the_worker_can_refuse_fails_with_its_code(stack: Stack, tmp_path: Path) -> None:
    damaged = bytearray(ASTRONAUT.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 16] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 16])
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged)
    answer = submit(stack, "detect", path)
    assert answer.status_code == 202
    job = requests.get(stack.url + answer.headers["Location"], params={"wait": "30"}, timeout=40).json()
    assert (job["status"], job["error"]["code"], job["result"]) == ("failed", "invalid_image", None)


def test_nothing_of_the_image_is_left_when_the_job_has_finished(stack: Stack) -> None:
    job = finished(stack, "detect", ASTRONAUT)
    with stack.ledger.client() as client:
        assert client.exists(keys.image(0, job["id"]), keys.reference(0, job["id"])) == 0
        assert client.ttl(keys.job(0, job["id"])) > 0
    with stack.broker.client() as client:
        assert not any(job["id"].encode() in (client.dump(key) or b"") for key in client.keys("*"))


def test_many_concurrent_jobs_each_get_their_own_result(stack: Stack) -> None:
    sent = [(photo, submit(stack, "detect", photo)) for photo in (SIX_FACES, ASTRONAUT, NO_FACE) * 8]
    expected = {SIX_FACES: 6, ASTRONAUT: 1, NO_FACE: 0}
    for photo, answer in sent:
        job = requests.get(stack.url + answer.headers["Location"], params={"wait": "60"}, timeout=70).json()
        assert len(job["result"]["faces"]) == expected[photo]
