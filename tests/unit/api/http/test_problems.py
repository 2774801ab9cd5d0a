"""Error responses: every code is covered, and all have the same form."""

from datetime import timedelta

import pytest
from starlette.types import Scope

from api.http.problems import MAX_FIELDS, TABLE, from_error, problem
from shared.errors import ErrorCode, FieldError, RequestError, UnavailableError
from tests.unit.api.conftest import Gateway
from tests.unit.api.conftest import problem as expect
from tests.unit.api.pictures import JPEG


def scope() -> Scope:
    return {"type": "http", "state": {"request_id": "r-1"}}


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(TABLE) == set(ErrorCode)
    assert all(400 <= status < 600 and title for status, title in TABLE.values())


def test_titles_are_unique() -> None:
    assert len({title for _, title in TABLE.values()}) == len(TABLE)


def test_a_retry_after_is_whole_seconds_and_at_least_one() -> None:
    for seconds, header in ((0.2, "1"), (2.0, "2"), (2.1, "3")):
        error = UnavailableError(ErrorCode.QUEUE_FULL, "Full.", retry_after=timedelta(seconds=seconds))
        assert from_error(error, scope=scope()).headers["retry-after"] == header


def test_field_names_are_cut_and_made_printable() -> None:
    fields = (FieldError("a\x1b[31m" + "x" * 500, "unknown"),)
    error = RequestError(ErrorCode.INVALID_REQUEST, "Wrong.", fields=fields)
    body = bytes(from_error(error, scope=scope()).body).decode()
    assert "\\u001b" not in body
    assert len(body) < 500


def test_the_list_of_invalid_fields_is_bounded() -> None:
    fields = tuple(FieldError(f"f{i}", "wrong") for i in range(100))
    answer = problem(ErrorCode.INVALID_REQUEST, "Wrong.", scope=scope(), fields=fields)
    assert bytes(answer.body).count(b'"field"') == MAX_FIELDS


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/jobs/a/b", "/../etc/passwd", "/detect/x"])
def test_an_unknown_path_is_a_problem(gateway: Gateway, path: str) -> None:
    answer = gateway.get(path, follow_redirects=True)
    assert answer.status_code in {404, 405}
    expect(answer, answer.status_code, "not_found" if answer.status_code == 404 else "method_not_allowed")


@pytest.mark.parametrize(("method", "path"), [("GET", "/detect"), ("PUT", "/v1/jobs"), ("DELETE", "/health")])
def test_an_unsupported_method_is_a_problem_with_an_allow_header(gateway: Gateway, method: str, path: str) -> None:
    answer = gateway.request(method, path)
    expect(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/v1/jobs/job_00" + "0" * 32, "DELETE, GET, HEAD, OPTIONS"),
        ("/v1/jobs/x/cancel", "OPTIONS, POST"),
        ("/docs", "GET, HEAD, OPTIONS"),
        *((path, "GET, HEAD, OPTIONS") for path in ("/", "/health", "/livez", "/readyz")),
    ],
)
def test_every_method_of_a_path_is_named(gateway: Gateway, path: str, methods: str) -> None:
    answer = gateway.request("OPTIONS", path)
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (204, b"", methods)
    refused = gateway.request("PUT", path)
    expect(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == methods


def test_options_of_an_unknown_path_is_a_problem(gateway: Gateway) -> None:
    expect(gateway.request("OPTIONS", "/nowhere"), 404, "not_found")


def test_an_unexpected_error_is_a_500_without_a_traceback(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        msg = "secret detail /etc/shadow"
        raise ZeroDivisionError(msg)

    address = gateway.submit("detect", JPEG).headers["location"]
    monkeypatch.setattr(gateway.ledger, "read", broken)
    answer = gateway.get(address)
    expect(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert caplog.text.count("ZeroDivisionError: secret") <= 1


def test_no_input_is_repeated(gateway: Gateway) -> None:
    answer = gateway.post("/v1/jobs", json={"operation": "my-secret", "image": {"base64": "my-secret!"}})
    assert "my-secret" not in answer.text


def test_the_methods_of_a_path_need_no_document(gateway: Gateway) -> None:
    gateway.app.openapi_schema = None
    assert gateway.request("PUT", "/v1/jobs").status_code == 405
    assert gateway.app.openapi_schema is None
