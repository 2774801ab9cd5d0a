"""Request ids, log lines, and size limits."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import anyio
import pytest
import structlog
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from api.http.draining import Drain
from api.http.middleware import BodyLimit, RequestContextMiddleware
from tests.unit.api.conftest import Gateway, problem
from tests.unit.api.pictures import JPEG

Lines = list[MutableMapping[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


def requests(lines: Lines) -> Lines:
    return [line for line in lines if line["event"] == "request"]


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 64])
def test_a_valid_request_id_is_kept(gateway: Gateway, given: str) -> None:
    assert gateway.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "<script>", "a;b", "é".encode().decode("latin-1")])
def test_any_other_request_id_is_replaced(gateway: Gateway, given: str) -> None:
    fresh = gateway.get("/livez", headers={"X-Request-ID": given.encode("latin-1")}).headers["x-request-id"]
    assert fresh.startswith("req_")


def test_every_request_without_an_id_gets_its_own(gateway: Gateway) -> None:
    assert len({gateway.get("/livez").headers["x-request-id"] for _ in range(20)}) == 20


def test_a_request_logs_one_line(gateway: Gateway, lines: Lines) -> None:
    gateway.get("/v1/jobs/job_00" + "0" * 32, headers={"X-Request-ID": "r-1"})
    (line,) = requests(lines)
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/v1/jobs/{job_id}",
        "status": 404,
        "code": "job_not_found",
        "request_id": "r-1",
    }


def test_an_unknown_path_is_not_repeated_in_the_log(gateway: Gateway, lines: Lines) -> None:
    gateway.get("/secret/token")
    assert requests(lines)[0]["path"] == "-"


def test_probes_are_logged_quietly(gateway: Gateway, lines: Lines) -> None:
    gateway.get("/livez")
    gateway.get("/health")
    assert {line["log_level"] for line in requests(lines)} == {"debug"}


def test_log_lines_from_threads_have_the_request_id(gateway: Gateway, lines: Lines) -> None:
    gateway.post(
        "/v1/jobs", files={"image": ("a", JPEG)}, data={"operation": "detect"}, headers={"X-Request-ID": "r-7"}
    )
    (submitted,) = [line for line in lines if line["event"] == "job.submitted"]
    assert submitted["request_id"] == "r-7"


def test_a_failure_is_logged_once_with_its_trace(
    gateway: Gateway, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(gateway.ledger, "read", broken)
    gateway.get("/v1/jobs/job_00" + "0" * 32)
    (failed,) = [line for line in lines if line["event"] == "request.failed"]
    assert failed["exc_info"]
    assert requests(lines)[0]["status"] == 500


def test_responses_cannot_be_sniffed_or_cached(gateway: Gateway) -> None:
    headers = gateway.get("/livez").headers
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize(
    ("path", "content_type", "limit"),
    [
        ("/detect", "multipart/form-data", 5 * 1024 * 1024 + 128 * 1024),
        ("/register", "multipart/form-data", 5 * 1024 * 1024 + 128 * 1024),
        ("/v1/jobs", "multipart/form-data; boundary=x", 25 * 1024 * 1024 + 128 * 1024),
        ("/v1/jobs", "application/json", 25 * 1024 * 1024 * 4 // 3 + 128 * 1024),
        ("/compare", "application/json", 256 * 1024),
        ("/health", "", 256 * 1024),
        ("/nope", "", 256 * 1024),
    ],
)
def test_a_body_above_its_paths_limit_is_refused_by_its_length(
    gateway: Gateway, path: str, content_type: str, limit: int
) -> None:
    headers = {"Content-Type": content_type, "Content-Length": str(limit + 1)}
    answer = gateway.post(path, content=b"", headers=headers)
    assert str(limit) in problem(answer, 413, "request_too_large")["detail"]
    assert answer.headers["connection"] == "close"


def test_a_body_without_a_length_is_counted_on_arrival(gateway: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 8192

    answer = gateway.post("/compare", content=endless(), headers={"Content-Type": "application/json"})
    problem(answer, 413, "request_too_large")


def test_a_body_with_a_false_length_is_counted(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "10"}
    problem(gateway.post("/compare", content=b"x" * 300_000, headers=headers), 413, "request_too_large")


def test_a_multipart_body_above_its_limit_is_refused_on_arrival(gateway: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        for _ in range(120):
            yield b"x" * 65_536

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(gateway.post("/detect", content=endless(), headers=headers), 413, "request_too_large")


def http_scope(**headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/x", "headers": raw}


def test_the_rest_of_a_refused_body_is_read_before_the_response_ends() -> None:
    told: list[str] = []
    left = iter([True, True, False])

    async def receive() -> Message:
        told.append("receive")
        return {"type": "http.request", "body": b"x" * 10, "more_body": next(left)}

    async def send(message: Message) -> None:
        told.append("more" if message.get("more_body") else message["type"])

    async def never(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError

    limited = BodyLimit(never, limit=lambda _path, _type: 5)
    anyio.run(limited, http_scope(content_length="30"), receive, send)
    assert told == ["http.response.start", "more", "receive", "receive", "receive", "http.response.body"]


def test_a_disconnect_during_an_upload_is_not_an_error(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, _: Send) -> None:
        await Request(scope, receive).body()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError

    anyio.run(RequestContextMiddleware(app, drain=Drain()), http_scope(), receive, send)
    assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]
