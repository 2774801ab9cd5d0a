"""Registrations through `/v1/jobs`: several images, limits, known embeddings."""

import base64
from typing import Any

import httpx
import pytest

from shared.tenants import Tenant
from tests.unit.api.auth.test_authenticator import bearer
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG, PNG
from tests.unit.api.results import UNIT, register

B64 = base64.b64encode(JPEG).decode()


def body(**more: Any) -> dict[str, Any]:
    return {"operation": "register", "image": {"base64": B64}, **more}


def named(answer: httpx.Response) -> list[str]:
    return [error["field"] for error in problem(answer, 422, "invalid_request")["errors"]]


def test_registration_images_reach_the_worker_in_order(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: register(reason=None, registered=True)
    parts = [("image", ("a.jpg", JPEG)), ("image", ("b.png", PNG)), ("image", ("c.jpg", JPEG))]
    assert gateway.post("/v1/jobs", files=parts, data={"operation": "register"}).status_code == 202
    several = [{"base64": base64.b64encode(data).decode()} for data in (JPEG, PNG, JPEG)]
    assert gateway.post("/v1/jobs", json={"operation": "register", "images": several}).status_code == 202
    assert [(claim.image, claim.extra_images) for claim in gateway.worker.claims] == [(JPEG, (PNG, JPEG))] * 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operation": "detect"}, "image"),
        ({"image": {"base64": B64}}, "image"),
        ({"images": []}, "images"),
        ({"images": [{"base64": B64}] * 6}, "images"),
        ({"images": [{"base64": B64}, {"url": "https://photos.example.org/a.jpg"}]}, "images.1.url"),
        ({"images": [{"base64": B64}, {"base64": "?"}]}, "images.1.base64"),
        ({"params": {"min_images": 3}}, "params.min_images"),
        ({"params": {"quality": "best"}}, "params.quality"),
        ({"params": {"quality_limits": {"max_yaw": 100}}}, "params.quality_limits.max_yaw"),
    ],
)
def test_contradicting_image_fields_are_reported(gateway: Gateway, changes: dict[str, Any], field: str) -> None:
    several = {"operation": "register", "images": [{"base64": B64}] * 2, **changes}
    assert named(gateway.post("/v1/jobs", json=several)) == [field]


def test_too_many_images_are_rejected(gateway: Gateway) -> None:
    def post(operation: str, times: int) -> httpx.Response:
        return gateway.post("/v1/jobs", files=[("image", ("a.jpg", JPEG))] * times, data={"operation": operation})

    assert named(post("detect", 2)) == ["image"]
    assert named(post("register", 6)) == ["image"]
    assert post("register", 5).status_code == 202


def test_an_invalid_extra_image_is_refused_with_its_position(gateway: Gateway) -> None:
    parts = [("image", ("a.jpg", JPEG)), ("image", ("b.jpg", b"GIF89a"))]
    answer = gateway.post("/v1/jobs", files=parts, data={"operation": "register"})
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("Image 1: ")


def test_known_embeddings_reach_the_worker_and_are_not_echoed(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: register(reason="duplicate")
    params = {"known_embeddings": [{"vector": UNIT, "contract": "contract-a"}]}
    answer = gateway.post("/v1/jobs", json=body(params=params))
    assert answer.json()["params"]["known_embeddings"] == [{"dimensions": 4, "contract": "contract-a"}]
    assert gateway.worker.claims[0].job.params["known_embeddings"] == params["known_embeddings"]


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0, 0.0], [1.0, 2.0]])
def test_incomparable_known_embedding_is_rejected(gateway: Gateway, vector: list[float]) -> None:
    params = {"known_embeddings": [{"vector": UNIT}, {"vector": vector}]}
    answer = gateway.post("/v1/jobs", json=body(params=params))
    assert "1" in problem(answer, 422, "invalid_embedding")["detail"]


def test_tenant_policy_is_the_default_and_not_part_of_the_fingerprint(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(auth="keys")
    policy = {"profile": "strict", "limits": {"max_yaw": 45.0}}
    gateway.stores.tenants.create(Tenant("acme", quality_policy=policy))
    headers = bearer(gateway.give_key("acme"))

    def params(key: str, **asked: Any) -> dict[str, Any]:
        answer = gateway.post("/v1/jobs", json=body(params=asked), headers={**headers, "Idempotency-Key": key})
        assert answer.status_code == 202, answer.json()
        return dict(answer.json()["params"])

    silent = params("a")
    assert (silent["quality"], silent["quality_limits"]) == ("strict", {"max_yaw": 45.0})
    assert params("b", quality_limits={"max_roll": 5})["quality_limits"] == {"max_yaw": 45.0, "max_roll": 5.0}
    other = params("c", quality="off")
    assert (other["quality"], other["quality_limits"]) == ("off", {})
    gateway.stores.tenants.change("acme", {"quality_policy": {}})
    assert params("a") == silent


def test_tenant_policy_applies_to_batches_and_classic_calls(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(auth="keys")
    gateway.stores.tenants.create(Tenant("acme", quality_policy={"profile": "strict"}))
    headers = bearer(gateway.give_key("acme"))
    gateway.worker.script = lambda _: register(reason=None, registered=True)
    gateway.post("/register", files={"file": ("a.jpg", JPEG)}, headers=headers)
    items = {"operation": "register", "items": [{"image": {"base64": B64}}]}
    assert gateway.post("/v1/batches", json=items, headers=headers).is_success
    assert [job.params["quality"] for job in gateway.jobs()] == ["strict", "strict"]
