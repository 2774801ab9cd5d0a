"""Batches over HTTP, with a real gateway, real stores and a real worker with the fake engine."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests

from shared.ledger import keys
from tests.photos import ASTRONAUT, SIX_FACES
from tests.stacks import FAKE, serving
from tools.stack import Stack

DETECT = {"operation": "detect"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("batches"), {**FAKE, "VULTUS_WORKER_THREADS": "2"}) as running:
        yield running


def send(service: Stack, *images: bytes, headers: dict[str, str] | None = None, **fields: str) -> requests.Response:
    files = [("images", (f"{number}.jpg", image)) for number, image in enumerate(images)]
    return requests.post(
        f"{service.url}/v1/batches", data={**DETECT, **fields}, files=files, headers=headers, timeout=60
    )


def get(service: Stack, path: str, **params: str) -> dict[str, Any]:
    answer = requests.get(service.url + path, params=params, timeout=60)
    assert answer.status_code == 200, answer.text
    return cast("dict[str, Any]", answer.json())


def jobs(service: Stack, batch: dict[str, Any]) -> list[dict[str, Any]]:
    entries = get(service, batch["urls"]["jobs"])["jobs"]
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    return [entry["job"] for entry in entries]


def test_a_batch_runs_in_order_and_a_broken_image_blocks_nothing(service: Stack) -> None:
    photos = [ASTRONAUT.read_bytes(), b"this is not a picture", SIX_FACES.read_bytes(), ASTRONAUT.read_bytes()[:-2000]]
    rows = json.dumps([{"metadata": {"row": number}} for number in range(4)])
    answer = send(service, *photos, headers={"Prefer": "wait=30"}, items=rows)
    batch = answer.json()
    assert (answer.status_code, batch["status"]) == (200, "completed")
    assert answer.headers["preference-applied"] == "wait=30"
    assert (batch["total"], batch["counts"]["succeeded"], batch["counts"]["failed"]) == (4, 2, 2)
    done = jobs(service, batch)
    assert [job["metadata"]["row"] for job in done] == [0, 1, 2, 3]
    assert [job["status"] for job in done] == ["succeeded", "failed", "succeeded", "failed"]
    assert [job["error"] and job["error"]["code"] for job in done] == [
        None,
        "unsupported_image_type",
        None,
        "invalid_image",
    ]
    sizes = [(job["result"]["image"]["width"], job["result"]["image"]["height"]) for job in done if job["result"]]
    assert sizes == [(512, 512), (1280, 886)]


def test_a_manifest_names_an_operation_for_each_item(service: Stack) -> None:
    photo = {"base64": base64.b64encode(ASTRONAUT.read_bytes()).decode()}
    body = {"operation": "detect", "items": [{"image": photo}, {"operation": "embed", "image": photo}]}
    answer = requests.post(f"{service.url}/v1/batches", json=body, headers={"Prefer": "wait=30"}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert [job["operation"] for job in jobs(service, answer.json())] == ["detect", "embed"]


def test_a_batch_repeated_under_its_key_is_the_same_batch(service: Stack) -> None:
    photo, key = ASTRONAUT.read_bytes(), {"Idempotency-Key": f"batch-{time.time_ns()}"}
    first = send(service, photo, photo, headers=key)
    again = send(service, photo, photo, headers=key)
    other = send(service, photo, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_a_long_poll_returns_when_the_last_job_finishes(service: Stack) -> None:
    batch = send(service, *[ASTRONAUT.read_bytes()] * 5).json()
    found = get(service, batch["urls"]["self"], wait="30")
    assert (found["status"], found["counts"]["succeeded"]) == ("completed", 5)
    assert found["finished_at"]


def test_a_canceled_batch_ends_at_once_and_finished_jobs_stay(service: Stack) -> None:
    batch = send(service, *[ASTRONAUT.read_bytes()] * 60, b"this is not a picture").json()
    answer = requests.post(f"{service.url}{batch['urls']['cancel']}", timeout=60)
    found = answer.json()
    assert (answer.status_code, found["status"]) == (200, "completed")
    assert found["counts"]["failed"] == 1
    assert found["counts"]["canceled"] + found["counts"]["succeeded"] == 60
    assert found["counts"]["canceled"] > 0
    time.sleep(0.5)
    assert get(service, batch["urls"]["self"])["counts"] == found["counts"], "an end never changes"


def test_an_erased_batch_leaves_no_trace(service: Stack) -> None:
    secret = f"case-{time.time_ns()}"
    batch = send(service, *[ASTRONAUT.read_bytes()] * 3, metadata=json.dumps({"case": secret})).json()
    names = [job["id"] for job in jobs(service, batch)]
    assert requests.delete(f"{service.url}{batch['urls']['self']}", timeout=60).status_code == 204
    for path in (batch["urls"]["self"], batch["urls"]["jobs"], *(f"/v1/jobs/{name}" for name in names)):
        assert requests.get(service.url + path, timeout=60).status_code == 404
    time.sleep(0.5)
    for store in (service.ledger, service.broker):
        with store.client() as client:
            for key in client.scan_iter():
                held = key + (client.dump(key) or b"")
                assert secret.encode() not in held
                assert not [name for name in (batch["id"], *names) if name.encode() in held], key


def test_a_job_that_was_erased_alone_counts_as_finished(service: Stack) -> None:
    batch = send(service, *[ASTRONAUT.read_bytes()] * 3).json()
    get(service, batch["urls"]["self"], wait="30")
    first, *_ = jobs(service, batch)
    assert requests.delete(f"{service.url}/v1/jobs/{first['id']}", timeout=60).status_code == 204
    found = get(service, batch["urls"]["self"])
    assert (found["status"], found["total"], found["counts"]["succeeded"]) == ("completed", 3, 3)
    left = get(service, batch["urls"]["jobs"])["jobs"]
    assert [entry["index"] for entry in left] == [1, 2]


def test_a_waiting_batch_completes_when_its_last_job_is_erased(service: Stack) -> None:
    with service.ledger.client() as client:
        batch = send(service, *[ASTRONAUT.read_bytes()] * 40).json()
        names = [job["id"] for job in jobs(service, batch)]
        for name in names:
            requests.delete(f"{service.url}/v1/jobs/{name}", timeout=60)
        found = get(service, batch["urls"]["self"])
        assert found["status"] == "completed"
        assert sum(found["counts"].values()) == 40
        assert client.hget(keys.batch(0, batch["id"]), "left") == b"0"
