"""Classic endpoints: errors that all of them share."""

from datetime import timedelta

import pytest

from shared.errors import ErrorCode
from shared.jobs import JobFailure
from tests.unit.api.classic.test_routes import answer, claim
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import BMP, GIF, JPEG, PNG, WEBP, png_claiming
from tests.unit.api.results import faces, register

IMAGE_CALLS = ["/detect", "/extract-embedding", "/verify", "/liveness", "/register"]


@pytest.mark.parametrize("path", IMAGE_CALLS)
@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 400, "empty_image"),
        (b"just some text, named photo.jpg", 415, "unsupported_image_type"),
        (JPEG[:-200], 400, "invalid_image"),
        (GIF, 415, "unsupported_image_type"),
        (png_claiming(30_000, 30_000), 413, "image_dimensions_too_large"),
        (JPEG + b"\0" * (5 * 1024 * 1024), 413, "image_too_large"),
        (JPEG + b"\0" * 6_000_000, 413, "request_too_large"),
    ],
    ids=["empty", "text", "truncated", "animated gif", "bomb", "over 5 MB", "6 MB"],
)
def test_invalid_image_is_rejected_and_creates_no_job(
    gateway: Gateway, path: str, image: bytes, status: int, code: str
) -> None:
    problem(gateway.classic(path, image), status, code)
    assert gateway.ledger.depth() == (0, 0)


@pytest.mark.parametrize("image", [JPEG, PNG, WEBP, BMP], ids=["jpeg", "png", "webp", "bmp"])
def test_every_image_type_is_accepted_under_any_name(gateway: Gateway, image: bytes) -> None:
    gateway.worker.script = lambda _: faces(1)
    assert gateway.post("/detect", files={"file": ("x.exe", image, "text/plain")}).status_code == 200
    assert claim(gateway).image == image


@pytest.mark.parametrize("path", IMAGE_CALLS)
def test_missing_file_is_reported(gateway: Gateway, path: str) -> None:
    response = gateway.post(path, files={"photo": ("a.jpg", JPEG)})
    assert [e["field"] for e in problem(response, 422, "invalid_request")["errors"]] == ["file"]


@pytest.mark.parametrize("path", IMAGE_CALLS)
def test_body_that_is_not_a_form_is_415(gateway: Gateway, path: str) -> None:
    problem(gateway.post(path, json={"file": "x"}), 415, "unsupported_media_type")


def test_unknown_fields_are_ignored(gateway: Gateway) -> None:
    assert answer(gateway, "/detect", faces(1), user="7")["num_faces"] == 1


@pytest.mark.parametrize("path", IMAGE_CALLS)
def test_without_a_worker_the_response_is_an_immediate_503(gateway: Gateway, path: str) -> None:
    gateway.presence.workers = []
    problem(gateway.classic(path, JPEG), 503, "no_worker")
    assert gateway.ledger.depth() == (0, 0)


@pytest.mark.parametrize("path", IMAGE_CALLS)
def test_a_full_queue_is_503(make_gateway: MakeGateway, path: str) -> None:
    gateway = make_gateway(queue_limit=1)
    gateway.submit("detect", JPEG)
    problem(gateway.classic(path, JPEG), 503, "queue_full")


@pytest.mark.parametrize("path", IMAGE_CALLS)
def test_a_job_that_takes_too_long_is_504(make_gateway: MakeGateway, path: str) -> None:
    gateway = make_gateway(sync_timeout=timedelta(seconds=0.05))
    problem(gateway.classic(path, JPEG), 504, "wait_timeout")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.INVALID_IMAGE, 400),
        (ErrorCode.EMBEDDING_CONTRACT_MISMATCH, 422),
        (ErrorCode.MODEL_FAILURE, 500),
        (ErrorCode.WORKER_LOST, 500),
        (ErrorCode.INTERNAL_ERROR, 500),
    ],
)
def test_failed_job_returns_the_status_of_its_code(gateway: Gateway, code: ErrorCode, status: int) -> None:
    gateway.worker.script = lambda _: JobFailure(code, "It could not be done.")
    assert problem(gateway.classic("/detect", JPEG), status, code.value)["detail"] == "It could not be done."


def test_job_of_a_classic_call_is_kept_briefly_and_counts_every_face(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(sync_result_ttl=timedelta(seconds=90))
    answer(gateway, "/register", register(reason="sharpness"))
    job = claim(gateway).job
    assert gateway.store.field(job.id, "ttl") == "90"
    assert job.params["ignore_below"] == 0.0
    assert job.params["full_size"] is True


def test_call_waits_for_a_slow_worker(gateway: Gateway) -> None:
    gateway.worker.awaited = gateway.awaited
    assert answer(gateway, "/detect", faces(1))["face_detected"] is True
