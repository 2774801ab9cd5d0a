"""Classic endpoints: their exact responses."""

import json
import math
from typing import Any

import pytest

from shared.errors import ErrorCode
from shared.jobs import Claim, JobFailure
from shared.operations import Operation
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import DARK, RAW, UNIT, embedding, face, faces, liveness, reading, register, verify

SEVERAL = "Multiple faces detected. Please ensure only one face is visible."


def answer(gateway: Gateway, path: str, result: dict[str, Any], **fields: str) -> dict[str, Any]:
    gateway.worker.script = lambda _: result
    response = gateway.classic(path, JPEG, **fields)
    assert response.status_code == 200, response.json()
    body: dict[str, Any] = response.json()
    return body


def claim(gateway: Gateway) -> Claim:
    return gateway.worker.claims[-1]


# --- detect -------------------------------------------------------------------------------------------------------


def test_detect_returns_the_single_face(gateway: Gateway) -> None:
    assert answer(gateway, "/detect", faces(1)) == {
        "face_detected": True,
        "num_faces": 1,
        "confidence": 0.82412,
        "bbox": [10.25, 20.5, 110.75, 140.0],
        "message": "Face detected successfully",
    }


def test_detect_reports_no_face(gateway: Gateway) -> None:
    assert answer(gateway, "/detect", faces(0)) == {
        "face_detected": False,
        "num_faces": 0,
        "confidence": None,
        "bbox": None,
        "message": "No face detected",
    }


def test_detect_counts_several_faces_and_returns_none(gateway: Gateway) -> None:
    assert answer(gateway, "/detect", faces(3)) == {
        "face_detected": True,
        "num_faces": 3,
        "confidence": None,
        "bbox": None,
        "message": SEVERAL,
    }


# --- extract-embedding --------------------------------------------------------------------------------------------


def test_extract_embedding_returns_the_raw_vector(gateway: Gateway) -> None:
    assert answer(gateway, "/extract-embedding", faces(1, embedded=True)) == {
        "success": True,
        "embedding": RAW,
        "face_detected": True,
        "num_faces": 1,
        "message": "Face embedding extracted successfully",
    }
    assert claim(gateway).job.operation is Operation.EMBED


@pytest.mark.parametrize(("count", "message"), [(0, "No face detected"), (2, SEVERAL)])
def test_extract_embedding_needs_exactly_one_face(gateway: Gateway, count: int, message: str) -> None:
    assert answer(gateway, "/extract-embedding", faces(count, embedded=True)) == {
        "success": False,
        "embedding": None,
        "face_detected": count > 0,
        "num_faces": count,
        "message": message,
    }


def unrecognizable() -> dict[str, Any]:
    return {**faces(1), "faces": [{**face(), "embedding": embedding(DARK)}]}


def test_extract_embedding_rejects_an_unrecognizable_face(gateway: Gateway) -> None:
    assert answer(gateway, "/extract-embedding", unrecognizable()) == {
        "success": False,
        "embedding": None,
        "face_detected": True,
        "num_faces": 1,
        "message": "Face cannot be recognised. Find better light.",
    }


# --- compare ------------------------------------------------------------------------------------------------------


def compare(gateway: Gateway, first: Any, second: Any) -> dict[str, Any]:
    body: dict[str, Any] = gateway.post("/compare", json={"embedding1": first, "embedding2": second}).json()
    return body


def test_compare_returns_a_rounded_cosine(gateway: Gateway) -> None:
    assert compare(gateway, [1, 0], [1, 0.5]) == {"similarity": 0.8944, "is_match": True, "message": "Faces match"}


def test_compare_reports_different_faces(gateway: Gateway) -> None:
    assert compare(gateway, [1, 0], [0, 2]) == {
        "similarity": 0.0,
        "is_match": False,
        "message": "Faces do not match",
    }


def test_a_match_is_above_the_threshold_before_rounding(gateway: Gateway) -> None:
    just_above, just_below = 0.50003, 0.49997
    for cosine, match in ((just_above, True), (just_below, False)):
        body = compare(gateway, [1, 0], [cosine, math.sqrt(1 - cosine**2)])
        assert (body["similarity"], body["is_match"]) == (0.5, match)


def test_threshold_itself_is_not_a_match(make_gateway: MakeGateway) -> None:
    assert compare(make_gateway(match_threshold=1.0), [1, 0], [2, 0])["is_match"] is False


@pytest.mark.parametrize(
    ("first", "second", "similarity"),
    [([1e200, 0], [-1e200, 0], -1.0), ([1.79e308, 0], [1, 1], 0.7071), ([1e308, 1e308], [1e-3, 1e-3], 1.0)],
)
def test_compare_is_right_for_numbers_whose_squares_overflow(
    gateway: Gateway, first: list[float], second: list[float], similarity: float
) -> None:
    assert compare(gateway, first, second)["similarity"] == similarity


def test_compare_takes_the_threshold_from_the_settings(make_gateway: MakeGateway) -> None:
    assert compare(make_gateway(match_threshold=0.95), [1, 0], [1, 0.5])["is_match"] is False


@pytest.mark.parametrize(
    "raw",
    [
        '{"embedding1": [1, 2], "embedding2": [1]}',
        '{"embedding1": [], "embedding2": []}',
        '{"embedding1": [0, 0], "embedding2": [1, 2]}',
        '{"embedding1": [NaN, 1], "embedding2": [1, 2]}',
        '{"embedding1": [Infinity, 1], "embedding2": [1, 2]}',
        '{"embedding1": [1, -Infinity], "embedding2": [1, 2]}',
        '{"embedding1": [1e999, 1], "embedding2": [1, 2]}',
        '{"embedding1": ["x", 1], "embedding2": [1, 2]}',
        '{"embedding1": "x", "embedding2": [1, 2]}',
        '{"embedding1": null, "embedding2": [1, 2]}',
    ],
)
def test_vectors_that_cannot_be_compared_are_422(gateway: Gateway, raw: str) -> None:
    response = gateway.post("/compare", content=raw, headers={"Content-Type": "application/json"})
    problem(response, 422, "invalid_embedding")


def test_compare_reports_a_missing_vector(gateway: Gateway) -> None:
    response = gateway.post("/compare", json={"embedding1": [1]})
    assert [e["field"] for e in problem(response, 422, "invalid_embedding")["errors"]] == ["embedding2"]


def test_compare_rejects_invalid_json_and_other_types(gateway: Gateway) -> None:
    response = gateway.post("/compare", content="{", headers={"Content-Type": "application/json"})
    problem(response, 400, "malformed_json")
    problem(gateway.post("/compare", data={"embedding1": "[1]"}), 415, "unsupported_media_type")


def test_compare_needs_no_worker_and_no_store(gateway: Gateway) -> None:
    gateway.presence.workers, gateway.store.away = [], True
    assert compare(gateway, [1, 0], [1, 0])["is_match"] is True


# --- verify -------------------------------------------------------------------------------------------------------

STORED = json.dumps(UNIT)


def test_verify_compares_with_the_stored_embedding(gateway: Gateway) -> None:
    result = verify(similarity=0.812349, verified=True)
    assert answer(gateway, "/verify", result, stored_embedding=STORED) == {
        "success": True,
        "verified": True,
        "similarity": 0.8123,
        "message": "Face verified",
    }


def test_verify_reports_a_different_face(gateway: Gateway) -> None:
    result = verify(similarity=0.1, reason="below_threshold")
    assert answer(gateway, "/verify", result, stored_embedding=STORED) == {
        "success": True,
        "verified": False,
        "similarity": 0.1,
        "message": "Face not verified",
    }


def test_verify_without_embedding_rejects_an_unrecognizable_face(gateway: Gateway) -> None:
    expected = {"success": False, "verified": False, "message": "Face cannot be recognised. Find better light."}
    assert answer(gateway, "/verify", unrecognizable()) == expected


def test_verify_passes_on_threshold_and_vector(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(match_threshold=0.35)
    answer(gateway, "/verify", verify(similarity=0.4, verified=True), stored_embedding=STORED)
    assert claim(gateway).job.params == {
        "full_size": True,
        "max_faces": 100,
        "min_face_px": 0.0,
        "select": "all",
        "clamp_boxes": False,
        "auto_orient": False,
        "ignore_below": 0.0,
        "threshold": 0.35,
        "liveness": "off",
        "reference_embedding": {"vector": UNIT},
    }


@pytest.mark.parametrize(
    ("reason", "message"), [("no_face", "No face detected"), ("multiple_faces", "Multiple faces detected")]
)
def test_verify_needs_exactly_one_face(gateway: Gateway, reason: str, message: str) -> None:
    result = verify(similarity=None, reason=reason)
    expected = {"success": False, "verified": False, "message": message}
    assert answer(gateway, "/verify", result, stored_embedding=STORED) == expected


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("unrecognisable", "Face cannot be recognised. Take another picture."),
        ("reference_unrecognisable", "Stored face cannot be recognised. Take another picture."),
    ],
)
def test_verify_omits_the_similarity_of_an_unrecognizable_face(gateway: Gateway, reason: str, message: str) -> None:
    result = verify(similarity=0.91, reason=reason)
    expected = {"success": False, "verified": False, "message": message}
    assert answer(gateway, "/verify", result, stored_embedding=STORED) == expected


@pytest.mark.parametrize("fields", [{}, {"stored_embedding": ""}])
def test_verify_without_embedding_returns_the_embedding(gateway: Gateway, fields: dict[str, str]) -> None:
    assert answer(gateway, "/verify", faces(1, embedded=True), **fields) == {
        "success": True,
        "embedding": RAW,
        "message": "Face embedding extracted",
    }


@pytest.mark.parametrize(("count", "message"), [(0, "No face detected"), (2, "Multiple faces detected")])
def test_verify_without_embedding_needs_exactly_one_face(gateway: Gateway, count: int, message: str) -> None:
    expected = {"success": False, "verified": False, "message": message}
    assert answer(gateway, "/verify", faces(count)) == expected


@pytest.mark.parametrize(
    ("stored", "status", "code"),
    [
        ("[1, 2, 3]", 422, "invalid_embedding"),
        ("[NaN, 1, 1, 1]", 422, "invalid_embedding"),
        ("[Infinity, 1, 1, 1]", 422, "invalid_embedding"),
        ("[0, 0, 0, 0]", 422, "invalid_embedding"),
        ("[]", 422, "invalid_embedding"),
        ('{"a": 1}', 422, "invalid_embedding"),
        ('["a", 1, 1, 1]', 422, "invalid_embedding"),
        ("[1, 2", 400, "malformed_json"),
        ("none", 400, "malformed_json"),
    ],
)
def test_incomparable_stored_embedding_is_rejected(gateway: Gateway, stored: str, status: int, code: str) -> None:
    problem(gateway.classic("/verify", JPEG, stored_embedding=stored), status, code)
    assert gateway.ledger.depth() == (0, 0)


# --- liveness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "live", "message"),
    [
        ("live", True, "Liveness check passed"),
        ("spoof", False, "Liveness check failed"),
        ("uncertain", False, "Liveness check failed"),
    ],
)
def test_liveness_returns_the_score_of_the_model(gateway: Gateway, outcome: str, live: bool, message: str) -> None:
    expected = {"is_live": live, "confidence": 0.6543, "message": message}
    assert answer(gateway, "/liveness", liveness(outcome, 0.65432)) == expected


@pytest.mark.parametrize(
    ("reason", "message"), [("no_face", "No face detected"), ("multiple_faces", "Multiple faces detected")]
)
def test_liveness_needs_exactly_one_face(gateway: Gateway, reason: str, message: str) -> None:
    expected = {"is_live": False, "confidence": 0.0, "message": message}
    assert answer(gateway, "/liveness", liveness(reason=reason)) == expected


def test_liveness_without_a_model_is_501(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: JobFailure(ErrorCode.LIVENESS_UNAVAILABLE, "The pack has no liveness model.")
    problem(gateway.classic("/liveness", JPEG), 501, "liveness_unavailable")


# --- register -----------------------------------------------------------------------------------------------------


def test_register_returns_embedding_and_both_scores(gateway: Gateway) -> None:
    result = register(reason=None, registered=True, live=reading("live", 0.98765))
    assert answer(gateway, "/register", result) == {
        "success": True,
        "embedding": RAW,
        "message": "Face registered successfully",
        "liveness_confidence": 0.9877,
        "detection_confidence": 0.8241,
        "liveness_skipped": False,
    }


def test_register_that_skips_liveness_reports_one(gateway: Gateway) -> None:
    body = answer(gateway, "/register", register(reason=None, registered=True), skip_liveness="true")
    assert (body["liveness_confidence"], body["liveness_skipped"]) == (1.0, True)


@pytest.mark.parametrize(
    ("text", "skip"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_skip_liveness_is_parsed_as_a_boolean(gateway: Gateway, text: str, skip: bool) -> None:
    answer(gateway, "/register", register(reason="sharpness"), skip_liveness=text)
    assert claim(gateway).job.params["skip_liveness"] is skip


def test_skip_liveness_must_be_a_boolean(gateway: Gateway) -> None:
    response = gateway.classic("/register", JPEG, skip_liveness="maybe")
    assert [e["field"] for e in problem(response, 422, "invalid_request")["errors"]] == ["skip_liveness"]


@pytest.mark.parametrize(
    ("reason", "num_faces", "message"),
    [
        ("one_face", 0, "No face detected. Please ensure your face is clearly visible."),
        ("one_face", 2, "Multiple faces detected. Please ensure only you are in the frame."),
        (
            "detection_score",
            1,
            "Face detection confidence too low. Please improve lighting and face position.",
        ),
        ("face_width", 1, "Face too small. Please move closer to the camera."),
        ("sharpness", 1, "Face sharpness too low. Please hold still and check the focus of the camera."),
        ("brightness", 1, "Face brightness out of range. Please improve lighting."),
        (
            "embedding_length",
            1,
            "Face cannot be made out well enough. Please uncover your face and improve lighting.",
        ),
    ],
)
def test_failed_registration_names_only_the_failed_check(
    gateway: Gateway, reason: str, num_faces: int, message: str
) -> None:
    result = register(reason=reason, num_faces=num_faces)
    assert answer(gateway, "/register", result) == {"success": False, "message": message}


def test_registration_of_an_unrecognizable_face_gives_advice(gateway: Gateway) -> None:
    check = {"name": "recognisability", "value": 0.2, "limit": "score >= 0.7", "passed": False}
    result = {**register(reason="recognisability"), "checks": [{**check, "advice": "Find better light."}]}
    message = "Face cannot be recognised. Find better light."
    assert answer(gateway, "/register", result) == {"success": False, "message": message}


def test_registration_that_fails_liveness_returns_its_score(gateway: Gateway) -> None:
    assert answer(gateway, "/register", register(reason="liveness", live=reading("spoof", 0.35))) == {
        "success": False,
        "message": "Liveness check failed. Please ensure you are using a live camera feed.",
        "liveness_confidence": 0.35,
    }
