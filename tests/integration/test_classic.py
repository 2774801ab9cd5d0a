"""The classic endpoints answer as the classic service did, on every labelled picture."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.photos import LABELLED, labelled
from tools.stack import Stack

CLASSIC: dict[str, Any] = (
    json.loads((LABELLED / "classic.json").read_text(encoding="utf-8")) if (LABELLED / "classic.json").exists() else {}
)
UNREADABLE = {"corrupted.png": 400, "empty.png": 415, "truncated.jpg": 400}
"""empty.png holds five bytes of text: a wrong type rather than a broken image."""
BY_TRAINED_MODEL = {"Liveness check passed", "Liveness check failed"}
GATED = {
    "Face registered successfully",
    "Face detection confidence too low. Please improve lighting and face position.",
    "Liveness check failed. Please ensure you are using a live camera feed.",
}


def post(stack: Stack, call: str, picture: Path) -> requests.Response:
    path, _, option = call.partition("?")
    form = {"skip_liveness": "true"} if option == "skip" else {}
    with picture.open("rb") as file:
        return requests.post(stack.url + path, files={"file": file}, data=form, timeout=60)


def test_the_labelled_pictures_are_present() -> None:
    labelled("classic.json")


@pytest.mark.parametrize("name", [name for name in CLASSIC if Path(name).name not in UNREADABLE])
def test_detect_and_extract_agree_with_the_classic_service(stack: Stack, name: str) -> None:
    picture = labelled(name)
    was = CLASSIC[name]["/detect"]["body"]
    found = post(stack, "/detect", picture).json()
    assert {key: found[key] for key in ("face_detected", "num_faces", "message")} == {
        key: was[key] for key in ("face_detected", "num_faces", "message")
    }
    assert (found["bbox"] is None) == (was["bbox"] is None)
    if was["bbox"]:
        assert found["bbox"] == pytest.approx(was["bbox"], abs=2)
        assert found["confidence"] == pytest.approx(was["confidence"], abs=0.01)
    was = CLASSIC[name]["/extract-embedding"]["body"]
    found = post(stack, "/extract-embedding", picture).json()
    assert {key: found[key] for key in ("success", "face_detected", "num_faces", "message")} == {
        key: was[key] for key in ("success", "face_detected", "num_faces", "message")
    }
    if "embedding_length" in was:
        length = sum(value * value for value in found["embedding"]) ** 0.5
        assert length == pytest.approx(was["embedding_length"], rel=0.02)
    else:
        assert found["embedding"] is None


@pytest.mark.parametrize("name", [name for name in CLASSIC if Path(name).name not in UNREADABLE])
@pytest.mark.parametrize("call", ["/liveness", "/register", "/register?skip"])
def test_liveness_and_register_keep_their_fields_and_messages(stack: Stack, name: str, call: str) -> None:
    was = CLASSIC[name][call]["body"]
    answer = post(stack, call, labelled(name))
    found = answer.json()
    assert answer.status_code == 200
    assert found["message"]
    if was["message"] in BY_TRAINED_MODEL:
        assert found["message"] in BY_TRAINED_MODEL
        assert isinstance(found["is_live"], bool)
        assert 0 <= found["confidence"] <= 1
    elif was["message"] in GATED:
        assert isinstance(found["success"], bool)
        if found["success"]:
            assert found["message"] == "Face registered successfully"
            assert len(found["embedding"]) == 512
            assert found["liveness_skipped"] is (call == "/register?skip")
            assert {"liveness_confidence", "detection_confidence"} <= set(found)
    else:
        assert {key: found[key] for key in was} == was


@pytest.mark.parametrize("name", sorted(UNREADABLE))
@pytest.mark.parametrize("call", ["/detect", "/extract-embedding", "/verify", "/liveness", "/register"])
def test_an_unreadable_image_is_a_clear_4xx(stack: Stack, name: str, call: str) -> None:
    folder = "exadel-inc+CompreFace/embedding-calculator/src/services/imgtools/test/files"
    answer = post(stack, call, labelled(f"{folder}/{name}"))
    assert answer.status_code == UNREADABLE[name]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in {"invalid_image", "unsupported_image_type"}
