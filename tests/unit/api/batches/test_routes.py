"""`/v1/batches`: many jobs in one request, each checked by itself."""

import base64
import json
from typing import Any

import httpx
import pytest

from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG, PNG
from tests.unit.api.results import faces

NONE = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0, "expired": 0}


def as_base64(image: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(image).decode()}


def manifest(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"operation": "detect", "items": [{"image": as_base64(JPEG), **item} for item in items], **more}


def send(gateway: Gateway, *images: bytes, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    files = [("images", (f"{number}.jpg", image, "image/jpeg")) for number, image in enumerate(images)]
    return gateway.post("/v1/batches", files=files, data={"operation": "detect", **fields}, headers=headers)


def jobs_of(gateway: Gateway, answer: httpx.Response) -> list[dict[str, Any]]:
    body = gateway.get(answer.json()["urls"]["jobs"]).json()
    assert [entry["index"] for entry in body["jobs"]] == list(range(len(body["jobs"])))
    return [entry["job"] for entry in body["jobs"]]


def wrong_fields(answer: httpx.Response) -> dict[str, str]:
    return {each["field"]: each["detail"] for each in problem(answer, 422, "invalid_request")["errors"]}


def test_files_become_jobs_in_order(gateway: Gateway) -> None:
    answer = send(gateway, JPEG, PNG, JPEG, metadata='{"day": 1}')
    body = answer.json()
    assert (answer.status_code, body["status"], body["total"]) == (202, "running", 3)
    assert body["counts"] == {**NONE, "queued": 3}
    assert (body["metadata"], body["finished_at"], body["expires_at"]) == ({"day": 1}, None, None)
    assert (answer.headers["location"], answer.headers["retry-after"]) == (body["urls"]["self"], "1")
    assert [gateway.store.images(job["id"]) for job in jobs_of(gateway, answer)] == [
        (JPEG, None),
        (PNG, None),
        (JPEG, None),
    ]
    assert {job["batch_id"] for job in jobs_of(gateway, answer)} == {body["id"]}
    assert gateway.doorbell.rings == 3


def test_item_can_override_the_batch(gateway: Gateway) -> None:
    answer = gateway.post(
        "/v1/batches",
        json=manifest(
            {},
            {"params": {}, "metadata": {"row": 2}},
            {"operation": "verify", "reference": as_base64(PNG), "params": {"threshold": 0.5}},
            params={"max_faces": 3},
            priority="low",
        ),
    )
    plain, own, verify = jobs_of(gateway, answer)
    assert [job["operation"] for job in (plain, own, verify)] == ["detect", "detect", "verify"]
    assert [plain["metadata"], own["metadata"]] == [{}, {"row": 2}]
    assert {job["priority"] for job in (plain, own, verify)} == {"low"}
    assert [job["params"]["max_faces"] for job in (plain, own)] == [3, 100]
    assert verify["params"]["threshold"] == 0.5
    assert gateway.store.images(verify["id"]) == (JPEG, PNG)


def test_form_items_set_fields_per_file(gateway: Gateway) -> None:
    answer = send(gateway, JPEG, JPEG, items='[{"metadata": {"row": 1}}, {"params": {"max_faces": 1}}]')
    first, second = jobs_of(gateway, answer)
    assert (first["metadata"], second["metadata"]) == ({"row": 1}, {})
    assert second["params"]["max_faces"] == 1


def test_invalid_item_fails_alone(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    answer = gateway.post(
        "/v1/batches",
        json=manifest(
            {},
            {"image": as_base64(b"GIF89a nothing")},
            {"image": {"base64": "no base64!"}},
            {"params": {"max_faces": 0}},
            {"operation": "verify"},
            {"image": {"url": "https://photos.example.org/1.jpg"}},
            {"metadata": {"long": "x" * 3000}},
            {},
        ),
        headers={"Prefer": "wait=30"},
    )
    body = answer.json()
    assert (answer.status_code, body["status"], answer.headers["preference-applied"]) == (200, "completed", "wait=30")
    assert body["counts"] == {**NONE, "succeeded": 2, "failed": 6}
    assert body["finished_at"] <= body["expires_at"]
    assert "retry-after" not in answer.headers
    jobs = jobs_of(gateway, answer)
    assert [job["error"] and job["error"]["code"] for job in jobs] == [
        None,
        "unsupported_image_type",
        "invalid_request",
        "invalid_request",
        "invalid_request",
        "image_urls_off",
        "invalid_request",
        None,
    ]
    assert jobs[3]["error"]["detail"].endswith("params.max_faces: Input should be greater than or equal to 1.")
    assert gateway.doorbell.rings == 2


def test_batch_of_invalid_items_is_completed_and_rings_nobody(gateway: Gateway) -> None:
    answer = send(gateway, b"no image", b"nor this")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert gateway.doorbell.rings == 0


def test_a_wait_ends_with_the_last_job(gateway: Gateway) -> None:
    body = send(gateway, JPEG, JPEG).json()
    gateway.worker.script, gateway.worker.awaited = lambda _: faces(1), gateway.awaited
    gateway.worker.heard()
    gateway.worker.heard()
    waited = gateway.get(body["urls"]["self"], params={"wait": 30})
    assert (waited.json()["status"], waited.headers["preference-applied"]) == ("completed", "wait=30")


def test_wait_that_times_out_returns_the_current_batch(gateway: Gateway) -> None:
    body = send(gateway, JPEG).json()
    waited = gateway.get(body["urls"]["self"], params={"wait": 0})
    assert (waited.status_code, waited.json(), waited.headers["retry-after"]) == (200, body, "1")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"items": []}, "items"),
        ({"operation": None}, "operation"),
        ({"operation": "guess"}, "operation"),
        ({"items": [{"image": {}}]}, "items.0.image"),
        ({"items": [{}]}, "items.0.image"),
        ({"items": [{"image": as_base64(JPEG), "colour": 1}]}, "items.0.colour"),
        ({"colour": 1}, "colour"),
        ({"metadata": {"long": "x" * 3000}}, "metadata"),
        ({"priority": "urgent"}, "priority"),
    ],
)
def test_invalid_manifest_is_rejected_as_a_whole(gateway: Gateway, change: dict[str, Any], field: str) -> None:
    fields = wrong_fields(gateway.post("/v1/batches", json=manifest({}) | change))
    assert any(name.startswith(field) for name in fields), fields
    assert gateway.ledger.depth() == (0, 0)


def test_too_many_items_are_rejected(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_batch_items=2)
    assert send(gateway, JPEG, JPEG).status_code == 202
    assert wrong_fields(gateway.post("/v1/batches", json=manifest({}, {}, {}))) == {
        "items": "has 3 entries; a batch takes 1 to 2"
    }
    assert wrong_fields(send(gateway, JPEG, JPEG, JPEG)) == {"images": "has 3 entries; a batch takes 1 to 2"}
    assert "more than 34 parts" in problem(send(gateway, *[JPEG] * 40), 422, "invalid_request")["detail"]


def test_form_without_images_or_with_unknown_fields_is_rejected(gateway: Gateway) -> None:
    files = [("image", ("1.jpg", JPEG, "image/jpeg"))]
    assert "image" in wrong_fields(gateway.post("/v1/batches", files=files, data={"operation": "detect"}))
    files = [("metadata", ("1.jpg", JPEG, "image/jpeg"))]
    assert "metadata" in wrong_fields(gateway.post("/v1/batches", files=files, data={"operation": "detect"}))
    assert "colour" in wrong_fields(send(gateway, JPEG, colour="red"))
    empty = {"data": b"--b\r\nContent-Disposition: form-data; name=operation\r\n\r\ndetect\r\n--b--\r\n"}
    answer = gateway.post(
        "/v1/batches", content=empty["data"], headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert wrong_fields(answer) == {"images": "has 0 entries; a batch takes 1 to 1000"}


def test_number_of_items_must_match_the_images(gateway: Gateway) -> None:
    assert wrong_fields(send(gateway, JPEG, JPEG, items="[{}]")) == {
        "items": "has 1 entries for 2 images; send one entry per image, in the same order"
    }


def test_repeated_field_is_rejected(gateway: Gateway) -> None:
    answer = gateway.post(
        "/v1/batches",
        files=[("images", ("1.jpg", JPEG, "image/jpeg"))],
        data={"operation": ["detect", "embed"]},
    )
    assert wrong_fields(answer) == {"operation": "given more than once"}


def test_oversized_body_or_wrong_type_is_rejected(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_batch_bytes=1024)
    problem(gateway.post("/v1/batches", json=manifest({}, {})), 413, "request_too_large")
    problem(gateway.post("/v1/batches", content=b"x"), 415, "unsupported_media_type")
    problem(
        gateway.post("/v1/batches", content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed_json"
    )


def test_full_queue_rejects_a_batch(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queue_limit=1)
    gateway.submit("detect", JPEG)
    problem(send(gateway, JPEG), 503, "queue_full")
    assert gateway.ledger.depth() == (1, 0)


def test_repeated_batch_under_one_key_is_one_batch(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "day-17"}
    first = send(gateway, JPEG, PNG, headers=key)
    again = send(gateway, JPEG, PNG, headers=key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    problem(send(gateway, PNG, JPEG, headers=key), 422, "idempotency_mismatch")
    assert gateway.ledger.depth() == (2, 0)
    assert gateway.submit("detect", JPEG, key="day-17").status_code == 202


def test_a_completed_batch_is_replayed_with_200(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    key = {"Idempotency-Key": "day-17"}
    send(gateway, JPEG, headers=key)
    again = send(gateway, JPEG, headers=key)
    assert (again.status_code, again.json()["status"]) == (200, "completed")


def test_rejected_batch_releases_its_key(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "day-17"}
    wrong_fields(send(gateway, JPEG, colour="red", headers=key))
    assert send(gateway, JPEG, headers=key).status_code == 202


def test_jobs_are_paged(gateway: Gateway) -> None:
    body = send(gateway, *([JPEG] * 5)).json()
    first = gateway.get(body["urls"]["jobs"], params={"limit": 2}).json()
    last = gateway.get(body["urls"]["jobs"], params={"limit": 2, "start": 4}).json()
    assert ([job["index"] for job in first["jobs"]], first["next_start"]) == ([0, 1], 2)
    assert ([job["index"] for job in last["jobs"]], last["next_start"]) == ([4], None)
    assert gateway.get(body["urls"]["jobs"], params={"start": 5}).json() == {"jobs": [], "next_start": None}
    for wrong in ({"limit": 0}, {"limit": 101}, {"start": -1}, {"colour": 1}):
        assert set(wrong) == {
            name.removeprefix("query.") for name in wrong_fields(gateway.get(body["urls"]["jobs"], params=wrong))
        }


def test_deleted_job_is_omitted_and_its_index_stays_free(gateway: Gateway) -> None:
    body = send(gateway, JPEG, JPEG, JPEG).json()
    second = gateway.get(body["urls"]["jobs"]).json()["jobs"][1]["job"]
    assert gateway.request("DELETE", second["urls"]["self"]).status_code == 204
    assert [entry["index"] for entry in gateway.get(body["urls"]["jobs"]).json()["jobs"]] == [0, 2]


def test_canceling_a_batch_keeps_ended_jobs(gateway: Gateway) -> None:
    body = send(gateway, JPEG, JPEG).json()
    first = gateway.get(body["urls"]["jobs"]).json()["jobs"][0]["job"]
    gateway.worker.script = lambda _: faces(1)
    gateway.worker.heard()
    gateway.get(first["urls"]["self"], params={"wait": 30})
    canceled = gateway.post(body["urls"]["cancel"])
    assert (canceled.status_code, canceled.json()["status"]) == (200, "completed")
    assert canceled.json()["counts"] == {**NONE, "succeeded": 1, "canceled": 1}
    assert gateway.post(body["urls"]["cancel"]).json() == canceled.json()


def test_deleted_batch_is_gone_with_its_jobs(gateway: Gateway) -> None:
    body = send(gateway, JPEG, JPEG).json()
    jobs = gateway.get(body["urls"]["jobs"]).json()["jobs"]
    assert gateway.request("DELETE", body["urls"]["self"]).status_code == 204
    for entry in jobs:
        problem(gateway.get(entry["job"]["urls"]["self"]), 404, "job_not_found")
    for method, path in [
        ("GET", body["urls"]["self"]),
        ("GET", body["urls"]["jobs"]),
        ("POST", body["urls"]["cancel"]),
        ("DELETE", body["urls"]["self"]),
    ]:
        problem(gateway.request(method, path), 404, "batch_not_found")


@pytest.mark.parametrize("name", ["nonsense", "job_00019b8d3c1a386d5a7c90e1d24f68ab0c", "batch_", "batch_0001"])
def test_malformed_batch_id_is_not_found(gateway: Gateway, name: str) -> None:
    problem(gateway.get(f"/v1/batches/{name}"), 404, "batch_not_found")


def test_params_must_be_an_object(gateway: Gateway) -> None:
    assert "params" in wrong_fields(send(gateway, JPEG, params=json.dumps([1])))
