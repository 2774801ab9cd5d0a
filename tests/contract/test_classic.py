"""The classic endpoints return exactly the responses of the classic service, given the same faces."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from api.settings.api import ApiSettings
from tests.photos import labelled
from tests.store import LiveStore
from tests.unit.api.conftest import Gateway
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import NOT_EVALUATED, RAW, embedding, face, faces, liveness, reading, register

CALLS = ["/detect", "/extract-embedding", "/liveness", "/register", "/register?skip"]
CHECKS = {
    "No face detected. Please": ("one_face", 0),
    "Multiple faces detected. Please": ("one_face", 2),
    "Face detection confidence too low": ("detection_score", 1),
    "Liveness check failed": ("liveness", 1),
}


def recorded() -> dict[str, dict[str, Any]]:
    answers: dict[str, dict[str, Any]] = json.loads(labelled("classic.json").read_text(encoding="utf-8"))
    return answers


def worker_result(call: str, body: dict[str, Any]) -> dict[str, Any]:
    """The result that a worker would have written about the same faces."""
    if call in {"/detect", "/extract-embedding"}:
        result = faces(body["num_faces"], embedded=True)
        if body.get("bbox"):
            result["faces"] = [{**face(score=body["confidence"]), "box": body["bbox"]}]
        return result
    if call == "/liveness":
        if body["message"].startswith("Liveness"):
            return liveness("live" if body["is_live"] else "spoof", body["confidence"])
        return liveness(reason="no_face" if body["message"].startswith("No") else "multiple_faces")
    live = reading("live", body["liveness_confidence"]) if "liveness_confidence" in body else NOT_EVALUATED
    if body["success"]:
        result = register(reason=None, registered=True, live=NOT_EVALUATED if call.endswith("skip") else live)
        return {**result, "face": face(score=body["detection_confidence"]), "embedding": embedding()}
    reason, num_faces = next(check for start, check in CHECKS.items() if body["message"].startswith(start))
    return register(reason=reason, num_faces=num_faces, live=live)


def with_our_embedding(body: dict[str, Any]) -> dict[str, Any]:
    """The recording keeps length and size of an embedding instead of its numbers."""
    if "embedding_size" not in body:
        return body
    kept = {name: value for name, value in body.items() if name not in {"embedding_size", "embedding_length"}}
    return {**kept, "embedding": RAW}


@pytest.fixture
def gateway(store: LiveStore) -> Iterator[Gateway]:
    opened = Gateway(ApiSettings(sync_timeout=timedelta(seconds=60)), store)
    yield opened
    opened.close()


@pytest.mark.parametrize("call", CALLS)
def test_the_recorded_responses_are_reproduced(gateway: Gateway, call: str) -> None:
    for name, calls in recorded().items():
        answer = calls[call]
        if answer["status"] != 200:
            continue  # unreadable images: 400 and 415 here, but 500 in the classic service
        result = worker_result(call, answer["body"])
        gateway.worker.script = lambda _, result=result: result
        fields = {"skip_liveness": "true"} if call.endswith("skip") else {}
        ours = gateway.classic(call.removesuffix("?skip"), JPEG, **fields)
        assert (ours.status_code, ours.json()) == (200, with_our_embedding(answer["body"])), name
