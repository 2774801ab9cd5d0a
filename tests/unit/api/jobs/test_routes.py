"""`/v1/jobs`: which submissions are accepted, and why others are rejected."""

import base64
import json
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.jobs.schemas import JobBody
from shared.errors import ErrorCode
from shared.jobs import JobFailure
from shared.operations import SUBMITTABLE, Operation
from tests.doubles import WORKER
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import GIF, JPEG, PNG, png_claiming
from tests.unit.api.results import UNIT, faces, verify

B64 = base64.b64encode(JPEG).decode()
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def body(**more: Any) -> dict[str, Any]:
    return {"operation": "detect", "image": {"base64": B64}, **more}


def named(answer: httpx.Response, status: int = 422, code: str = "invalid_request") -> list[str]:
    return [error["field"] for error in problem(answer, status, code)["errors"]]


def test_submission_returns_202_with_the_location(gateway: Gateway) -> None:
    answer = gateway.submit("detect", JPEG)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["urls"]["self"]
    assert answer.headers["retry-after"] == "1"
    assert "preference-applied" not in answer.headers


def test_a_queued_job_has_every_field(gateway: Gateway) -> None:
    job = gateway.submit("detect", JPEG, metadata='{"case": "A-17"}', params='{"max_faces": 5}').json()
    assert RFC3339.fullmatch(job["created_at"])
    assert {name: value for name, value in job.items() if name not in {"id", "created_at", "urls"}} == {
        "operation": "detect",
        "status": "queued",
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "attempts": 0,
        "params": {
            "full_size": False,
            "max_faces": 5,
            "min_face_px": 0.0,
            "select": "all",
            "clamp_boxes": False,
            "auto_orient": False,
        },
        "metadata": {"case": "A-17"},
        "image_origin": None,
        "reference_origin": None,
        "webhook": None,
        "result": None,
        "error": None,
        "metrics": dict.fromkeys(
            f"{stage}_ms"
            for stage in ("queue", "decode", "detect", "align", "embed", "liveness", "attributes", "total")
        ),
        "provenance": None,
        "priority": "normal",
        "start_by": None,
        "batch_id": None,
        "retry_of": None,
        "retried_as": None,
    }
    path = f"/v1/jobs/{job['id']}"
    parts = {name: f"{path}/{name}" for name in ("events", "cancel", "deliveries")}
    assert job["urls"] == {"self": path, **parts, "retry": None}


def test_a_finished_job_has_result_metrics_and_provenance(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(2)
    job = gateway.get(gateway.submit("detect", JPEG).headers["location"]).json()
    assert job["status"] == "succeeded"
    assert job["result"] == faces(2)
    assert job["metrics"]["total_ms"] == 5.5
    assert job["metrics"]["embed_ms"] is None
    assert set(job["provenance"]) == {"model_pack", "embedding_contract", "provider", "worker", "cached", "detection"}
    assert all(RFC3339.fullmatch(job[name]) for name in ("created_at", "started_at", "finished_at", "expires_at"))
    JobBody.model_validate(job)


def test_failed_job_has_its_error(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: JobFailure(code=ErrorCode.INVALID_IMAGE, detail="It cannot be decoded.")
    job = gateway.get(gateway.submit("detect", JPEG).headers["location"]).json()
    assert (job["status"], job["result"]) == ("failed", None)
    assert job["error"] == {"code": "invalid_image", "detail": "It cannot be decoded.", "retryable": False}


def test_every_operation_is_accepted_in_json_too(gateway: Gateway) -> None:
    for operation in SUBMITTABLE:
        reference = {"reference": {"base64": B64}} if operation is Operation.VERIFY else {}
        answer = gateway.post("/v1/jobs", json=body(operation=operation.value, **reference))
        assert answer.status_code == 202, answer.json()


def test_worker_gets_the_submitted_bytes(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: verify(similarity=0.9, verified=True)
    gateway.post("/v1/jobs", json=body(operation="verify", reference={"base64": base64.b64encode(PNG).decode()}))
    files = {"image": ("a.jpg", JPEG), "reference": ("b.png", PNG)}
    gateway.post("/v1/jobs", files=files, data={"operation": "verify"})
    assert [(claim.image, claim.reference) for claim in gateway.worker.claims] == [(JPEG, PNG), (JPEG, PNG)]


@pytest.mark.parametrize("form", ["multipart", "json"])
def test_a_reference_embedding_reaches_the_worker_and_is_not_echoed(gateway: Gateway, form: str) -> None:
    gateway.worker.script = lambda _: verify(similarity=0.9, verified=True)
    reference = {"embedding": {"vector": UNIT, "contract": "contract-a"}}
    if form == "json":
        answer = gateway.post("/v1/jobs", json=body(operation="verify", reference=reference))
    else:
        answer = gateway.submit("verify", JPEG, reference=json.dumps(reference))
    assert answer.status_code == 202, answer.json()
    assert gateway.worker.claims[0].job.params["reference_embedding"] == {"vector": UNIT, "contract": "contract-a"}
    assert answer.json()["params"]["reference_embedding"] == {"dimensions": 4, "contract": "contract-a"}
    assert "-0.5" not in gateway.get(answer.headers["location"]).text


def test_embedding_of_a_result_is_accepted_as_reference(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: verify(similarity=0.9, verified=True)
    recognisability = {"recognisable": False, "score": 0.1, "reasons": ["degraded"], "advice": "More light."}
    embedding = {"vector": UNIT, "length": 3.0, "contract": "contract-a", "recognisability": recognisability}
    answer = gateway.post("/v1/jobs", json=body(operation="verify", reference={"embedding": embedding}))
    assert answer.status_code == 202, answer.json()
    assert gateway.worker.claims[0].job.params["reference_embedding"] == embedding


def test_a_reference_embedding_may_come_as_a_json_part(gateway: Gateway) -> None:
    reference = json.dumps({"embedding": {"vector": UNIT}})
    files = {"image": ("a.jpg", JPEG), "reference": ("emb.json", reference.encode(), "application/json")}
    assert gateway.post("/v1/jobs", files=files, data={"operation": "verify"}).status_code == 202


def test_the_result_is_kept_for_the_result_ttl(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(result_ttl=timedelta(hours=3))
    job = gateway.submit("detect", JPEG).json()
    assert gateway.store.field(job["id"], "ttl") == "10800"


def test_doorbell_rings_once_per_job(gateway: Gateway) -> None:
    gateway.submit("detect", JPEG)
    gateway.submit("detect", JPEG)
    assert gateway.doorbell.rings == 2


def test_jobs_are_spread_over_the_shards(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(shards=4)
    assert len({gateway.submit("detect", JPEG).json()["id"][4:6] for _ in range(60)}) == 4


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 400, "empty_image"),
        (b"just some text, named photo.jpg", 415, "unsupported_image_type"),
        (JPEG[:-200], 400, "invalid_image"),
        (GIF, 415, "unsupported_image_type"),
        (png_claiming(30_000, 30_000), 413, "image_dimensions_too_large"),
        (JPEG + b"\0" * 6_000_000, 413, "image_too_large"),
    ],
    ids=["empty", "text", "truncated", "animated gif", "bomb", "6 MB"],
)
def test_invalid_image_is_rejected_and_creates_no_job(gateway: Gateway, image: bytes, status: int, code: str) -> None:
    problem(gateway.submit("detect", image), status, code)
    problem(gateway.post("/v1/jobs", json=body(image={"base64": base64.b64encode(image).decode()})), status, code)
    assert gateway.ledger.depth() == (0, 0)


def test_invalid_reference_is_reported_as_the_reference(gateway: Gateway) -> None:
    files = {"image": ("a.jpg", JPEG), "reference": ("b.jpg", JPEG[:-100])}
    answer = gateway.post("/v1/jobs", files=files, data={"operation": "verify"})
    assert problem(answer, 400, "invalid_image")["detail"].startswith("The reference: ")


def test_an_empty_reference_is_an_empty_image(gateway: Gateway) -> None:
    files = {"image": ("a.jpg", JPEG), "reference": ("b.jpg", b"")}
    problem(gateway.post("/v1/jobs", files=files, data={"operation": "verify"}), 400, "empty_image")
    problem(gateway.post("/v1/jobs", json=body(operation="verify", reference={"base64": ""})), 400, "empty_image")


@pytest.mark.parametrize("operation", ["", "paint", "DETECT"])
def test_unknown_operation_lists_the_known_ones(gateway: Gateway, operation: str) -> None:
    for answer in (gateway.submit(operation, JPEG), gateway.post("/v1/jobs", json=body(operation=operation))):
        errors = problem(answer, 422, "invalid_request")["errors"]
        assert [error["field"] for error in errors] == ["operation"]
        assert all(known in errors[0]["detail"] for known in SUBMITTABLE)


def test_unknown_fields_are_reported(gateway: Gateway) -> None:
    assert named(gateway.submit("detect", JPEG, colour="red")) == ["colour"]
    assert named(gateway.post("/v1/jobs", json=body(colour="red"))) == ["colour"]
    assert named(gateway.submit("detect", JPEG, params='{"colour": 1}')) == ["params.colour"]
    assert named(gateway.post("/v1/jobs", json=body(image={"base64": B64, "name": "x"}))) == ["image.name"]


def test_a_parameter_of_another_operation_is_unknown(gateway: Gateway) -> None:
    assert named(gateway.submit("detect", JPEG, params='{"skip_liveness": true}')) == ["params.skip_liveness"]


def test_parameter_out_of_range_is_reported(gateway: Gateway) -> None:
    assert named(gateway.submit("detect", JPEG, params='{"det_threshold": 7}')) == ["params.det_threshold"]


def test_a_threshold_and_a_false_match_rate_exclude_each_other(gateway: Gateway) -> None:
    reference = {"embedding": {"vector": UNIT}}
    for params in ({"threshold": 0.4}, {"fmr": 0.001}):
        answer = gateway.post("/v1/jobs", json=body(operation="verify", reference=reference, params=params))
        assert answer.status_code == 202
        assert params.items() <= answer.json()["params"].items()
    both = body(operation="verify", reference=reference, params={"threshold": 0.4, "fmr": 0.001})
    assert named(gateway.post("/v1/jobs", json=both)) == ["params.fmr"]


def test_missing_fields_are_reported(gateway: Gateway) -> None:
    assert named(gateway.post("/v1/jobs", files={"reference": ("a", JPEG)}, data={"operation": "detect"})) == ["image"]
    assert named(gateway.post("/v1/jobs", files={"image": ("a", JPEG)})) == ["operation"]
    assert named(gateway.post("/v1/jobs", json={})) == ["operation"]
    assert named(gateway.post("/v1/jobs", json={"operation": "detect"})) == ["image"]


def test_image_sent_as_text_is_not_reported_as_missing(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", files={"operation": (None, "detect"), "image": (None, "hello")})
    assert "not text" in problem(answer, 422, "invalid_request")["errors"][0]["detail"]


def test_a_field_given_twice_is_refused(gateway: Gateway) -> None:
    files = [("image", ("a.jpg", JPEG)), ("image", ("b.jpg", JPEG))]
    answer = gateway.post("/v1/jobs", files=files, data={"operation": "detect"})
    assert named(answer) == ["image"]


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        ("verify", None),
        ("detect", {"base64": B64}),
        ("verify", {}),
        ("verify", {"base64": B64, "embedding": {"vector": UNIT}}),
    ],
    ids=["missing", "not wanted", "neither", "both"],
)
def test_verify_alone_takes_exactly_one_reference(gateway: Gateway, operation: str, reference: object) -> None:
    more = {} if reference is None else {"reference": reference}
    assert named(gateway.post("/v1/jobs", json=body(operation=operation, **more))) == ["reference"]
    form = {} if reference is None else {"reference": json.dumps(reference)}
    assert named(gateway.submit(operation, JPEG, **form)) == ["reference"]


def test_reference_embedding_is_rejected_in_params(gateway: Gateway) -> None:
    params = json.dumps({"reference_embedding": {"vector": UNIT}})
    assert named(gateway.submit("verify", JPEG, params=params)) == ["params.reference_embedding"]


@pytest.mark.parametrize(
    "vector",
    ["[NaN, 1, 1, 1]", "[1, Infinity, 1, 1]", "[0, 0, 0, 0]", "[]", "[1, 2, 3]", '["a", 1, 1, 1]', '"abcd"', "null"],
)
def test_a_vector_that_cannot_be_compared_is_an_invalid_embedding(gateway: Gateway, vector: str) -> None:
    reference = f'{{"embedding": {{"vector": {vector}}}}}'
    problem(gateway.submit("verify", JPEG, reference=reference), 422, "invalid_embedding")
    raw = f'{{"operation": "verify", "image": {{"base64": "{B64}"}}, "reference": {reference}}}'
    answer = gateway.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid_embedding")


def test_without_workers_the_dimension_is_checked_by_the_job(gateway: Gateway) -> None:
    gateway.presence.workers = []
    reference = json.dumps({"embedding": {"vector": [1, 2, 3]}})
    assert gateway.submit("verify", JPEG, reference=reference).status_code == 202


def test_images_by_url_are_reported_as_disabled(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", json=body(image={"url": "https://example.com/a.jpg"}))
    assert named(answer, 422, "image_urls_off") == ["image.url"]
    assert "example.com" not in answer.text
    answer = gateway.post(
        "/v1/jobs", files={"operation": (None, "detect"), "image_url": (None, "https://example.com/")}
    )
    assert named(answer, 422, "image_urls_off") == ["image_url"]
    reference = json.dumps({"url": "https://example.com/a.jpg"})
    assert named(gateway.submit("verify", JPEG, reference=reference), 422, "image_urls_off") == ["reference.url"]


@pytest.mark.parametrize("text", ["not base64!", "data:image/jpeg," + B64, B64[:-1] + "ü"])
def test_invalid_base64_is_reported(gateway: Gateway, text: str) -> None:
    assert named(gateway.post("/v1/jobs", json=body(image={"base64": text}))) == ["image.base64"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"operation": "detect",}', b"\xff\xfe", b"[" * 100_000, b'{"a": "\\ud800"}']
)
def test_invalid_json_is_malformed(gateway: Gateway, raw: bytes) -> None:
    answer = gateway.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json; charset=utf-8"})
    problem(answer, 400, "malformed_json")


@pytest.mark.parametrize("field", ["params", "metadata", "reference"])
def test_invalid_json_in_a_form_field_is_reported(gateway: Gateway, field: str) -> None:
    answer = gateway.submit("verify", JPEG, **{field: "{nope"})
    assert problem(answer, 400, "malformed_json")["detail"].startswith(field)


def test_params_and_metadata_must_be_objects(gateway: Gateway) -> None:
    assert named(gateway.submit("detect", JPEG, params="[]")) == ["params"]
    assert named(gateway.submit("detect", JPEG, metadata='"x"')) == ["metadata"]


def test_metadata_is_kept_up_to_its_limit(gateway: Gateway) -> None:
    fits = {"text": "x" * (2048 - len('{"text":""}'))}
    assert gateway.post("/v1/jobs", json=body(metadata=fits)).json()["metadata"] == fits
    over = {"text": fits["text"] + "x"}
    assert named(gateway.post("/v1/jobs", json=body(metadata=over))) == ["metadata"]


def test_metadata_rejects_non_json_values(gateway: Gateway) -> None:
    raw = json.dumps(body(metadata={"x": float("nan")}))
    answer = gateway.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    assert named(answer) == ["metadata"]


def test_body_that_is_not_an_object_is_invalid(gateway: Gateway) -> None:
    problem(gateway.post("/v1/jobs", json=[1, 2]), 422, "invalid_request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/jpeg", ""])
def test_another_content_type_is_unsupported(gateway: Gateway, kind: str) -> None:
    answer = gateway.post("/v1/jobs", content=JPEG, headers={"Content-Type": kind} if kind else {})
    problem(answer, 415, "unsupported_media_type")


def test_a_form_without_a_boundary_is_invalid(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", content=b"--x", headers={"Content-Type": "multipart/form-data"})
    assert "boundary" in problem(answer, 400, "malformed_form")["detail"]


def test_full_queue_is_503_with_retry_after(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queue_limit=1)
    gateway.submit("detect", JPEG)
    problem(gateway.submit("detect", JPEG), 503, "queue_full")


def test_unavailable_store_is_503(gateway: Gateway) -> None:
    gateway.store.away = True
    problem(gateway.submit("detect", JPEG), 503, "store_unavailable")
    problem(gateway.get("/v1/jobs/job_00" + "0" * 32), 503, "store_unavailable")


def test_jobs_are_accepted_while_no_worker_is_alive(gateway: Gateway) -> None:
    gateway.presence.workers = []
    assert gateway.submit("detect", JPEG).status_code == 202


@pytest.mark.parametrize(
    "job_id", ["job_00" + "0" * 32, "job_ff" + "0" * 32, "nope", "job_00" + "0" * 33, "job_0g" + "0" * 32]
)
def test_an_unknown_job_is_not_found(gateway: Gateway, job_id: str) -> None:
    problem(gateway.get(f"/v1/jobs/{job_id}"), 404, "job_not_found")


def test_job_responses_are_not_cacheable(gateway: Gateway) -> None:
    assert gateway.submit("detect", JPEG).headers["cache-control"] == "no-store"


def test_provenance_has_the_contract_of_the_worker(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(0)
    job = gateway.submit("detect", JPEG, prefer="wait=30").json()
    assert job["provenance"]["embedding_contract"] == WORKER.embedding_contract
