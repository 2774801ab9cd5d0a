"""Images by URL: what is accepted, rejected, and shown."""

import json
from typing import Any

import pytest

from shared.jobs import Status
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG

URL = "https://photos.example.org/1.jpg?token=secret"


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(image_url_hosts="photos.example.org,*.cdn.example.com")


def body(url: str = URL, **more: Any) -> dict[str, Any]:
    return {"operation": "detect", "image": {"url": url}, **more}


def test_job_by_url_waits_for_its_fetch_and_rings_no_worker(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", json=body())
    assert answer.status_code == 202
    job = answer.json()
    assert (job["status"], job["image_origin"], job["reference_origin"]) == (
        "queued",
        "https://photos.example.org",
        None,
    )
    assert "secret" not in answer.text
    assert list(gateway.store.fetches()) == [job["id"]]
    assert gateway.ledger.depth() == (0, 0)
    assert gateway.doorbell.rings == 0
    assert gateway.get(f"/v1/jobs/{job['id']}").json() == job
    (listed,) = gateway.get("/v1/jobs").json()["jobs"]
    assert listed["image_origin"] == "https://photos.example.org"


def test_form_accepts_an_image_url_and_a_reference_url(gateway: Gateway) -> None:
    form = {"operation": (None, "detect"), "image_url": (None, URL)}
    assert gateway.post("/v1/jobs", files=form).json()["image_origin"] == "https://photos.example.org"
    reference = json.dumps({"url": "https://a.cdn.example.com/2.jpg"})
    job = gateway.submit("verify", JPEG, reference=reference).json()
    assert (job["image_origin"], job["reference_origin"]) == (None, "https://a.cdn.example.com")


@pytest.mark.parametrize(
    "url",
    [
        "http://photos.example.org/",
        "https://evil.example/",
        "https://photos.example.org:8443/",
        "https://127.0.0.1/",
        "x",
    ],
)
def test_a_refused_url_is_not_repeated_in_the_error(gateway: Gateway, url: str) -> None:
    found = problem(gateway.post("/v1/jobs", json=body(url)), 422, "image_url_refused")
    assert [each["field"] for each in found["errors"]] == ["image.url"]
    assert url == "x" or url not in json.dumps(found)
    form = {"operation": (None, "detect"), "image_url": (None, url)}
    found = problem(gateway.post("/v1/jobs", files=form), 422, "image_url_refused")
    assert [each["field"] for each in found["errors"]] == ["image_url"]
    reference = json.dumps({"url": url})
    found = problem(gateway.submit("verify", JPEG, reference=reference), 422, "image_url_refused")
    assert [each["field"] for each in found["errors"]] == ["reference.url"]
    assert gateway.jobs() == []


def test_other_spelling_of_a_url_is_the_same_submission(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "key"}
    first = gateway.post("/v1/jobs", json=body(), headers=headers)
    again = gateway.post("/v1/jobs", json=body(URL.replace("photos", "PHOTOS")), headers=headers)
    assert again.json()["id"] == first.json()["id"]
    other = gateway.post("/v1/jobs", json=body(f"{URL}2"), headers=headers)
    problem(other, 422, "idempotency_mismatch")


def test_an_item_with_a_refused_url_fails_alone(gateway: Gateway) -> None:
    items = [{"image": {"url": url}} for url in (URL, "https://evil.example/?token=secret", URL)]
    answer = gateway.post("/v1/batches", json={"operation": "detect", "items": items})
    assert answer.status_code == 202
    assert answer.json()["counts"]["failed"] == 1
    assert gateway.stores.fetches.waiting() == 2
    (failed,) = [job for job in gateway.jobs() if job.status is Status.FAILED]
    assert failed.error is not None
    assert (failed.error.code, failed.error.retryable) == ("image_url_refused", False)
    assert "secret" not in failed.error.detail
    assert gateway.doorbell.rings == 0


def test_canceled_job_leaves_the_fetch_queue(gateway: Gateway) -> None:
    job = gateway.post("/v1/jobs", json=body()).json()
    assert gateway.post(job["urls"]["cancel"]).json()["status"] == "canceled"
    assert gateway.stores.fetches.waiting() == 0
