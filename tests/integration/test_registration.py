"""Registrations through the whole service with real models: several images, strangers, duplicates, limits."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.ledger import keys
from tests.photos import ASTRONAUT, NO_FACE, labelled
from tools.stack import Stack

PICTURES = "ageitgey+face_recognition"
OBAMA = ["tests/test_images/obama.jpg", "tests/test_images/obama2.jpg", "tests/test_images/obama3.jpg"]
BIDEN = "tests/test_images/biden.jpg"


def pictures(*names: str) -> list[Path]:
    return [labelled(f"{PICTURES}/{name}") for name in names]


def registered(stack: Stack, images: list[Path], **params: Any) -> dict[str, Any]:
    """The finished job of a registration of these images."""
    parts = [("image", (path.name, path.read_bytes())) for path in images]
    data = {"operation": "register", "params": json.dumps(params)}
    answer = requests.post(f"{stack.url}/v1/jobs", data=data, files=parts, headers={"Prefer": "wait=30"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_several_images_become_one_embedding_and_are_all_erased(stack: Stack) -> None:
    job = registered(stack, pictures(*OBAMA))
    result = job["result"]
    assert (result["registered"], result["accepted"], result["reason"]) == (True, 3, None), result
    assert [image["reason"] for image in result["images"]] == [None] * 3
    assert sum(value * value for value in result["embedding"]["vector"]) == pytest.approx(1)
    with stack.ledger.client() as ledger:
        made = (keys.image, keys.extra_images, keys.reference)
        assert ledger.exists(*[key(0, job["id"]) for key in made]) == 0


def test_a_stranger_and_a_missing_face_are_refused_by_index(stack: Stack) -> None:
    images = [*pictures(OBAMA[0], BIDEN, OBAMA[2]), NO_FACE]
    result = registered(stack, images)["result"]
    assert (result["registered"], result["accepted"]) == (True, 2)
    assert [image["reason"] for image in result["images"]] == [None, "same_person", None, "one_face"]
    assert registered(stack, images, min_images=3)["result"]["reason"] == "too_few_images"


def test_the_template_is_closer_to_another_picture_than_single_images(stack: Stack) -> None:
    another = registered(stack, pictures("examples/knn_examples/test/obama1.jpg"), skip_liveness=True)["result"]
    alone = [registered(stack, pictures(name), skip_liveness=True)["result"] for name in OBAMA]
    together = registered(stack, pictures(*OBAMA), skip_liveness=True)["result"]

    def near(result: dict[str, Any]) -> float:
        pairs = zip(result["embedding"]["vector"], another["embedding"]["vector"], strict=True)
        return float(sum(one * other for one, other in pairs))

    assert near(together) > sum(near(result) for result in alone) / len(alone)


def test_a_known_person_is_refused_by_index_and_a_new_one_registers(stack: Stack) -> None:
    known = [registered(stack, pictures(name))["result"]["embedding"] for name in (BIDEN, OBAMA[0])]
    known = [{"vector": each["vector"], "contract": each["contract"]} for each in known]
    again = registered(stack, pictures(OBAMA[2]), known_embeddings=known)["result"]
    assert (again["registered"], again["reason"], again["embedding"]) == (False, "duplicate", None)
    assert [each["index"] for each in again["duplicates"]] == [1]
    assert again["duplicates"][0]["similarity"] > 0.5
    stranger = registered(stack, [ASTRONAUT], known_embeddings=known)["result"]
    assert (stranger["registered"], stranger["duplicates"]) == (True, [])


def test_a_known_embedding_of_other_models_fails_the_job(stack: Stack) -> None:
    known = [{"vector": [0.1] * 512, "contract": "vultus-emb-v1-of-another-model"}]
    job = registered(stack, [ASTRONAUT], known_embeddings=known)
    assert (job["status"], job["error"]["code"]) == ("failed", "embedding_contract_mismatch")


def test_strict_limits_refuse_with_every_reason_and_advice(stack: Stack) -> None:
    result = registered(
        stack, [ASTRONAUT], quality="strict", quality_limits={"min_face_share": 0.5, "min_face_width_px": 100}
    )["result"]
    failed = {check["name"]: check["advice"] for check in result["checks"] if not check["passed"]}
    assert set(failed) == {"face_width", "face_share"}
    assert all(advice.endswith(".") for advice in failed.values())
    assert (result["registered"], result["embedding"]) == (False, None)
