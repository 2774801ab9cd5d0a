"""Request bodies that are truncated, compressed, mislabeled, blank, or null."""

import base64
import gzip
import json
from typing import Any, Final

import pytest

from shared.operations import FindParams
from tests.unit.api.conftest import Gateway, problem
from tests.unit.api.pictures import JPEG
from tests.unit.api.results import UNIT, faces

B64: Final = base64.b64encode(JPEG).decode()
FORM: Final = {"Content-Type": "multipart/form-data; boundary=b"}
JSON: Final = {"Content-Type": "application/json"}
FORMS: Final = ("/v1/jobs", "/v1/batches", "/detect", "/extract-embedding", "/verify", "/liveness", "/register")
JSON_CALLS: Final = (
    "/v1/jobs", "/v1/batches", "/v1/liveness-sessions", "/v1/webhook-endpoints", "/v1/admin/tenants", "/v1/admin/keys",
    "/compare",
)  # fmt: skip


def part(head: str, data: bytes) -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"


def form(**fields: bytes) -> bytes:
    parts = [part(f'name="{name}"; filename="a.jpg"', data) for name, data in fields.items()]
    return part('name="operation"', b"detect") + b"".join(parts) + b"--b--\r\n"


def image_field(path: str) -> str:
    return {"/v1/jobs": "image", "/v1/batches": "images"}.get(path, "file")


def job(**more: Any) -> dict[str, Any]:
    return {"operation": "detect", "image": {"base64": B64}, **more}


@pytest.mark.parametrize("path", FORMS)
def test_truncated_form_is_400_and_creates_no_job(gateway: Gateway, path: str) -> None:
    body = form(**{image_field(path): JPEG}) + b""
    for cut in (body.removesuffix(b"--\r\n"), body.removesuffix(b"--b--\r\n"), body[: len(body) // 2]):
        problem(gateway.post(path, content=cut, headers=FORM), 400, "malformed_form")
    assert gateway.ledger.depth() == (0, 0)


def test_form_truncated_in_its_last_field_is_rejected(gateway: Gateway) -> None:
    body = form(image=JPEG).removesuffix(b"--b--\r\n") + b'--b\r\nContent-Disposition: form-data; name="params"\r\n'
    problem(gateway.post("/v1/jobs", content=body, headers=FORM), 400, "malformed_form")
    assert gateway.ledger.depth() == (0, 0)


@pytest.mark.parametrize("path", JSON_CALLS)
def test_truncated_json_is_400(gateway: Gateway, path: str) -> None:
    body = json.dumps({"operation": "detect", "url": "https://example.org/"}).encode()
    for cut in (body[:-1], body[:5]):
        problem(gateway.post(path, content=cut, headers=JSON), 400, "malformed_json")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/webhook-endpoints", "/v1/admin/tenants", "/compare"])
def test_wrong_content_type_is_415_and_names_the_right_one(gateway: Gateway, path: str) -> None:
    answer = gateway.post(path, content=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "application/json" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/detect", "/compare", "/v1/webhook-endpoints"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "zstd", "x-unknown"])
def test_compressed_body_is_415_and_names_what_is_accepted(gateway: Gateway, path: str, coding: str) -> None:
    body = gzip.compress(json.dumps(job()).encode())
    answer = gateway.post(path, content=body, headers=JSON | {"Content-Encoding": coding})
    assert "Content-Encoding" in problem(answer, 415, "unsupported_media_type")["detail"]
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "", "UTF-8", "Identity"])
def test_identity_encoding_is_ignored(gateway: Gateway, coding: str) -> None:
    assert gateway.post("/v1/jobs", json=job(), headers={"Content-Encoding": coding}).status_code == 202


def test_null_fields_equal_absent_fields(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    names = ("images", "reference", "metadata", "priority", "webhook")
    params = dict.fromkeys(FindParams.model_fields)
    sent = job(**dict.fromkeys(names), params=params) | {"image": {"base64": B64, "url": None}}
    plain, nulls = (gateway.post("/v1/jobs", json=body) for body in (job(params=None), sent))
    assert (plain.status_code, nulls.status_code) == (202, 202), nulls.json()
    for field in ("operation", "params", "metadata", "priority", "webhook"):
        assert plain.json()[field] == nulls.json()[field]


@pytest.mark.parametrize(
    ("path", "body", "names", "status"),
    [
        ("/v1/batches", {"items": [{"image": {"base64": B64}}], "operation": "detect"},
         ("params", "priority", "metadata", "webhook"), 202),
        ("/v1/admin/tenants", {"id": "acme"}, ("name", "quotas", "quality_policy"), 201),
        ("/v1/admin/keys", {"tenant": "default", "scopes": ["jobs:read"]}, ("name", "expires_in"), 201),
    ],
)  # fmt: skip
def test_null_equals_absent_in_every_body(
    gateway: Gateway, path: str, body: dict[str, Any], names: tuple[str, ...], status: int
) -> None:
    answer = gateway.post(path, json=body | dict.fromkeys(names))
    assert answer.status_code == status, answer.json()


def test_null_equals_absent_in_a_batch_item(gateway: Gateway) -> None:
    item = {"image": {"base64": B64, "url": None}, **dict.fromkeys(("operation", "reference", "params", "metadata"))}
    assert gateway.post("/v1/batches", json={"operation": "detect", "items": [item]}).status_code == 202
    gateway.worker.script = lambda _: faces(1)
    body = part('name="images"', JPEG) + part('name="items"', b'[{"operation": "detect", "metadata": null}]')
    assert gateway.post("/v1/batches", content=body + b"--b--", headers=FORM).status_code == 202


def test_html_form_with_empty_optional_fields_is_accepted(gateway: Gateway) -> None:
    blank = b"".join(part(f'name="{name}"', b"") for name in ("params", "metadata", "priority", "webhook", "image_url"))
    body = blank + part('name="reference"; filename=""', b"") + form(image=JPEG)
    assert gateway.post("/v1/jobs", content=body, headers=FORM).status_code == 202
    body = part('name="images"; filename=""', b"") + form(images=JPEG)
    assert gateway.post("/v1/batches", content=body, headers=FORM).json()["total"] == 1


def test_html_form_with_a_url_and_no_file_uses_the_url(gateway: Gateway) -> None:
    address = part('name="image"; filename=""', b"") + part('name="image_url"', b"https://photos.example.org/1.jpg")
    problem(gateway.post("/v1/jobs", content=address + form(), headers=FORM), 422, "image_urls_off")


def test_classic_call_accepts_blank_and_null_and_ignores_unknown_fields(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(0)
    for more in (
        part('name="stored_embedding"', b""),
        part('name="stored_embedding"', b"null"),
        part('name="thumbnail"; filename="t.jpg"', JPEG),
        part('name="note"', b"\xff\xfe"),
    ):
        answer = gateway.post("/verify", content=more + form(file=JPEG), headers=FORM)
        assert answer.status_code == 200, answer.json()


@pytest.mark.parametrize("path", ["/detect", "/extract-embedding"])
def test_a_classic_file_needs_no_filename(gateway: Gateway, path: str) -> None:
    gateway.worker.script = lambda _: faces(1)
    body = part('name="file"', JPEG) + b"--b--\r\n"
    assert gateway.post(path, content=body, headers=FORM).json()["num_faces"] == 1


def test_null_reference_embedding_parameter_equals_absent(gateway: Gateway) -> None:
    body = job(operation="verify", reference={"embedding": {"vector": UNIT, "contract": None}})
    answer = gateway.post("/v1/jobs", json=body | {"params": {"reference_embedding": None}})
    assert answer.status_code == 202, answer.json()


def test_json_with_a_byte_order_mark_is_accepted(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", content=b"\xef\xbb\xbf" + json.dumps(job()).encode(), headers=JSON)
    assert answer.status_code == 202
    tenant = json.dumps({"id": "acme"}).encode("utf-8-sig")
    assert gateway.post("/v1/admin/tenants", content=tenant, headers=JSON).status_code == 201


def test_base64_is_decoded_leniently_everywhere(gateway: Gateway) -> None:
    gateway.worker.script = lambda _: faces(1)
    loose = "data:image/jpeg;base64," + base64.encodebytes(JPEG).decode()
    answers = [
        gateway.post("/v1/jobs", json=job(image={"base64": loose})),
        gateway.post("/v1/jobs", json=job(operation="verify", reference={"base64": loose})),
        gateway.post("/v1/jobs", json={"operation": "register", "images": [{"base64": loose}, {"base64": loose}]}),
        gateway.post("/v1/batches", json={"operation": "detect", "items": [{"image": {"base64": loose}}]}),
    ]
    assert all(answer.is_success for answer in answers), [answer.json() for answer in answers]
    images = {bytes(data) for claim in gateway.worker.claims for data in (claim.image, claim.reference) if data}
    assert images == {JPEG}


def test_a_width_and_a_height_in_det_size_are_explained(gateway: Gateway) -> None:
    errors = problem(gateway.post("/v1/jobs", json=job(params={"det_size": [640, 480]})), 422, "invalid_request")
    assert "not a width and a height" in errors["errors"][0]["detail"]
