"""Trailing slashes, and HEAD wherever GET is supported."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.http.middleware import HeadAsGet
from tests.unit.api.conftest import Gateway, MakeGateway, problem
from tests.unit.api.pictures import JPEG

PROBES = ("/", "/health", "/livez", "/readyz")


@pytest.mark.parametrize("path", ["/livez/", "/readyz/", "/health/", "/v1/jobs/", "/docs/", "/openapi.json/"])
def test_a_trailing_slash_is_served_without_a_redirect(gateway: Gateway, path: str) -> None:
    answer = gateway.get(path)
    assert answer.status_code == 200
    assert answer.content == gateway.get(path.rstrip("/")).content


@pytest.mark.parametrize("path", ["/v1/jobs//", "/nowhere/", "/livez//", "/detect/x/"])
def test_other_slashes_are_an_unknown_path(gateway: Gateway, path: str) -> None:
    problem(gateway.get(path), 404, "not_found")


def test_a_submission_with_a_trailing_slash_keeps_its_body_and_its_limit(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_image_bytes=300_000, sync_timeout=timedelta(seconds=0.05))
    form = {"files": {"image": ("photo.jpg", JPEG, "image/jpeg")}, "data": {"operation": "detect"}}
    assert gateway.post("/v1/jobs/", **form).status_code == 202
    sizes = {"files": {"file": ("photo.jpg", JPEG + b"\0" * 290_000)}}
    assert gateway.post("/detect/", **sizes).json().get("code") != "request_too_large"
    problem(gateway.post("/detect/", files={"file": ("photo.jpg", b"\0" * 500_000)}), 413, "request_too_large")


def test_a_trailing_slash_does_not_bypass_authentication(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(auth="keys")
    problem(gateway.get("/v1/jobs/"), 401, "unauthenticated")
    problem(gateway.get("/v1/admin/tenants/"), 401, "unauthenticated")


def test_a_trailing_slash_is_the_same_route_in_the_log(gateway: Gateway) -> None:
    with structlog.testing.capture_logs() as lines:
        gateway.get("/v1/jobs/job_00/")
        gateway.get("/livez/")
    assert [(line["path"], line["log_level"]) for line in lines if line["event"] == "request"] == [
        ("/v1/jobs/{job_id}", "info"),
        ("/livez", "debug"),
    ]


@pytest.mark.parametrize("path", [*PROBES, "/openapi.json", "/docs", "/v1/jobs", "/v1/jobs/job_00"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    get, head = gateway.get(path), gateway.request("HEAD", path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    changing = {"x-request-id", "date", "ratelimit"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }


def test_head_without_get_is_a_problem(gateway: Gateway) -> None:
    answer = gateway.request("HEAD", "/detect")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


def test_head_logs_its_own_method_and_the_route(gateway: Gateway) -> None:
    with structlog.testing.capture_logs() as lines:
        gateway.request("HEAD", "/v1/jobs/job_00")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["path"]) == ("HEAD", "/v1/jobs/{job_id}")


def test_head_of_a_stream_ends_with_its_headers() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        async def events() -> AsyncIterator[bytes]:
            while True:
                yield b"event\n"
                await asyncio.sleep(0)

        await StreamingResponse(events())(scope, receive, send)

    async def run() -> list[Message]:
        sent: list[Message] = []
        over = asyncio.Event()

        async def receive() -> Message:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if not message.get("more_body", message["type"] == "http.response.start"):
                over.set()  # as the server does once an answer is complete

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "HEAD", "path": "/", "headers": []}
        async with asyncio.timeout(60):
            await HeadAsGet(endless)(scope, receive, send)
        return sent

    start, body = asyncio.run(run())
    assert (start["status"], body) == (200, {"type": "http.response.body", "body": b""})
